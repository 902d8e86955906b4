"""ResUNet-a d6 and d7 (Diakogiannis 2020, arXiv 1904.00592): residual units of parallel dilated convolutions.

14.5 M parameters (d6) and 46.2 M (d7) at width 16; 58.0 M and 184.5 M at the published width 32.

With ``multitask`` the network also predicts, in training mode, the border of each output, the distance to it, and the
images themselves (:class:`MultitaskLogits`); each task sees those before it. In evaluation mode logits of the
segmentation come out either way.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.functional import adaptive_max_pool2d, interpolate

from ..domain.errors import CheckpointError
from .family import MultitaskLogits, NetworkFamily

_FINE, _MIDDLE, _COARSE, _PLAIN = (1, 3, 15, 31), (1, 3, 15), (1, 3, 5), (1,)
# Dilations of each stage; the decoder's from the deepest to full resolution.
ENCODER: dict[str, tuple[Sequence[int], ...]] = {
    "d6": (_FINE, _FINE, _MIDDLE, _COARSE, _PLAIN, _PLAIN),
    "d7": (_FINE, _FINE, _MIDDLE, _COARSE, _PLAIN, _PLAIN, _PLAIN),
}
DECODER: dict[str, tuple[Sequence[int], ...]] = {
    "d6": (_COARSE, _MIDDLE, _FINE, _FINE, _FINE),
    "d7": (_PLAIN, _MIDDLE, _FINE, _FINE, _FINE, _FINE),
}
# Grids that the pyramid pooling at the bottom has.
BOTTOM_GRIDS = {"d6": 4, "d7": 3}
HEAD_GRIDS = 4


def normalised(inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> nn.Sequential:
    """Convolution and batch normalisation."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class ResidualUnit(nn.Module):
    """``x + Σ`` over dilations of two times [batch normalisation, ReLU, dilated 3×3 convolution]."""

    def __init__(self, channels: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(layer for _ in range(2) for layer in self._layers(channels, dilation)))
            for dilation in dilations
        )

    @staticmethod
    def _layers(channels: int, dilation: int) -> tuple[nn.Module, ...]:
        convolution = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
        return nn.BatchNorm2d(channels), nn.ReLU(), convolution

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        return features + torch.stack([branch(features) for branch in self.branches]).sum(0)


