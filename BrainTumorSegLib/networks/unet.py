"""U-Net in the form used on the LGG images (Buda 2019, after Ronneberger 2015).

Four levels of two [3×3 convolution without bias, batch normalisation, ReLU] with max-pooling between them,
a bottleneck, 2×2 transposed convolutions up, concatenated skips and a 1×1 convolution out. With base width
32 and 3 → 1 channels it has 7.76 M parameters, with 64 features 31.04 M.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .availability import append_availability
from .family import NetworkFamily


class DoubleConvolution(nn.Sequential):
    """Two times [convolution without bias, batch normalisation, ReLU]."""

    def __init__(self, dimensions: int, inputs: int, outputs: int) -> None:
        convolution, norm = (nn.Conv2d, nn.BatchNorm2d) if dimensions == 2 else (nn.Conv3d, nn.BatchNorm3d)
        layers: list[nn.Module] = []
        for channels in (inputs, outputs):
            layers += [convolution(channels, outputs, 3, padding=1, bias=False), norm(outputs), nn.ReLU(inplace=True)]
        super().__init__(*layers)


class UNet(nn.Module):
    """U-Net returning logits of the input's spatial size, which must be divisible by ``2 ** levels``.

    With deep supervision (Lee 2015, arXiv 1409.5185) coarser levels of the decoder have heads of their own, which learn
    and are not asked for in use.
    """

    def __init__(
        self,
        dimensions: int,
        in_channels: int,
        out_channels: int,
        width: int,
        levels: int,
        deep_supervision: bool = False,
    ) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels + 1)]
        pool, up, convolution = (
            (nn.MaxPool2d, nn.ConvTranspose2d, nn.Conv2d)
            if dimensions == 2
            else (nn.MaxPool3d, nn.ConvTranspose3d, nn.Conv3d)
        )
        self.encoders = nn.ModuleList(
            DoubleConvolution(dimensions, inputs, outputs)
            for inputs, outputs in zip([in_channels, *widths[:-2]], widths[:-1], strict=True)
        )
        self.pool = pool(2)
        self.bottleneck = DoubleConvolution(dimensions, widths[-2], widths[-1])
        self.ups = nn.ModuleList(up(2 * outputs, outputs, 2, stride=2) for outputs in reversed(widths[:-1]))
        self.decoders = nn.ModuleList(
            DoubleConvolution(dimensions, 2 * outputs, outputs) for outputs in reversed(widths[:-1])
        )
        self.head = convolution(width, out_channels, 1)
        coarser = widths[-2:0:-1] if deep_supervision else []
        self.sides = nn.ModuleList(convolution(outputs, out_channels, 1) for outputs in coarser)

    def forward(self, images: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """``(N, C, …)`` → logits ``(N, out_channels, …)``; in training mode those of the side heads behind them."""
        skips = []
        features = images
        for encoder in self.encoders:
            features = encoder(features)
            skips.append(features)
            features = self.pool(features)
        features, maps = self.bottleneck(features), []
        for up, decoder, skip in zip(self.ups, self.decoders, reversed(skips), strict=True):
            features = decoder(torch.cat([up(features), skip], dim=1))
            maps.append(features)
        logits: torch.Tensor = self.head(features)
        if not self.sides or not self.training:
            return logits
        sides = [head(level) for head, level in zip(self.sides, maps, strict=False)]
        way = "bilinear" if images.ndim == 4 else "trilinear"
        return [logits, *(nn.functional.interpolate(side, images.shape[2:], mode=way) for side in reversed(sides))]


def build(
    dimensions: int,
    in_channels: int,
    out_channels: int,
    width: int = 32,
    levels: int = 4,
    availability: bool = False,
    deep_supervision: bool = False,
) -> nn.Module:
    """U-Net with ``width`` features at full resolution, doubled at each of ``levels`` poolings.

    ``availability`` lets it see which channels are missing (all 0), for models that take any subset of them;
    ``deep_supervision`` has its coarser levels learn the masks as well.
    """
    channels = in_channels * (2 if availability else 1)
    network = UNet(dimensions, channels, out_channels, width, levels, deep_supervision)
    if availability:
        network.register_forward_pre_hook(append_availability)
    return network


def _divisor(arguments: Mapping[str, Any]) -> int:
    return 2 ** int(arguments.get("levels", 4))


FAMILY = NetworkFamily("unet", build, _divisor, (2, 3), {"width": (1, 1024), "levels": (1, 8)})
