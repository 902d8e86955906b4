"""Confidence: calibrated probabilities, and the Dice that they promise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..domain.volume import bounding_box

# Calibrated are the probabilities around tumours: elsewhere they are tiny, but of a million voxels, and would add up.
MARGIN_MM = 10.0


def calibrated(probability: np.ndarray, temperature: float) -> np.ndarray:
    """The probability whose logit is that of ``probability`` divided by ``temperature`` (Guo 2017, arXiv 1706.04599).

    0.5 stays 0.5, so which voxels belong to a region does not change.
    """
    if temperature == 1:
        return probability
    result = np.zeros_like(probability)
    inside = probability > 0  # nearly all of a head is not
    share = probability[inside]
    yes, no = share ** (1 / temperature), (1 - share) ** (1 / temperature)
    result[inside] = yes / (yes + no)
    return result


def expected_dice(probability: np.ndarray, mask: np.ndarray) -> float:
    """The Dice of ``mask`` with a truth of which every voxel has its ``probability``, nearly its mean over such truths.

    Borges 2024 (arXiv 2402.10665), soft Dice confidence; 0 for an empty mask.
    """
    size = np.count_nonzero(mask) + probability.sum(dtype=np.float64)
    return float(2 * probability[mask].sum(dtype=np.float64) / size) if size else 0.0


def confidence(probability: np.ndarray, mask: np.ndarray, spacing: Sequence[float], temperature: float = 1.0) -> float:
    """The expected Dice of a region ``(Z, Y, X)`` in the box around it, :data:`MARGIN_MM` wider on every side."""
    box = bounding_box(mask, [round(MARGIN_MM / size) for size in spacing])
    return expected_dice(calibrated(probability[box], temperature), mask[box])