class PyramidPooling(nn.Module):
    """Maxima over grids of 1, 2², 4², … cells, each to ``channels / grids``, joined with the input.

    As published the cells are cut out, so the size must be a multiple of their number; adaptive pooling is equal
    there and takes any size.
    """

    def __init__(self, inputs: int, outputs: int, grids: int) -> None:
        super().__init__()
        part = inputs // grids
        self.reductions = nn.ModuleList(nn.Conv2d(inputs, part, 1) for _ in range(grids))
        self.norms = nn.ModuleList(nn.BatchNorm2d(part) for _ in range(grids))
        self.join = normalised(inputs + grids * part, outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(N, inputs, Y, X)`` → ``(N, outputs, Y, X)``."""
        parts = [features]
        for level, (reduction, norm) in enumerate(zip(self.reductions, self.norms, strict=True)):
            pooled = reduction(adaptive_max_pool2d(features, 2**level))
            # Normalised after the upsampling: one cell of one image has no variance to divide by.
            parts.append(norm(interpolate(pooled, features.shape[2:], mode="nearest")))
        return self.join(torch.cat(parts, dim=1))


class Combine(nn.Module):
    """Nearest upsampling of the features from below, reduced, joined with the skip."""

    def __init__(self, below: int, skip: int) -> None:
        super().__init__()
        self.reduction = nn.Conv2d(below, skip // 2, 1)
        self.join = normalised(skip // 2 + skip, skip)

    def forward(self, below: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """The skip's shape."""
        # A 1×1 convolution of what nearest upsampling repeats is the repetition of its result.
        reduced = interpolate(self.reduction(below), scale_factor=2, mode="nearest").relu()
        return self.join(torch.cat([reduced, skip], dim=1))


def _head(inputs: int, middle: int, outputs: int) -> nn.Sequential:
    """Two times [3×3 convolution, batch normalisation, ReLU], then logits."""
    return nn.Sequential(
        normalised(inputs, middle, 3),
        nn.ReLU(),
        normalised(middle, middle, 3),
        nn.ReLU(),
        nn.Conv2d(middle, outputs, 1),
    )


class MultitaskHead(nn.Module):
    """Distance, from it the border, from both the segmentation; the intensities beside them."""

    def __init__(self, features: int, width: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.pooling = PyramidPooling(features, width, HEAD_GRIDS)
        self.distance = _head(features, width, out_channels)
        self.boundary = nn.Sequential(
            normalised(width + out_channels, width, 3), nn.ReLU(), nn.Conv2d(width, out_channels, 1)
        )
        self.segmentation = _head(width + 2 * out_channels, width, out_channels)
        self.intensity = nn.Sequential(normalised(features, width), nn.ReLU(), nn.Conv2d(width, in_channels, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor | MultitaskLogits:
        """``(N, features, Y, X)`` → logits of all tasks in training mode, else of the segmentation."""
        pooled = self.pooling(features).relu()
        distance = self.distance(features)
        boundary = self.boundary(torch.cat([pooled, distance.sigmoid()], dim=1))
        known = torch.cat([pooled, boundary.sigmoid(), distance.sigmoid()], dim=1)
        segmentation = self.segmentation(known)
        if not self.training:
            return segmentation
        return MultitaskLogits(segmentation, boundary, distance, self.intensity(features))


class ResUNetA(nn.Module):
    """ResUNet-a; spatial sizes must be divisible by 32 (d6) or 64 (d7)."""

    def __init__(self, in_channels: int, out_channels: int, width: int, form: str, multitask: bool) -> None:
        super().__init__()
        encoder, decoder = ENCODER[form], DECODER[form]
        widths = [width * 2**stage for stage in range(len(encoder))]
        self.stem = nn.Sequential(normalised(in_channels, width), nn.ReLU())
        self.downs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1) for inputs, outputs in itertools.pairwise(widths)
        )
        self.encoders = nn.ModuleList(
            ResidualUnit(channels, dilations) for channels, dilations in zip(widths, encoder, strict=True)
        )
        self.bottom = PyramidPooling(widths[-1], widths[-1], BOTTOM_GRIDS[form])
        self.combines = nn.ModuleList(
            Combine(below, skip) for below, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.decoders = nn.ModuleList(
            ResidualUnit(channels, dilations) for channels, dilations in zip(widths[-2::-1], decoder, strict=True)
        )
        self.head: nn.Module
        if multitask:
            self.head = MultitaskHead(2 * width, width, in_channels, out_channels)
        else:
            pooling = PyramidPooling(2 * width, width, HEAD_GRIDS)
            self.head = nn.Sequential(pooling, nn.ReLU(), nn.Conv2d(width, out_channels, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor | MultitaskLogits:
        """``(N, C, Y, X)`` → logits ``(N, out_channels, Y, X)``; with ``multitask`` those of all tasks in training."""
        stem = self.stem(images)
        skips = [self.encoders[0](stem)]
        for down, encoder in zip(self.downs, list(self.encoders)[1:], strict=True):
            skips.append(encoder(down(skips[-1])))
        features = self.bottom(skips.pop()).relu()
        for combine, decoder, skip in zip(self.combines, self.decoders, reversed(skips), strict=True):
            features = decoder(combine(features, skip))
        return self.head(torch.cat([stem, features], dim=1))


def build(
    dimensions: int,
    in_channels: int,
    out_channels: int,
    form: str = "d6",
    width: int = 32,
    multitask: bool = False,
) -> nn.Module:
    """ResUNet-a of ``form`` ``d6`` or ``d7`` with ``width`` filters at full resolution."""
    if form not in ENCODER:
        raise CheckpointError(f"ResUNet-a has no form {form!r}.", f"It has {' and '.join(ENCODER)}.")
    return ResUNetA(in_channels, out_channels, width, form, multitask)


def _divisor(arguments: Mapping[str, Any]) -> int:
    return {"d6": 32, "d7": 64}.get(arguments.get("form", "d6"), 64)


FAMILY = NetworkFamily("resunet_a", build, _divisor, (2,), {"width": (1, 1024)})
