"""Test-time augmentation: the mean over all mirrorings of the images."""

from __future__ import annotations

import itertools

import numpy as np

from .backends import Backend


class Mirrored:
    """A backend that runs each batch in all of its mirrorings (8 in 3D, 4 in 2D) and gives their mean."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.name, self.device, self.precision = backend.name, backend.device, backend.precision
        self.prepare, self.load, self.free_memory = backend.prepare, backend.load, backend.free_memory
        self.versions = backend.versions

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        """``(N, C, …)`` → ``(N, outputs, …)``: the mean in fp32."""
        flips = mirrorings(batch.ndim - 2)
        total = sum(np.flip(self._backend.probabilities(np.flip(batch, axes)), axes) for axes in flips)
        return np.asarray(total / np.float32(len(flips)), dtype=np.float32)


def mirrorings(dimensions: int) -> list[tuple[int, ...]]:
    """Axes to flip, counted from the end; the first is none."""
    axes = range(-dimensions, 0)
    return [flips for count in range(dimensions + 1) for flips in itertools.combinations(axes, count)]
