"""Patches for training: which one is drawn is a function of the seed and a running number, nothing else.

So a run that was killed and resumed, or spread over more processes, sees the very patches it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from BrainTumorSegLib.models.description import OutputSpec

from ..augmentation import Augmentation
from ..supervision import UNKNOWN
from .cache import CachedCase
from .case import UNKNOWN_LABEL

Sample = dict[str, torch.Tensor]


class PatchDataset(Dataset[Sample]):
    """Patches from cached cases, 3D or (for a 2D patch) of axial slices.

    Item ``n`` is ``{"image": (C, *patch) float32, "target": (outputs, *patch) float32}``. The target is
    :data:`~Training.supervision.UNKNOWN` where nothing is known; a patch is centred on a slice where something is.
    """

    def __init__(
        self,
        cases: Sequence[CachedCase],
        patch: tuple[int, ...],
        outputs: tuple[OutputSpec, ...],
        *,
        foreground: float,
        seed: int,
        augmentation: Augmentation | None,
        length: int,
    ) -> None:
        self.cases, self.outputs, self.foreground = cases, outputs, foreground
        self.patch = patch if len(patch) == 3 else (1, *patch)
        self.flat = len(patch) == 2
        self.seed, self.augmentation, self.length = seed, augmentation, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> Sample:
        generator = np.random.default_rng([self.seed, number])
        # Every case comes once before one comes again; the order differs from round to round.
        turn, place = divmod(number, len(self.cases))
        order = np.random.default_rng([self.seed, turn, 1]).permutation(len(self.cases))
        case = self.cases[order[place]]
        labels = case.labels()
        corner = self._corner(labels, generator)
        image = torch.from_numpy(cut(case.image(), corner, self.patch).astype(np.float32))
        patch_labels = torch.from_numpy(cut(labels, corner, self.patch))[None]
        if self.flat:
            image, patch_labels = image[:, 0], patch_labels[:, 0]
        if self.augmentation:
            image, patch_labels = self.augmentation(image, patch_labels, int(generator.integers(2**31)))
        return {"image": image, "target": targets(patch_labels[0], self.outputs)}

    def _corner(self, labels: np.ndarray, generator: np.random.Generator) -> tuple[int, ...]:
        """First voxel of the patch; ``foreground`` of the patches are centred on tumour, each class alike."""
        centre = [int(generator.integers(size)) for size in labels.shape]
        if (labels == UNKNOWN_LABEL).any():
            annotated = np.flatnonzero((labels != UNKNOWN_LABEL).any(axis=(1, 2)))
            centre[0] = int(generator.choice(annotated))
        if generator.random() < self.foreground:
            classes = np.flatnonzero(np.bincount(np.asarray(labels).ravel(), minlength=4)[1:4]) + 1
            if classes.size:
                voxels = np.flatnonzero(labels == generator.choice(classes))
                centre = [int(i) for i in np.unravel_index(generator.choice(voxels), labels.shape)]
        corner = []
        for c, part, size in zip(centre, self.patch, labels.shape, strict=True):
            # Inside the image where the patch fits, around its middle where it does not.
            corner.append(min(max(c - part // 2, 0), size - part) if part <= size else (size - part) // 2)
        return tuple(corner)


def targets(labels: torch.Tensor, outputs: Sequence[OutputSpec]) -> torch.Tensor:
    """Labels ``(…)`` → what the network should say ``(outputs, …)`` float; unknown where nothing is known."""
    target = torch.stack([torch.isin(labels, torch.tensor(output.labels)) for output in outputs]).float()
    target[:, labels == UNKNOWN_LABEL] = UNKNOWN
    return target


def cut(array: np.ndarray, corner: Sequence[int], patch: Sequence[int]) -> np.ndarray:
    """A copy of ``(…, Z, Y, X)`` at ``corner``, zero where that is outside the array."""
    result = np.zeros((*array.shape[:-3], *patch), dtype=array.dtype)
    source: list[Any] = [...]
    target: list[Any] = [...]
    for first, part, size in zip(corner, patch, array.shape[-3:], strict=True):
        low, high = max(first, 0), min(first + part, size)
        source.append(slice(low, high))
        target.append(slice(low - first, high - first))
    result[tuple(target)] = array[tuple(source)]
    return result


class RunningNumbers(Sampler[int]):
    """Numbers of the samples of an epoch on this process: epoch and rank decide, so a resumed run goes on."""

    def __init__(self, per_epoch: int, rank: int = 0, world: int = 1, epoch: int = 0) -> None:
        self.per_epoch, self.rank, self.world, self.epoch = per_epoch, rank, world, epoch

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.per_epoch

    def __iter__(self) -> Iterator[int]:
        length = self.per_epoch * self.world
        return iter(range(self.epoch * length + self.rank, (self.epoch + 1) * length, self.world))
