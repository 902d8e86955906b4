"""Patches for training: which one is drawn is a function of the seed and a running number, nothing else.

So a run that was killed and resumed, or spread over more processes, sees the very patches it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from BrainTumorSegLib.domain.labels import ET
from BrainTumorSegLib.models.description import OutputSpec

from ..augmentation import Augmentation
from ..supervision import UNKNOWN
from .cache import CachedCase
from .carving import carve
from .case import UNKNOWN_LABEL

Sample = dict[str, torch.Tensor]
# Entry of a batch that is not augmented yet: a number for each patch.
SEED = "seed"
# Of 35 BraTS patients the tumours of nine have less ET than 2.1 % of their volume, those of all others more than 4.4 %.
_LITTLE_ENHANCEMENT = 0.03


@dataclass(frozen=True)
class Places:
    """Where patches of a case may be centred.

    Attributes:
        annotated: slices of which something is known; empty where all of the case is.
        tumour: class → its voxels, as positions in the flattened array.
    """

    annotated: np.ndarray
    tumour: dict[int, np.ndarray]

    @classmethod
    def of(cls, labels: np.ndarray) -> Places:
        """Look through a label map ``(Z, Y, X)``."""
        unknown = labels == UNKNOWN_LABEL
        annotated = np.flatnonzero(~unknown.all(axis=(1, 2))) if unknown.any() else np.array([], dtype=np.intp)
        found = {label: np.flatnonzero(labels == label).astype(np.int32) for label in (1, 2, 3)}
        return cls(annotated, {label: voxels for label, voxels in found.items() if voxels.size})


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
        carved: float = 0.0,
        later: bool = False,
    ) -> None:
        """Draw from ``cases``.

        Args:
            cases: a case that stands there twice is drawn twice as often.
            patch: its size.
            outputs: of the network.
            foreground: share of patches that are centred on tumour.
            seed: of all draws.
            augmentation: what is done to a patch; nothing without it.
            length: of the data set.
            carved: share of patches that get a tumour of another case (:func:`~.carving.carve`).
            later: give patches as they are, with ``labels`` and a ``seed``, for :func:`augmented`.
        """
        self._places: dict[str, Places] = {}
        self.carved, self.later = carved, later
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
        if self.carved and generator.random() < self.carved:
            pair = self._carved(case, generator)
        else:
            pair = self._cut(case, self._corner(case, self.foreground, generator))
        image, patch_labels = torch.from_numpy(pair[0]), torch.from_numpy(pair[1])[None]
        image = image if self.later else image.float()  # half as much to hand over
        if self.flat:
            image, patch_labels = image[:, 0], patch_labels[:, 0]
        if self.later:
            return {"image": image, "labels": patch_labels, SEED: torch.tensor(int(generator.integers(2**31)))}
        if self.augmentation:
            image, patch_labels = self.augmentation(image, patch_labels, int(generator.integers(2**31)))
        return {"image": image, "target": targets(patch_labels[0], self.outputs)}

    def _cut(self, case: CachedCase, corner: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        return cut(case.image(), corner, self.patch), cut(case.labels(), corner, self.patch)

    def _carved(self, case: CachedCase, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A patch with tumour of another case in it, which comes from where that lies in its own brain."""
        donor = self.cases[int(generator.integers(len(self.cases)))]
        theirs = self._corner(donor, 1.0, generator)
        sizes = zip(theirs, self.patch, donor.labels().shape, case.labels().shape, strict=True)
        # Both arrays are the brain's box: the same share of it is about the same place.
        corner = [round((first + part / 2) * size / other - part / 2) for first, part, other, size in sizes]
        return carve(self._cut(case, corner), self._cut(donor, theirs), generator)

    def _corner(self, case: CachedCase, foreground: float, generator: np.random.Generator) -> tuple[int, ...]:
        """First voxel of the patch; ``foreground`` of the patches are centred on tumour, each class alike."""
        labels = case.labels()
        centre = [int(generator.integers(size)) for size in labels.shape]
        places = self._places.get(case.id)
        if places is None:  # looked for once: a volume has millions of voxels
            places = self._places[case.id] = Places.of(labels)
        if places.annotated.size:
            centre[0] = int(generator.choice(places.annotated))
        if generator.random() < foreground and places.tumour:
            voxels = places.tumour[generator.choice([*places.tumour])]
            centre = [int(i) for i in np.unravel_index(generator.choice(voxels), labels.shape)]
        corner = []
        for c, part, size in zip(centre, self.patch, labels.shape, strict=True):
            # Inside the image where the patch fits, around its middle where it does not.
            corner.append(min(max(c - part // 2, 0), size - part) if part <= size else (size - part) // 2)
        return tuple(corner)


def hardly_enhances(case: CachedCase) -> bool:
    """Whether there is a tumour, of which next to nothing enhances."""
    sizes = np.bincount(case.labels().ravel(), minlength=4)[1:4]
    return bool(sizes[ET - 1] < _LITTLE_ENHANCEMENT * sizes.sum())


def augmented(batch: Sample, augmentation: Augmentation, outputs: Sequence[OutputSpec]) -> Sample:
    """A batch that was cut for ``later``, each patch augmented where it lies, by its own seed."""
    seeds = batch[SEED].tolist()
    pairs = [augmentation(*each) for each in zip(batch["image"].float(), batch["labels"], seeds, strict=True)]
    target = torch.stack([targets(labels[0], outputs) for _, labels in pairs])
    return {"image": torch.stack([image for image, _ in pairs]), "target": target}


def targets(labels: torch.Tensor, outputs: Sequence[OutputSpec]) -> torch.Tensor:
    """Labels ``(…)`` → what the network should say ``(outputs, …)`` float; unknown where nothing is known."""
    target = torch.stack([torch.isin(labels, labels.new_tensor(output.labels)) for output in outputs]).float()
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
