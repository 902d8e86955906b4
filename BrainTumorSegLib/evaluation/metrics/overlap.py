"""Overlap of two masks: counts of voxels and the ratios made of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Counts:
    """Voxels by prediction and reference: true and false positives and negatives.

    Each ratio is NaN where it is 0/0; what stands for it then is the business of an
    :class:`~.policy.EmptyPolicy`.
    """

    tp: int
    fp: int
    fn: int
    tn: int

    @classmethod
    def of(cls, prediction: np.ndarray, reference: np.ndarray, voxels: int = 0) -> Counts:
        """Count two boolean masks of one shape; ``voxels`` is the size of the whole grid if these are crops of it."""
        tp = int(np.count_nonzero(prediction & reference))
        fp = int(np.count_nonzero(prediction)) - tp
        fn = int(np.count_nonzero(reference)) - tp
        return cls(tp, fp, fn, (voxels or prediction.size) - tp - fp - fn)

    @property
    def dice(self) -> float:
        """2 TP / (2 TP + FP + FN)."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        """Intersection over union (Jaccard), TP / (TP + FP + FN)."""
        return _ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def sensitivity(self) -> float:
        """Share of the reference that was found (recall), TP / (TP + FN)."""
        return _ratio(self.tp, self.tp + self.fn)

    @property
    def specificity(self) -> float:
        """Share of the background left alone, TN / (TN + FP); depends on how much background the grid has."""
        return _ratio(self.tn, self.tn + self.fp)

    @property
    def precision(self) -> float:
        """Share of the prediction that is right, TP / (TP + FP)."""
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def accuracy(self) -> float:
        """Share of all voxels that are right, (TP + TN) / all; near 1 for any small target."""
        return _ratio(self.tp + self.tn, self.tp + self.tn + self.fp + self.fn)

    @property
    def predicted(self) -> int:
        """Voxels of the prediction."""
        return self.tp + self.fp

    @property
    def referred(self) -> int:
        """Voxels of the reference."""
        return self.tp + self.fn

    @property
    def relative_volume_error(self) -> float:
        """(Prediction − reference) / reference in per cent; NaN where the reference is empty."""
        return _ratio(100 * (self.predicted - self.referred), self.referred)


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Dice coefficient 2|P∩R| / (|P|+|R|) of two boolean masks; 1 where both are empty, as BraTS has it."""
    value = Counts.of(prediction, reference).dice
    return 1.0 if math.isnan(value) else value


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan
