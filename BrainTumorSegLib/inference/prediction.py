"""The two ways to run a network over a volume: slice-wise and by sliding window."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ..domain.errors import CheckpointError
from ..models.description import Description
from ..networks.registry import family_of
from .device import autocast

if TYPE_CHECKING:
    import torch
    from torch import nn

SLICES_PER_BATCH = 8

# Networks see too little of the head in windows shorter than this many voxels.
SHORTEST_WINDOW = 48

# Called with done and total parts of the work; may raise to end it.
Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Plan:
    """How a checkpoint's network is run: decided once, before anything heavy starts.

    Attributes:
        dimensions: 2 runs slice-wise, 3 volumetrically.
        patch: window ``(z, y, x)``, or ``(y, x)`` with 0 for the whole slice.
        overlap: share of a window that its neighbour covers too.
        divisor: windows are padded to a multiple of it.
        mirror: average over all mirrorings (8 in 3D, 4 in 2D).
        batch: slices that go through a 2D network at once.
    """

    dimensions: int
    patch: tuple[int, ...]
    overlap: float
    divisor: int
    mirror: bool = False
    batch: int = SLICES_PER_BATCH

    def smaller(self) -> Plan | None:
        """The same with half the batch (2D) or windows half as long (3D), for want of memory; None below that."""
        if self.dimensions == 2:
            return replace(self, batch=self.batch // 2) if self.batch > 1 else None
        shortest = max(self.divisor, SHORTEST_WINDOW)
        patch = tuple(max(size // 2 // self.divisor * self.divisor, min(size, shortest)) for size in self.patch)
        return replace(self, patch=patch) if patch != self.patch else None

    @classmethod
    def of(cls, description: Description, *, mirror: bool = False) -> Plan:
        """The plan that a checkpoint asks for.

        Raises:
            CheckpointError: its patch is not a multiple of what its network halves.
        """
        divisor = family_of(description.network.family).divisor(description.network.arguments)
        tiling = description.tiling
        if any(size % divisor for size in tiling.patch):
            raise CheckpointError(
                f"Model {description.id} has a patch {tiling.patch} that its network cannot take.",
                f"Export it again with multiples of {divisor}.",
            )
        return cls(description.dimensions, tiling.patch, tiling.overlap, divisor, mirror)

    def mirrorings(self) -> list[tuple[int, ...]]:
        """Axes to flip, counted from the end; the first is none."""
        axes = range(-self.dimensions, 0)
        if not self.mirror:
            return [()]
        return [flips for count in range(self.dimensions + 1) for flips in itertools.combinations(axes, count)]


class Predictor:
    """A network on a device, ready to turn arrays into probabilities."""

    def __init__(self, network: nn.Module, plan: Plan, device: torch.device, precision: str) -> None:
        self.network, self.plan = network.to(device), plan
        self.device, self.precision = device, precision

    def __call__(self, array: np.ndarray, tick: Tick | None = None) -> np.ndarray:
        """``(C, Z, Y, X)`` → probabilities ``(outputs, Z, Y, X)``, float32."""
        import torch

        with torch.inference_mode():
            run = self._slices if self.plan.dimensions == 2 else self._windows
            return run(torch.from_numpy(array), tick or (lambda done, total: None))

    def _probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """A batch through the network; sigmoid and average over mirrorings in fp32."""
        import torch

        images = images.to(self.device)
        total = None
        flips = self.plan.mirrorings()
        for axes in flips:
            with autocast(self.device, self.precision):
                logits = self.network(torch.flip(images, axes))
            part = torch.flip(torch.sigmoid(logits.float()), axes)
            total = part if total is None else total + part
        assert total is not None
        return total / len(flips)

    def _slices(self, volume: torch.Tensor, tick: Tick) -> np.ndarray:
        """2D network over the axial slices that hold anything."""
        import torch

        filled = [z for z in range(volume.shape[1]) if volume[:, z].any()]
        result: np.ndarray | None = None
        padding, crop = _padding(tuple(volume.shape[-2:]), self.plan)
        size = self.plan.batch
        batches = [filled[start : start + size] for start in range(0, len(filled), size)]
        for done, indices in enumerate(batches):
            tick(done, len(batches))
            images = torch.nn.functional.pad(volume[:, indices].movedim(0, 1), padding)
            values = self._probabilities(images).movedim(1, 0).cpu().numpy()[:, :, *crop]
            if result is None:
                result = np.zeros((values.shape[0], *volume.shape[1:]), dtype=np.float32)
            result[:, indices] = values
        if result is None:
            raise ValueError("the volume is empty")
        return result

    def _windows(self, volume: torch.Tensor, tick: Tick) -> np.ndarray:
        """3D network by sliding window, blended with Gaussian weights in fp32."""
        from monai.inferers.utils import sliding_window_inference

        patch = self._window_size(tuple(volume.shape[1:]))
        total = math.prod(
            _window_count(size, part, self.plan.overlap) for size, part in zip(volume.shape[1:], patch, strict=True)
        )
        done = 0

        def run_window(window: torch.Tensor) -> torch.Tensor:
            nonlocal done
            tick(done, total)
            done += 1
            return self._probabilities(window).cpu()

        blended = sliding_window_inference(
            volume[None], patch, 1, run_window, overlap=self.plan.overlap, mode="gaussian", device="cpu"
        )
        return blended[0].numpy()

    def _window_size(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The patch, made smaller where the brain is: padding voxels cost as much as others."""
        divisor = self.plan.divisor
        window = tuple(
            min(part, math.ceil(size / divisor) * divisor) for part, size in zip(self.plan.patch, shape, strict=True)
        )
        # One voxel at the network's bottom is too little for instance normalisation.
        return self.plan.patch if math.prod(window) == divisor ** len(window) else window


def _padding(shape: Sequence[int], plan: Plan) -> tuple[list[int], tuple[slice, ...]]:
    """Zero padding of the last axes to a multiple of the divisor (at least the patch), and the crop back."""
    padding: list[int] = []
    crop: list[slice] = []
    for size, part in zip(shape, plan.patch, strict=True):
        extra = max(math.ceil(size / plan.divisor) * plan.divisor, part) - size
        padding = [extra // 2, extra - extra // 2, *padding]  # torch counts from the last axis
        crop.append(slice(extra // 2, extra // 2 + size))
    return padding, tuple(crop)


def _window_count(size: int, part: int, overlap: float) -> int:
    """Windows along an axis, as MONAI lays them."""
    step = part if part >= size else max(int(part * (1 - overlap)), 1)
    return max(math.ceil((size - part) / step) + 1, 1)
