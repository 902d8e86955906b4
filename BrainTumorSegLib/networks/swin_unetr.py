"""SwinUNETR: a Swin transformer as the encoder of a U-Net (Hatamizadeh 2022, arXiv 2201.01266), from MONAI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from .family import NetworkFamily
from .instance_norm import allow_single_voxels

DIVISOR = 32


def build(
    dimensions: int,
    in_channels: int,
    out_channels: int,
    width: int = 24,
    depths: Sequence[int] = (2, 2, 2, 2),
    heads: Sequence[int] = (3, 6, 12, 24),
    window: int = 7,
) -> nn.Module:
    """SwinUNETR with ``width`` features a token at the first stage (a multiple of 12 with the usual heads)."""
    from monai.networks.nets import SwinUNETR

    network = SwinUNETR(
        spatial_dims=dimensions,
        in_channels=in_channels,
        out_channels=out_channels,
        feature_size=width,
        depths=tuple(depths),
        num_heads=tuple(heads),
        window_size=window,
    )
    return allow_single_voxels(network)


def _divisor(arguments: Mapping[str, Any]) -> int:
    return DIVISOR


# Its tokens are lists of channels: other layouts only cost.
LIMITS = {"width": (1, 1024), "depths": (1, 32), "heads": (1, 256), "window": (1, 16)}
FAMILY = NetworkFamily("swin_unetr", build, _divisor, (2, 3), LIMITS, channels_last=())
