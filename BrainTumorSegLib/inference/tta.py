"""Test-time augmentation: the mean over all mirrorings of the images."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .backends import Backend

if TYPE_CHECKING:
    from ..models.checkpoint_file import Checkpoint


class Mirrored:
    """A backend that runs each batch in all of its mirrorings (8 in 3D, 4 in 2D) and gives their mean.

    Models that say so are mirrored along some axes only.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend, self._mirrored = backend, "zyx"
        self.name, self.device, self.precision = backend.name, backend.device, backend.precision
        self.prepare, self.free_memory = backend.prepare, backend.free_memory
        self.versions = backend.versions

    def load(self, checkpoint: Checkpoint) -> None:
        """Take the weights, and the axes along which they are mirrored."""
        self._mirrored = checkpoint.description.tiling.mirrored
        self._backend.load(checkpoint)

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        """``(N, C, …)`` → ``(N, outputs, …)``: the mean in fp32."""
        return self._mean(self._backend.probabilities, batch)

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """``(N, C, …)`` → ``(N, outputs, …)``: the mean in fp32."""
        return self._mean(self._backend.logits, batch)

    def _mean(self, run: Callable[[np.ndarray], np.ndarray], batch: np.ndarray) -> np.ndarray:
        flips = mirrorings(batch.ndim - 2, self._mirrored)
        total = sum(np.flip(run(np.flip(batch, axes)), axes) for axes in flips)
        return np.asarray(total / np.float32(len(flips)), dtype=np.float32)


def mirrorings(dimensions: int, mirrored: str = "zyx") -> list[tuple[int, ...]]:
    """Axes to flip, of those that may be, counted from the end; the first is none."""
    axes = [axis for axis in range(-dimensions, 0) if "zyx"[axis] in mirrored]
    return [flips for count in range(len(axes) + 1) for flips in itertools.combinations(axes, count)]
