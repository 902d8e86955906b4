"""What a kind of network says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import torch
    from torch import nn


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
        limits: argument → lowest and highest value of a number, or of each in a list; every argument that is one has
            them, so that what a checkpoint asks for can be built and has an end.
        channels_last: the dimensions in which it runs faster with channels last in memory, as most do.
    """

    name: str
    build: Callable[..., nn.Module]
    divisor: Callable[[Mapping[str, Any]], int]
    dimensions: tuple[int, ...]
    limits: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    channels_last: tuple[int, ...] = (2, 3)
