"""SegResNet: the encoder-decoder of the BraTS 2018 winner (Myronenko 2018), from MONAI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from .availability import append_availability
from .family import NetworkFamily

BLOCKS_DOWN = (1, 2, 2, 4)

# Group normalisation, the paper's, makes each patch its own measure; batch normalisation keeps absolute intensities.
NORMALISATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "group": ("GROUP", {"num_groups": 8}),
    "batch": ("BATCH", {}),
}


def build(
    dimensions: int,
    in_channels: int,
    out_channels: int,
    width: int = 16,
    blocks_down: Sequence[int] = BLOCKS_DOWN,
    blocks_up: Sequence[int] = (1, 1, 1),
    dropout: float = 0.0,
    availability: bool = False,
    norm: str = "group",
) -> nn.Module:
    """SegResNet with ``width`` filters at full resolution (4.70 M parameters at 16, 18.8 M at 32).

    ``norm`` is ``group`` or ``batch``. ``availability`` lets it see which channels are missing (all 0),
    for models that take any subset of them.
    """
    from monai.networks.nets import SegResNet

    if len(blocks_up) != len(blocks_down) - 1 or norm not in NORMALISATIONS:
        raise ValueError(f"it goes up once less than down, with norm {' or '.join(NORMALISATIONS)}")
    network = SegResNet(
        spatial_dims=dimensions,
        init_filters=width,
        in_channels=in_channels * (2 if availability else 1),
        out_channels=out_channels,
        blocks_down=tuple(blocks_down),
        blocks_up=tuple(blocks_up),
        dropout_prob=dropout or None,
        norm=NORMALISATIONS[norm],
    )
    if availability:
        network.register_forward_pre_hook(append_availability)
    return network


def _divisor(arguments: Mapping[str, Any]) -> int:
    return 2 ** (len(arguments.get("blocks_down", BLOCKS_DOWN)) - 1)


LIMITS = {"width": (1, 1024), "blocks_down": (1, 32), "blocks_up": (1, 32), "dropout": (0, 1)}
FAMILY = NetworkFamily("segresnet", build, _divisor, (2, 3), LIMITS)
