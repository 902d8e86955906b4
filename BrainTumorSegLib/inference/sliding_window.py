"""A 3D network over a volume in windows that overlap."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..domain.errors import CheckpointError
from .backends import Backend

# Networks see too little of the head in windows shorter than this many voxels.
SHORTEST_WINDOW = 48
# A brain is 30 windows of 128 voxels that overlap by half, 6,000 of 16: what needs more never ends.
MOST_WINDOWS = 50_000
# Standard deviation of the weights as a share of the window, and the least weight: as MONAI and nnU-Net have them.
# MONAI's own function works on torch's tensors, which a run in another backend does without.
_SIGMA, _LEAST = 0.125, 1e-3


@dataclass(frozen=True)
class SlidingWindow:
    """Windows blended with Gaussian weights, in fp32; see :class:`.predictors.Predictor`.

    Attributes:
        patch: window ``(z, y, x)`` in voxels.
        overlap: share of a window that its neighbour covers too.
        divisor: windows are a multiple of it.
    """

    patch: tuple[int, ...]
    overlap: float = 0.5
    divisor: int = 1

    part = "window"
    loses_context = True

    def at(self, spacing: Sequence[float]) -> SlidingWindow:
        """The same: whole volumes are run, whatever their voxels' size."""
        return self

    def smaller(self) -> SlidingWindow | None:
        """The same with windows half as long, never longer than they were."""
        shortest = math.ceil(SHORTEST_WINDOW / self.divisor) * self.divisor
        patch = tuple(max(size // 2 // self.divisor * self.divisor, min(size, shortest)) for size in self.patch)
        return replace(self, patch=patch) if patch != self.patch else None

    def parts(self) -> str:
        """Its parts, in words."""
        return f"windows of {' × '.join(str(size) for size in self.patch)} voxels"

    def voxels(self, shape: Sequence[int]) -> int:
        """How many voxels of images ``(Z, Y, X)`` go through the network at once."""
        return math.prod(self._window(shape))

    def __call__(self, backend: Backend, array: np.ndarray, tick: Callable[[int, int], None]) -> np.ndarray:
        """``(C, Z, Y, X)`` → probabilities ``(outputs, Z, Y, X)``.

        Raises:
            CheckpointError: the windows are too small for these images, or overlap too much.
        """
        shape = array.shape[1:]
        window = self._window(shape)
        total = math.prod(window_count(size, part, self.overlap) for size, part in zip(shape, window, strict=True))
        if total > MOST_WINDOWS:
            raise CheckpointError(
                f"The model asks for {total:,} {replace(self, patch=window).parts()} on these images (overlap"
                f" {self.overlap:g}), more than {MOST_WINDOWS:,}.",
                "Choose another model, or export it with a larger patch or less overlap.",
            )
        # A volume shorter than the window lies in the middle of it.
        sides = [
            (max(part - size, 0) // 2, -(-max(part - size, 0) // 2)) for part, size in zip(window, shape, strict=True)
        ]
        images = np.pad(array, [(0, 0), *sides]) if any(map(any, sides)) else array
        crop = tuple(slice(low, low + size) for (low, _), size in zip(sides, shape, strict=True))
        places = [starts(size, part, self.overlap) for size, part in zip(images.shape[1:], window, strict=True)]
        if total == 1:
            tick(0, 1)
            return backend.probabilities(images[None])[0][:, *crop]
        blended = _Blended(images.shape[1:], window)
        for done, start in enumerate(itertools.product(*places)):
            tick(done, total)
            box = tuple(slice(low, low + part) for low, part in zip(start, window, strict=True))
            blended.add(backend.probabilities(images[None, :, *box])[0], box)
        return blended.mean()[:, *crop]

    def _window(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The patch, made smaller where the brain is: padding voxels cost as much as others."""
        divisor = self.divisor
        window = tuple(
            min(part, math.ceil(size / divisor) * divisor) for part, size in zip(self.patch, shape, strict=True)
        )
        # One voxel at the network's bottom is too little for instance normalisation.
        return self.patch if math.prod(window) == divisor ** len(window) else window


class _Blended:
    """The mean of windows, each weighted by a Gaussian around its middle (Isensee 2021, nnU-Net), in fp32."""

    def __init__(self, shape: Sequence[int], window: Sequence[int]) -> None:
        self._weights = np.ones((1,) * len(window), dtype=np.float32)
        for axis, size in enumerate(window):
            along = gaussian_along(size, (size - 1) / 2)
            self._weights = self._weights * along.reshape([-1 if axis == other else 1 for other in range(len(window))])
        np.maximum(self._weights, _LEAST, out=self._weights)
        self._total = np.zeros(shape, dtype=np.float32)
        self._sum: np.ndarray | None = None

    def add(self, values: np.ndarray, box: tuple[slice, ...]) -> None:
        """Values ``(outputs, …)`` of a window."""
        if self._sum is None:
            self._sum = np.zeros((len(values), *self._total.shape), dtype=np.float32)
        self._sum[:, *box] += values * self._weights
        self._total[box] += self._weights

    def mean(self) -> np.ndarray:
        """What they come to, ``(outputs, …)``."""
        assert self._sum is not None, "no window was added"
        return np.divide(self._sum, self._total, out=self._sum)


def gaussian_along(size: int, middle: float) -> np.ndarray:
    """Weights of a window along an axis, 1 in the middle."""
    steps = np.arange(size, dtype=np.float32) - middle
    return np.asarray(np.exp(-0.5 * (steps / (_SIGMA * size)) ** 2))


def starts(size: int, part: int, overlap: float) -> list[int]:
    """Where windows begin along an axis; the last one ends where the axis ends."""
    step = _step(size, part, overlap)
    return [min(number * step, size - part) for number in range(window_count(size, part, overlap))]


def window_count(size: int, part: int, overlap: float) -> int:
    """Windows along an axis, as MONAI lays them."""
    return max(math.ceil((size - part) / _step(size, part, overlap)) + 1, 1)


def _step(size: int, part: int, overlap: float) -> int:
    return part if part >= size else max(int(part * (1 - overlap)), 1)
