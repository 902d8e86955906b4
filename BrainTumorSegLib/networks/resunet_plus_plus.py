"""ResUNet++ (Jha 2019, arXiv 1911.07067): residual units, squeeze and excitation, ASPP and attention.

It has 4.06 M parameters. Another network of 14.5 M parameters goes under the same name in many copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .family import NetworkFamily

WIDTHS = (16, 32, 64, 128, 256)
RATES = (1, 6, 12, 18)
REDUCTION = 8


def activated(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Batch normalisation, ReLU, 3×3 convolution."""
    return nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1))


class SqueezeExcitation(nn.Module):
    """Weigh the channels by what they hold on average (Hu 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = max(channels // REDUCTION, 1)
        self.weigh = nn.Sequential(
            nn.Linear(channels, squeezed, bias=False),
            nn.ReLU(inplace=True),
            nn.Linear(squeezed, channels, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        return features * self.weigh(features.mean(dim=(2, 3)))[:, :, None, None]


class Shortcut(nn.Sequential):
    """1×1 convolution and batch normalisation."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 1, stride=stride), nn.BatchNorm2d(outputs))


class Stem(nn.Module):
    """The first residual unit, which begins with a convolution: images need no activation."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = activated(outputs, outputs)
        self.shortcut = Shortcut(inputs, outputs)
        self.excitation = SqueezeExcitation(outputs)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """``(N, inputs, Y, X)`` → ``(N, outputs, Y, X)``."""
        return self.excitation(self.second(self.first(images)) + self.shortcut(images))


class ResidualUnit(nn.Module):
    """Two activated convolutions and a shortcut, added, then squeeze and excitation."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(activated(inputs, outputs, stride), activated(outputs, outputs))
        self.shortcut = Shortcut(inputs, outputs, stride)
        self.excitation = SqueezeExcitation(outputs)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(N, inputs, Y, X)`` → ``(N, outputs, Y / stride, X / stride)``."""
        return self.excitation(self.convolutions(features) + self.shortcut(features))


class ASPP(nn.Module):
    """Dilated convolutions side by side (Chen 2017), their results summed."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=rate, dilation=rate), nn.BatchNorm2d(outputs))
            for rate in RATES
        )
        self.join = nn.Conv2d(outputs, outputs, 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(N, inputs, Y, X)`` → ``(N, outputs, Y, X)``."""
        return self.join(torch.stack([branch(features) for branch in self.branches]).sum(0))


class Attention(nn.Module):
    """Weigh the decoder's features by the encoder's map of twice their size."""

    def __init__(self, encoder: int, decoder: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(activated(encoder, decoder), nn.MaxPool2d(2))
        self.decoder = activated(decoder, decoder)
        self.weights = activated(decoder, decoder)

    def forward(self, encoder: torch.Tensor, decoder: torch.Tensor) -> torch.Tensor:
        """The decoder's shape."""
        return decoder * self.weights(self.encoder(encoder) + self.decoder(decoder))


class ResUNetPlusPlus(nn.Module):
    """ResUNet++; spatial sizes must be divisible by 8."""

    def __init__(self, in_channels: int, out_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        stem, *down, bridge = widths
        self.stem = Stem(in_channels, stem)
        self.encoders = nn.ModuleList(
            ResidualUnit(inputs, outputs, stride=2) for inputs, outputs in zip([stem, *down[:-1]], down, strict=True)
        )
        self.bridge = ASPP(down[-1], bridge)
        skips = [*down[-2::-1], stem]
        outputs = down[::-1]
        below = [bridge, *outputs[:-1]]
        self.attentions = nn.ModuleList(Attention(skip, lower) for skip, lower in zip(skips, below, strict=True))
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.decoders = nn.ModuleList(
            ResidualUnit(lower + skip, channels) for lower, skip, channels in zip(below, skips, outputs, strict=True)
        )
        self.out = ASPP(outputs[-1], stem)
        self.head = nn.Conv2d(stem, out_channels, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """``(N, C, Y, X)`` → logits ``(N, out_channels, Y, X)``."""
        skips = [self.stem(images)]
        for encoder in self.encoders:
            skips.append(encoder(skips[-1]))
        features = self.bridge(skips.pop())
        for attention, decoder, skip in zip(self.attentions, self.decoders, reversed(skips), strict=True):
            features = decoder(torch.cat([self.up(attention(skip, features)), skip], dim=1))
        return self.head(self.out(features))


def build(dimensions: int, in_channels: int, out_channels: int, widths: Sequence[int] = WIDTHS) -> nn.Module:
    """ResUNet++ with these channels at the stem, the three halvings and the bridge."""
    return ResUNetPlusPlus(in_channels, out_channels, widths)


def _divisor(arguments: Mapping[str, Any]) -> int:
    return 2 ** (len(arguments.get("widths", WIDTHS)) - 2)


FAMILY = NetworkFamily("resunet_plus_plus", build, _divisor, (2,), {"widths": (1, 4096)})
