"""Attention U-Net: gates weigh the skips (Oktay 2018, arXiv 1804.03999), from MONAI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from .family import NetworkFamily

CHANNELS = (32, 64, 128, 256, 512)


def build(
    dimensions: int, in_channels: int, out_channels: int, channels: Sequence[int] = CHANNELS, dropout: float = 0.0
) -> nn.Module:
    """Attention U-Net with these channels from full resolution down, halved between them."""
    from monai.networks.nets import AttentionUnet

    return AttentionUnet(
        spatial_dims=dimensions,
        in_channels=in_channels,
        out_channels=out_channels,
        channels=tuple(channels),
        strides=(2,) * (len(channels) - 1),
        dropout=dropout,
    )


def _divisor(arguments: Mapping[str, Any]) -> int:
    return 2 ** (len(arguments.get("channels", CHANNELS)) - 1)


FAMILY = NetworkFamily("attention_unet", build, _divisor, (2, 3), {"channels": (1, 4096), "dropout": (0, 1)})
