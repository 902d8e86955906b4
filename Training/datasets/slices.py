"""Whole slices, each once: what a run is monitored on, and networks are measured on batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset

from BrainTumorSegLib.models.description import OutputSpec

from .cache import CachedCase
from .case import UNKNOWN_LABEL
from .patches import Sample, cut, targets


class SliceDataset(Dataset[Sample]):
    """Every axial slice of which something is known, in the middle of a frame that all of them fit into.

    The order is drawn once and mixes the patients, so that a batch is of many. Items are as
    :class:`~.patches.PatchDataset` has them.

    Args:
        cases: whose.
        outputs: of the network.
        least: smallest frame ``(y, x)``.
        divisor: what the frame's sizes are divisible by beyond that.
    """

    def __init__(
        self, cases: Sequence[CachedCase], outputs: tuple[OutputSpec, ...], least: Sequence[int], divisor: int
    ) -> None:
        self.cases, self.outputs = cases, outputs
        places, largest = [], np.array(least)
        for number, case in enumerate(cases):
            labels = case.labels()
            known = (labels != UNKNOWN_LABEL).any(axis=(1, 2))
            places += [(number, int(level)) for level in np.flatnonzero(known)]
            largest = np.maximum(largest, labels.shape[1:])
        self.places = [places[i] for i in np.random.default_rng(1).permutation(len(places))]
        self.frame = tuple(
            int(need) if need <= size else -(-int(need) // divisor) * divisor
            for need, size in zip(largest, least, strict=True)
        )

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> Sample:
        place, level = self.places[number]
        case = self.cases[place]
        labels = case.labels()
        patch = (1, *self.frame)
        corner = (level, *((size - part) // 2 for size, part in zip(labels.shape[1:], self.frame, strict=True)))
        image = torch.from_numpy(cut(case.image(), corner, patch).astype(np.float32))[:, 0]
        return {"image": image, "target": targets(torch.from_numpy(cut(labels, corner, patch)[0]), self.outputs)}
