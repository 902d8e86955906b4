"""What a measure is where a mask is empty: conventions differ, so each has a name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...domain.errors import RequestError

Emptiness = Literal["", "both", "reference", "prediction"]

# Stands in a rule for the distance penalty, which depends on the grid.
PENALTY = math.inf
NAN = math.nan
_BRATS_SHAPE = (155, 240, 240)


@dataclass(frozen=True)
class EmptyRule:
    """Values where both masks are empty, only the reference is, or only the prediction is. NaN is left out of means."""

    both: float
    reference: float
    prediction: float


@dataclass(frozen=True)
class EmptyPolicy:
    """A named convention for empty masks.

    Attributes:
        name, title: key and name for people.
        source: where it is published.
        overlap: rule for Dice, IoU and surface Dice.
        sensitivity, precision: rules for these; what is 0/0 in them is decided here.
        distance: rule for distances in mm; :data:`PENALTY` stands for :meth:`penalty`.
        fixed_penalty: the penalty on the BraTS grid (240 × 240 × 155 voxels of 1 mm³), where the challenge names a
            figure; 0 for the grid's diagonal.
    """

    name: str
    title: str
    source: str
    overlap: EmptyRule
    sensitivity: EmptyRule
    precision: EmptyRule
    distance: EmptyRule
    fixed_penalty: float = 0.0

    def penalty(self, shape: Sequence[int], spacing: Sequence[float]) -> float:
        """Distance in mm that stands for a missing mask: the physical diagonal of the grid.

        Args:
            shape: of the whole grid ``(Z, Y, X)``.
            spacing: voxel size ``(z, y, x)`` in mm.
        """
        if self.fixed_penalty and sorted(shape) == sorted(_BRATS_SHAPE) and np.allclose(spacing, 1.0, atol=1e-3):
            return self.fixed_penalty
        return float(np.linalg.norm(np.multiply(shape, spacing)))

    def value(self, family: str, emptiness: Emptiness, shape: Sequence[int], spacing: Sequence[float]) -> float:
        """The value of a measure of ``family`` where a mask is empty."""
        rule: EmptyRule = getattr(self, family)
        value = float(getattr(rule, emptiness))
        return self.penalty(shape, spacing) if value == PENALTY else value


_ZERO_UNLESS_BOTH = EmptyRule(1.0, 0.0, 0.0)
_BRATS_DISTANCE = EmptyRule(0.0, PENALTY, PENALTY)
_UNDEFINED = EmptyRule(NAN, NAN, NAN)

POLICIES: dict[str, EmptyPolicy] = {
    policy.name: policy
    for policy in (
        EmptyPolicy(
            "brats2021",
            "BraTS up to 2021",
            "Baid et al. 2021, arXiv 2107.02314; evaluation by CaPTk",
            _ZERO_UNLESS_BOTH,
            _ZERO_UNLESS_BOTH,
            _ZERO_UNLESS_BOTH,
            _BRATS_DISTANCE,
        ),
        EmptyPolicy(
            "brats2023",
            "BraTS 2023",
            "BraTS 2023 challenge, published evaluation program",
            _ZERO_UNLESS_BOTH,
            _ZERO_UNLESS_BOTH,
            _ZERO_UNLESS_BOTH,
            _BRATS_DISTANCE,
            fixed_penalty=374.0,
        ),
        EmptyPolicy(
            "nnunet",
            "nnU-Net",
            "Isensee et al. 2021, doi 10.1038/s41592-020-01008-z; evaluation of version 2, distances of version 1",
            EmptyRule(NAN, 0.0, 0.0),
            EmptyRule(NAN, NAN, 0.0),
            EmptyRule(NAN, 0.0, NAN),
            _UNDEFINED,
        ),
        EmptyPolicy(
            "monai",
            "MONAI default",
            "Cardoso et al. 2022, arXiv 2211.02701; DiceMetric and HausdorffDistanceMetric(percentile=95)",
            EmptyRule(NAN, NAN, 0.0),
            EmptyRule(NAN, NAN, 0.0),
            EmptyRule(NAN, 0.0, NAN),
            _UNDEFINED,
        ),
    )
}
DEFAULT_POLICY = "brats2021"


def policy_named(name: str) -> EmptyPolicy:
    """The policy of that name.

    Raises:
        RequestError: there is none.
    """
    if name not in POLICIES:
        raise RequestError(f"There is no convention {name!r} for empty masks.", f"Known: {', '.join(POLICIES)}.")
    return POLICIES[name]


def emptiness(prediction: np.ndarray, reference: np.ndarray) -> Emptiness:
    """Which of two masks is empty: ``both``, ``reference``, ``prediction`` or neither (an empty string)."""
    return emptiness_of(bool(prediction.any()), bool(reference.any()))


def emptiness_of(predicted: bool, referred: bool) -> Emptiness:
    """The same, where it is known whether each mask has voxels."""
    if predicted:
        return "" if referred else "reference"
    return "prediction" if referred else "both"
