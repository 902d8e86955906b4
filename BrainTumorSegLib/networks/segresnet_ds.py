"""SegResNetDS: SegResNet with deep supervision, as MONAI's Auto3DSeg trains it (Myronenko 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from .family import NetworkFamily
from .segresnet import NORMALISATIONS as GROUP_AND_BATCH

BLOCKS_DOWN = (1, 2, 2, 4, 4)
NORMALISATIONS: dict[str, tuple[str, dict[str, Any]]] = {**GROUP_AND_BATCH, "instance": ("INSTANCE", {"affine": True})}


def build(
    dimensions: int,
    in_channels: int,
    out_channels: int,
    width: int = 32,
    blocks_down: Sequence[int] = BLOCKS_DOWN,
    blocks_up: Sequence[int] = (1, 1, 1, 1),
    norm: str = "instance",
) -> nn.Module:
    """SegResNetDS of ``width`` filters at full resolution, with its last output alone."""
    from monai.networks.nets import SegResNetDS

    if len(blocks_up) != len(blocks_down) - 1 or norm not in NORMALISATIONS:
        raise ValueError(f"it goes up once less than down, with norm {', '.join(NORMALISATIONS)}")
    kind, options = NORMALISATIONS[norm]
    network: nn.Module = SegResNetDS(
        spatial_dims=dimensions,
        init_filters=width,
        in_channels=in_channels,
        out_channels=out_channels,
        norm=(kind, dict(options)),
        blocks_down=tuple(blocks_down),
        blocks_up=tuple(blocks_up),
        dsdepth=1,
    )
    return network


def _divisor(arguments: Mapping[str, Any]) -> int:
    return 2 ** (len(arguments.get("blocks_down", BLOCKS_DOWN)) - 1)


LIMITS: dict[str, tuple[float, float]] = {"width": (1, 1024), "blocks_down": (1, 32), "blocks_up": (1, 32)}
FAMILY = NetworkFamily("segresnet_ds", build, _divisor, (2, 3), LIMITS)
