"""A 2D network over the axial slices of a volume."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .backends import Backend

SLICES_PER_BATCH = 8
_SHOWN = 0.5
# Probabilities nearer to 0 and 1 count as this near where they are interpolated, lest one slice outweigh the other.
_SURE = np.float32(1e-4)


@dataclass(frozen=True)
class Slicewise:
    """Slices that hold anything, a batch at a time; see :class:`.predictors.Predictor`.

    Attributes:
        patch: smallest slice ``(y, x)``; 0 for as large as it is.
        divisor: slices are padded with zeros, on both sides, to a multiple of it.
        batch: slices that go through the network at once.
        distance: mm between the slices that go through it first, at most.
        dense: outputs of which every slice is wanted: between two slices of which one shows any of them, all are run.
        step: which of the slices go through the network first: every, every second, … ; those between that are not
            run at all get what is interpolated.
    """

    patch: tuple[int, ...]
    divisor: int = 1
    batch: int = SLICES_PER_BATCH
    distance: float = 0.0
    dense: tuple[int, ...] = ()
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

    def voxels(self, shape: Sequence[int]) -> int:
        """How many voxels of images ``(Z, Y, X)`` go through the network at once."""
        return min(self.batch, shape[0]) * math.prod(self._size(shape[1:]))

    def __call__(self, backend: Backend, array: np.ndarray, tick: Callable[[int, int], None]) -> np.ndarray:
        """``(C, Z, Y, X)`` → probabilities ``(outputs, Z, Y, X)``; 0 in slices that hold nothing."""
        filled = [z for z in range(array.shape[1]) if array[:, z].any()]
        if not filled:
            raise ValueError("the volume is empty")
        first = sorted({*filled[:: self.step], filled[-1]})
        most = math.ceil(len(filled) / self.batch)  # the first may be all
        result = self._run(backend, array, first, lambda done: tick(done, most))
        more = sorted(set(filled).intersection(self._between(result, first)))
        left = math.ceil(len(more) / self.batch)
        self._run(backend, array, more, lambda done: tick(most - left + done, most), result)
        _fill_between(result, sorted({*first, *more}), filled)
        return result

    def _run(
        self,
        backend: Backend,
        array: np.ndarray,
        slices: Sequence[int],
        tick: Callable[[int], None],
        result: np.ndarray | None = None,
    ) -> np.ndarray:
        """Put what the network gives for some slices into ``result``, or a new one."""
        padding, crop = self._padding(array.shape[2:])
        for done, start in enumerate(range(0, len(slices), self.batch)):
            tick(done)
            indices = list(slices[start : start + self.batch])
            images = np.pad(np.moveaxis(array[:, indices], 1, 0), padding)
            values = np.moveaxis(backend.probabilities(images), 0, 1)[:, :, *crop]
            if result is None:
                result = np.zeros((values.shape[0], *array.shape[1:]), dtype=np.float32)
            result[:, indices] = values
        assert result is not None
        return result

    def _between(self, result: np.ndarray, run: Sequence[int]) -> Iterator[int]:
        """Slices that lie between two of which one shows what is wanted in every slice."""
        shown = {z for z in run if self.dense and result[list(self.dense), z].max() >= _SHOWN}
        for below, above in itertools.pairwise(run):
            if below in shown or above in shown:
                yield from range(below + 1, above)

    def _padding(self, shape: Sequence[int]) -> tuple[list[tuple[int, int]], tuple[slice, ...]]:
        """Zeros around ``(N, C, y, x)`` up to a multiple of the divisor, at least the patch; and the crop back."""
        padding, crop = [(0, 0), (0, 0)], []
        for size, padded in zip(shape, self._size(shape), strict=True):
            extra = padded - size
            padding.append((extra // 2, extra - extra // 2))
            crop.append(slice(extra // 2, extra // 2 + size))
        return padding, tuple(crop)

    def _size(self, shape: Sequence[int]) -> list[int]:
        """Size of the slices ``(y, x)`` as the network gets them."""
        sizes = zip(shape, self.patch, strict=True)
        return [max(math.ceil(size / self.divisor) * self.divisor, part) for size, part in sizes]


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
