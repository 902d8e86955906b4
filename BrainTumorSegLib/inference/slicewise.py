"""A 2D network over the axial slices of a volume."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .backends import Backend

SLICES_PER_BATCH = 8


@dataclass(frozen=True)
class Slicewise:
    """Slices that hold anything, a batch at a time; see :class:`.predictors.Predictor`.

    Attributes:
        patch: smallest slice ``(y, x)``; 0 for as large as it is.
        overlap: unused, slices do not overlap.
        divisor: slices are padded with zeros, on both sides, to a multiple of it.
        batch: slices that go through the network at once.
    """

    patch: tuple[int, ...]
    overlap: float = 0.0
    divisor: int = 1
    batch: int = SLICES_PER_BATCH

    part = "slices"
    loses_context = False

    def smaller(self) -> Slicewise | None:
        """The same with half the batch."""
        return replace(self, batch=self.batch // 2) if self.batch > 1 else None

    def parts(self) -> str:
        """Its parts, in words."""
        return f"{self.batch} slices at a time"

    def __call__(self, backend: Backend, array: np.ndarray, tick: Callable[[int, int], None]) -> np.ndarray:
        """``(C, Z, Y, X)`` → probabilities ``(outputs, Z, Y, X)``; 0 in slices that hold nothing."""
        filled = [z for z in range(array.shape[1]) if array[:, z].any()]
        batches = [filled[start : start + self.batch] for start in range(0, len(filled), self.batch)]
        padding, crop = self._padding(array.shape[2:])
        result: np.ndarray | None = None
        for done, indices in enumerate(batches):
            tick(done, len(batches))
            images = np.pad(np.moveaxis(array[:, indices], 1, 0), padding)
            values = np.moveaxis(backend.probabilities(images), 0, 1)[:, :, *crop]
            if result is None:
                result = np.zeros((values.shape[0], *array.shape[1:]), dtype=np.float32)
            result[:, indices] = values
        if result is None:
            raise ValueError("the volume is empty")
        return result

    def _padding(self, shape: Sequence[int]) -> tuple[list[tuple[int, int]], tuple[slice, ...]]:
        """Zeros around ``(N, C, y, x)`` up to a multiple of the divisor, at least the patch; and the crop back."""
        padding, crop = [(0, 0), (0, 0)], []
        for size, part in zip(shape, self.patch, strict=True):
            extra = max(math.ceil(size / self.divisor) * self.divisor, part) - size
            padding.append((extra // 2, extra - extra // 2))
            crop.append(slice(extra // 2, extra // 2 + size))
        return padding, tuple(crop)
