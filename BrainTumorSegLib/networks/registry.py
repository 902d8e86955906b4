"""The table of network families.

A checkpoint names a family by its key here, never by an import path, so loading one runs no foreign code.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..domain.errors import CheckpointError
from .family import NetworkFamily

if TYPE_CHECKING:
    import torch
    from torch import nn

# Key in checkpoints and recipes -> module of this package whose FAMILY it is; imported when it is asked for. To add a
# network: its file here, and a line in this table.
FAMILIES = {
    "unet": "unet",
    "u2net": "u2net",
    "resunet_a": "resunet_a",
    "resunet_plus_plus": "resunet_plus_plus",
    "segresnet": "segresnet",
    "dynunet": "dynunet",
    "swin_unetr": "swin_unetr",
    "attention_unet": "attention_unet",
    "flexible_unet": "flexible_unet",
    "encoders": "encoders",
}


def family_of(name: str) -> NetworkFamily:
    """The family of that name.

    Raises:
        CheckpointError: it is not in the table.
    """
    if name not in FAMILIES:
        raise CheckpointError(
            f"Unknown network {name!r}.", f"This version knows {', '.join(sorted(FAMILIES))}; update it."
        )
    family: NetworkFamily = importlib.import_module(f"{__package__}.{FAMILIES[name]}").FAMILY
    return family


def create_network(
    name: str, *, dimensions: int, in_channels: int, out_channels: int, arguments: Mapping[str, Any] | None = None
) -> nn.Module:
    """Build a network with fresh weights, in the memory layout that suits it.

    Raises:
        CheckpointError: unknown family, dimension or argument.
    """
    family = family_of(name)
    arguments = dict(arguments or {})
    if dimensions not in family.dimensions:
        raise CheckpointError(f"Network {name!r} is not {dimensions}D.", f"It exists in {family.dimensions}.")
    accepted = set(inspect.signature(family.build).parameters) - {"dimensions", "in_channels", "out_channels"}
    unknown = sorted(set(arguments) - accepted)
    if unknown:
        raise CheckpointError(
            f"Network {name!r} has no argument {unknown[0]!r}.", f"It has {', '.join(sorted(accepted))}."
        )
    try:
        network = family.build(dimensions=dimensions, in_channels=in_channels, out_channels=out_channels, **arguments)
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"Network {name!r} cannot be built with {arguments} ({error}).", "Mend its arguments."
        ) from error
    if dimensions in family.channels_last:
        import torch

        layout = torch.channels_last if dimensions == 2 else torch.channels_last_3d
        network = network.to(memory_format=layout)  # type: ignore[call-overload]
        network.register_forward_pre_hook(functools.partial(_lay_out, layout))
    return network


def _lay_out(layout: torch.memory_format, _network: nn.Module, images: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """3D convolutions on a CPU take the layout of their input, not that of their weights."""
    return (images[0].contiguous(memory_format=layout),)
