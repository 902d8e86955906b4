"""DynUNet: the nnU-Net shape (Isensee 2021) from MONAI, instance normalisation, leaky ReLU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from .family import NetworkFamily
from .instance_norm import allow_single_voxels

FILTERS = (32, 64, 128, 256, 320, 320)


def build(
    dimensions: int,
    in_channels: int,
    out_channels: int,
    filters: Sequence[int] = FILTERS,
    residual: bool = False,
) -> nn.Module:
    """DynUNet with one stage a filter count, stride 2 between them (31.2 M parameters in 3D by default)."""
    from monai.networks.nets import DynUNet

    strides = [1] + [2] * (len(filters) - 1)
    network = DynUNet(
        spatial_dims=dimensions,
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=[3] * len(filters),
        strides=strides,
        upsample_kernel_size=strides[1:],
        filters=list(filters),
        res_block=residual,
        deep_supervision=False,
    )
    return allow_single_voxels(network)


def _divisor(arguments: Mapping[str, Any]) -> int:
    return 2 ** (len(arguments.get("filters", FILTERS)) - 1)


# In 3D on a CPU it is 2.5 times slower with channels last.
FAMILY = NetworkFamily("dynunet", build, _divisor, (2, 3), {"filters": (1, 4096)}, channels_last=(2,))
