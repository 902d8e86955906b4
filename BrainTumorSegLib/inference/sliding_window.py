"""A 3D network over a volume in windows that overlap."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..domain.errors import CheckpointError
from .backends import Backend

if TYPE_CHECKING:
    import torch

# Networks see too little of the head in windows shorter than this many voxels.
SHORTEST_WINDOW = 48
# A brain is 30 windows of 128 voxels that overlap by half, 6,000 of 16: what needs more never ends.
MOST_WINDOWS = 50_000


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

    def smaller(self) -> SlidingWindow | None:
        """The same with windows half as long, never longer than they were."""
        shortest = max(self.divisor, SHORTEST_WINDOW)
        patch = tuple(max(size // 2 // self.divisor * self.divisor, min(size, shortest)) for size in self.patch)
        return replace(self, patch=patch) if patch != self.patch else None

    def parts(self) -> str:
        """Its parts, in words."""
        return f"windows of {' × '.join(str(size) for size in self.patch)} voxels"

    def __call__(self, backend: Backend, array: np.ndarray, tick: Callable[[int, int], None]) -> np.ndarray:
        """``(C, Z, Y, X)`` → probabilities ``(outputs, Z, Y, X)``.

        Raises:
            CheckpointError: the windows are too small for these images, or overlap too much.
        """
        import torch
        from monai.inferers.utils import sliding_window_inference

        patch = self._window(array.shape[1:])
        total = math.prod(
            window_count(size, part, self.overlap) for size, part in zip(array.shape[1:], patch, strict=True)
        )
        if total > MOST_WINDOWS:
            raise CheckpointError(
                f"The model asks for {total:,} {replace(self, patch=patch).parts()} on these images (overlap"
                f" {self.overlap:g}), more than {MOST_WINDOWS:,}.",
                "Choose another model, or export it with a larger patch or less overlap.",
            )
        done = 0

        def run_window(window: torch.Tensor) -> torch.Tensor:
            nonlocal done
            tick(done, total)
            done += 1
            return torch.from_numpy(backend.probabilities(window.numpy()))

        with torch.inference_mode():
            blended = sliding_window_inference(
                torch.from_numpy(array)[None], patch, 1, run_window, overlap=self.overlap, mode="gaussian", device="cpu"
            )
        return np.asarray(blended[0].numpy())

    def _window(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The patch, made smaller where the brain is: padding voxels cost as much as others."""
        divisor = self.divisor
        window = tuple(
            min(part, math.ceil(size / divisor) * divisor) for part, size in zip(self.patch, shape, strict=True)
        )
        # One voxel at the network's bottom is too little for instance normalisation.
        return self.patch if math.prod(window) == divisor ** len(window) else window


def window_count(size: int, part: int, overlap: float) -> int:
    """Windows along an axis, as MONAI lays them."""
    step = part if part >= size else max(int(part * (1 - overlap)), 1)
    return max(math.ceil((size - part) / step) + 1, 1)
