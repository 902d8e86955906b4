"""What slice-wise and sliding-window prediction have in common, and which of them a checkpoint asks for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ..domain.errors import CheckpointError
from ..models.description import Description
from .backends import Backend
from .foreign_windows import ForeignWindows
from .slicewise import Slicewise
from .sliding_window import SlidingWindow

# Networks that take any size halve small ones down to single voxels, of whose pooling OpenVINO makes nothing, or ends
# the process: they get slices of at least so many voxels along an axis.
SMALLEST_SLICE = 32

# Called with done and total parts of the work; may raise to end it.
Tick = Callable[[int, int], None]


class Predictor(Protocol):
    """A way to run a network over a volume.

    Attributes:
        part: what one part of the work is called.
        loses_context: whether smaller parts let the network know less of what is around, which costs accuracy.
    """

    part: str
    loses_context: bool

    def __call__(self, backend: Backend, array: np.ndarray, tick: Tick) -> np.ndarray:
        """``(C, Z, Y, X)`` → probabilities ``(outputs, Z, Y, X)``, float32."""

    def at(self, spacing: Sequence[float]) -> Predictor:
        """The same for voxels of a size, ``(z, y, x)`` in mm."""

    def smaller(self) -> Predictor | None:
        """The same in smaller parts, for want of memory; None where they cannot be smaller."""

    def parts(self) -> str:
        """Its parts, in words."""

    def voxels(self, shape: Sequence[int]) -> int:
        """How many voxels of images ``(Z, Y, X)`` go through the network at once."""


def predictor_of(description: Description, divisor: int) -> Slicewise | SlidingWindow | ForeignWindows:
    """The way of running that a checkpoint asks for, with sizes that are multiples of ``divisor``.

    Raises:
        CheckpointError: its patch is none.
    """
    tiling = description.tiling
    if tiling.windows != "fitted":
        return ForeignWindows(tiling.patch, tiling.overlap, tiling.windows, tiling.blending, description.activation)
    if any(size % divisor for size in tiling.patch):
        raise CheckpointError(
            f"Model {description.id} has a patch {tiling.patch} that its network cannot take.",
            f"Export it again with multiples of {divisor}.",
        )
    if description.dimensions == 2:
        names = [output.name for output in description.outputs]
        dense = tuple(names.index(name) for name in tiling.every_slice)
        patch = tiling.patch if divisor > 1 else tuple(max(size, SMALLEST_SLICE) for size in tiling.patch)
        return Slicewise(patch, divisor, distance=tiling.slice_distance, dense=dense)
    return SlidingWindow(tiling.patch, tiling.overlap, divisor)
