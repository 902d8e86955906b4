"""U²-Net and its small form U²-Net† (Qin 2020, arXiv 2005.09007): U-shaped blocks nested in a U.

Each stage is a residual U-block (RSU): a U-Net of its own whose output is added to the stage's input. Six side
outputs are fused by a 1×1 convolution. U²-Net has 44.01 M parameters with 3 → 1 channels, U²-Net† 1.131 M.

In training mode seven maps of logits come out, the fused one first, each with a loss of its own and weight 1; in
evaluation mode the fused one alone. Pooling rounds up and upsampling goes to the skip's size, so any size goes in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.functional import interpolate

from ..domain.errors import CheckpointError
from .family import NetworkFamily

# Stage → (height of its RSU, middle channels, output channels); height 0 is the dilated RSU-4F without pooling.
Stage = tuple[int, int, int]
ENCODER: dict[str, tuple[Stage, ...]] = {
    "full": ((7, 32, 64), (6, 32, 128), (5, 64, 256), (4, 128, 512), (0, 256, 512), (0, 256, 512)),
    "small": ((7, 16, 64), (6, 16, 64), (5, 16, 64), (4, 16, 64), (0, 16, 64), (0, 16, 64)),
}
# From the deepest to full resolution.
DECODER: dict[str, tuple[Stage, ...]] = {
    "full": ((0, 256, 512), (4, 128, 256), (5, 64, 128), (6, 32, 64), (7, 16, 64)),
    "small": ((0, 16, 64), (4, 16, 64), (5, 16, 64), (6, 16, 64), (7, 16, 64)),
}


def resize(features: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Bilinear, to the spatial size of ``like``."""
    if features.shape[2:] == like.shape[2:]:
        return features
    return interpolate(features, like.shape[2:], mode="bilinear", align_corners=False)


def pool(features: torch.Tensor) -> torch.Tensor:
    """Halve, rounding up."""
    return nn.functional.max_pool2d(features, 2, stride=2, ceil_mode=True)


class Convolution(nn.Sequential):
    """3×3 convolution, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, dilation: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)
        super().__init__(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class ResidualUBlock(nn.Module):
    """RSU of ``height`` levels; with height 0 RSU-4F, whose four levels are dilated by 1, 2, 4, 8 instead of pooled."""

    def __init__(self, height: int, inputs: int, middle: int, outputs: int) -> None:
        super().__init__()
        levels = height or 4
        self.pooled = height > 0
        dilations = [1] * (levels - 1) + [2] if self.pooled else [1, 2, 4, 8]
        self.first = Convolution(inputs, outputs)
        self.encoders = nn.ModuleList(
            Convolution(outputs if level == 0 else middle, middle, dilation) for level, dilation in enumerate(dilations)
        )
        # The decoder mirrors the encoder without its lowest level; the last one gives the block's channels.
        self.decoders = nn.ModuleList(
            Convolution(2 * middle, outputs if level == 0 else middle, 1 if self.pooled else dilations[level])
            for level in reversed(range(levels - 1))
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """``(N, inputs, Y, X)`` → ``(N, outputs, Y, X)``."""
        first = self.first(images)
        skips: list[torch.Tensor] = []
        features = first
        bottom = len(self.encoders) - 1
        for level, encoder in enumerate(self.encoders):
            if self.pooled and 0 < level < bottom:
                features = pool(features)
            features = encoder(features)
            skips.append(features)
        features = skips.pop()
        for decoder, skip in zip(self.decoders, reversed(skips), strict=True):
            features = decoder(torch.cat([resize(features, skip), skip], dim=1))
        return features + first


class U2Net(nn.Module):
    """U²-Net; see the module for what it returns."""

    def __init__(self, in_channels: int, out_channels: int, form: str) -> None:
        super().__init__()
        encoder, decoder = ENCODER[form], DECODER[form]
        inputs = [in_channels, *(outputs for _, _, outputs in encoder)]
        self.encoders = nn.ModuleList(
            ResidualUBlock(height, channels, middle, outputs)
            for channels, (height, middle, outputs) in zip(inputs[:-1], encoder, strict=True)
        )
        below = [encoder[-1][2], *(outputs for _, _, outputs in decoder)]
        skips = [outputs for _, _, outputs in reversed(encoder[:-1])]
        self.decoders = nn.ModuleList(
            ResidualUBlock(height, lower + skip, middle, outputs)
            for lower, skip, (height, middle, outputs) in zip(below[:-1], skips, decoder, strict=True)
        )
        self.sides = nn.ModuleList(nn.Conv2d(channels, out_channels, 3, padding=1) for channels in below)
        self.fuse = nn.Conv2d(len(below) * out_channels, out_channels, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """``(N, C, Y, X)`` → logits ``(N, out_channels, Y, X)``; in training mode the fused ones and the six sides."""
        skips: list[torch.Tensor] = []
        features = images
        for level, encoder in enumerate(self.encoders):
            features = encoder(pool(features) if level else features)
            skips.append(features)
        levels = [skips.pop()]
        for decoder, skip in zip(self.decoders, reversed(skips), strict=True):
            levels.append(decoder(torch.cat([resize(levels[-1], skip), skip], dim=1)))
        # Full resolution first, as published.
        sides = [resize(head(level), images) for head, level in zip(self.sides, levels, strict=True)][::-1]
        fused = self.fuse(torch.cat(sides, dim=1))
        return [fused, *sides] if self.training else fused


def build(dimensions: int, in_channels: int, out_channels: int, form: str = "full") -> nn.Module:
    """U²-Net (``form`` ``full``) or U²-Net† (``small``)."""
    if form not in ENCODER:
        raise CheckpointError(f"U²-Net has no form {form!r}.", f"It has {' and '.join(ENCODER)}.")
    return U2Net(in_channels, out_channels, form)


def _divisor(arguments: Mapping[str, Any]) -> int:
    return 1


FAMILY = NetworkFamily("u2net", build, _divisor, (2,))
