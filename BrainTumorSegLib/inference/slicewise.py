"""A 2D network over the axial slices of a volume."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .backends import Backend

SLICES_PER_BATCH = 8
# Probabilities nearer to 0 and 1 count as this near where they are interpolated, lest one slice outweigh the other.
_SURE = np.float32(1e-4)


@dataclass(frozen=True)
class Slicewise:
    """Slices that hold anything, a batch at a time; see :class:`.predictors.Predictor`.

    Attributes:
        patch: smallest slice ``(y, x)``; 0 for as large as it is.
        divisor: slices are padded with zeros, on both sides, to a multiple of it.
        batch: slices that go through the network at once.
        distance: mm between the slices that go through it, at most.
        step: which of the slices go through it: every, every second, … ; probabilities of those between are
            interpolated.
    """

    patch: tuple[int, ...]
    divisor: int = 1
    batch: int = SLICES_PER_BATCH
    distance: float = 0.0
    step: int = 1

    part = "slices"
    loses_context = False

    def at(self, spacing: Sequence[float]) -> Slicewise:
        """The same for slices that are ``spacing[0]`` mm apart."""
        # A slice of .9999 mm is one of 1 mm that a file could not hold better.
        return replace(self, step=max(1, int(self.distance / spacing[0] + 1e-3)))

    def smaller(self) -> Slicewise | None:
        """The same with half the batch."""
        return replace(self, batch=self.batch // 2) if self.batch > 1 else None

    def parts(self) -> str:
        """Its parts, in words."""
        return f"{self.batch} slices at a time"

    def __call__(self, backend: Backend, array: np.ndarray, tick: Callable[[int, int], None]) -> np.ndarray:
        """``(C, Z, Y, X)`` → probabilities ``(outputs, Z, Y, X)``; 0 in slices that hold nothing."""
        filled = [z for z in range(array.shape[1]) if array[:, z].any()]
        run = sorted({*filled[:: self.step], *filled[-1:]})
        batches = [run[start : start + self.batch] for start in range(0, len(run), self.batch)]
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
        _fill_between(result, run, filled)
        return result

    def _padding(self, shape: Sequence[int]) -> tuple[list[tuple[int, int]], tuple[slice, ...]]:
        """Zeros around ``(N, C, y, x)`` up to a multiple of the divisor, at least the patch; and the crop back."""
        padding, crop = [(0, 0), (0, 0)], []
        for size, part in zip(shape, self.patch, strict=True):
            extra = max(math.ceil(size / self.divisor) * self.divisor, part) - size
            padding.append((extra // 2, extra - extra // 2))
            crop.append(slice(extra // 2, extra // 2 + size))
        return padding, tuple(crop)


def _fill_between(result: np.ndarray, run: Sequence[int], filled: Sequence[int]) -> None:
    """Give the slices of ``filled`` between two that were run what lies between these, linearly in log-odds."""
    for z in filled:
        after = bisect.bisect_left(run, z)
        if run[after] != z:
            below, above = run[after - 1], run[after]
            share = np.float32((z - below) / (above - below))
            odds = (1 - share) * _log_odds(result[:, below]) + share * _log_odds(result[:, above])
            result[:, z] = 1 / (1 + np.exp(-odds))


def _log_odds(probability: np.ndarray) -> np.ndarray:
    bounded = np.clip(probability, _SURE, 1 - _SURE)
    return np.log(bounded / (1 - bounded))
