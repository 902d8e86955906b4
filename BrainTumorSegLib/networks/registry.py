"""The registry of network families.

A checkpoint names a family by its key here, never by an import path, so loading one runs no foreign code.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..domain.errors import CheckpointError

if TYPE_CHECKING:
    import torch
    from torch import nn

# Modules of this package that register families when imported.
_FAMILY_MODULES = (
    "unet", "u2net", "resunet_a", "resunet_plus_plus",
    "segresnet", "dynunet", "swin_unetr", "attention_unet", "flexible_unet", "encoders",
)  # fmt: skip


class MultitaskLogits(NamedTuple):
    """What a network of several tasks returns in training mode, all of the images' spatial size.

    ``segmentation``, ``boundary`` and ``distance`` are logits ``(N, outputs, …)``; the targets of the latter two follow
    from the masks. ``intensity`` ``(N, C, …)`` reconstructs the images.
    """

    segmentation: torch.Tensor
    boundary: torch.Tensor
    distance: torch.Tensor
    intensity: torch.Tensor


@dataclass(frozen=True)
class NetworkFamily:
    """A kind of network.

    Attributes:
        name: key in checkpoints and recipes.
        build: ``build(dimensions, in_channels, out_channels, **arguments)`` → module whose ``forward`` takes
            ``(N, C, …)`` and returns logits ``(N, out_channels, …)``. In training mode it may return a list of
            these, each of which has a loss of its own, or :class:`MultitaskLogits`.
        divisor: spatial sizes must be divisible by ``divisor(arguments)``.
        dimensions: 2, 3 or both.
        channels_last: the dimensions in which it runs faster with channels last in memory, as most do.
    """

    name: str
    build: Callable[..., nn.Module]
    divisor: Callable[[Mapping[str, Any]], int]
    dimensions: tuple[int, ...]
    channels_last: tuple[int, ...] = (2, 3)


_registry: dict[str, NetworkFamily] = {}


def register(family: NetworkFamily) -> None:
    """Make a family known under its name."""
    if family.name in _registry:
        raise ValueError(f"network family {family.name!r} is registered twice")
    _registry[family.name] = family


def families() -> dict[str, NetworkFamily]:
    """All families by name."""
    for module in _FAMILY_MODULES:
        importlib.import_module(f"{__package__}.{module}")
    return dict(_registry)


def family_of(name: str) -> NetworkFamily:
    """The family of that name.

    Raises:
        CheckpointError: it is not in the registry.
    """
    known = families()
    if name not in known:
        raise CheckpointError(
            f"Unknown network {name!r}.", f"This version knows {', '.join(sorted(known))}; update it."
        )
    return known[name]


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
