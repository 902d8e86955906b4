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
    "nnunet": "nnunet",
    "segresnet_ds": "segresnet_ds",
}

LONGEST = 12  # numbers in a list of arguments


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
    _check_arguments(family, arguments)
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


def _check_arguments(family: NetworkFamily, arguments: Mapping[str, Any]) -> None:
    """Each argument is one of the family's, of its default's type and within its limits.

    Raises:
        CheckpointError: one is not.
    """
    parameters = inspect.signature(family.build).parameters
    known = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    for name, value in arguments.items():
        if name not in known:
            raise CheckpointError(
                f"Network {family.name!r} has no argument {name[:80]!r}.", f"It has {', '.join(sorted(known))}."
            )
        low, high = family.limits.get(name, (0, LONGEST))
        if not _fits(value, known[name], low, high):
            many = f"at most {LONGEST} numbers, each " if isinstance(known[name], tuple) else ""
            wanted = {bool: "true or false", str: "a short name"}.get(type(known[name]), f"{many}{low} to {high}")
            raise CheckpointError(
                f"Network {family.name!r} cannot be built with {name} {str(value)[:60]!r}: it must be {wanted}.",
                "Mend its arguments.",
            )


def _fits(value: Any, default: Any, low: float, high: float) -> bool:
    """Whether an argument is like its default, and numbers between the two."""
    match default:
        case tuple():
            return (
                isinstance(value, list | tuple)
                and 0 < len(value) <= LONGEST
                and all(_fits(item, default[0], low, high) for item in value)
            )
        case bool():
            return isinstance(value, bool)
        case str():
            return isinstance(value, str) and len(value) <= 80
        case float():
            return type(value) in (int, float) and low <= value <= high
        case _:
            return type(value) is type(default) and bool(low <= value <= high)


def _lay_out(layout: torch.memory_format, _network: nn.Module, images: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """3D convolutions on a CPU take the layout of their input, not that of their weights."""
    return (images[0].contiguous(memory_format=layout),)
