from __future__ import annotations

import math

import numpy as np
import pytest

from BrainTumorSegLib.evaluation.metrics import Counts, dice


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ([1, 1, 0, 0], [1, 1, 0, 0], 1.0),
        ([1, 1, 0, 0], [0, 1, 1, 1], 2 * 1 / (2 + 3)),
        ([1, 0, 0, 0], [0, 1, 0, 0], 0.0),
        ([0, 0, 0, 0], [0, 0, 0, 0], 1.0),
        ([1, 0, 0, 0], [0, 0, 0, 0], 0.0),
        ([0, 0, 0, 0], [1, 0, 0, 0], 0.0),
    ],
)
def test_dice_by_hand(prediction: list[int], reference: list[int], expected: float) -> None:
    assert dice(np.array(prediction, bool), np.array(reference, bool)) == pytest.approx(expected)


def test_counts_and_ratios_by_hand() -> None:
    prediction = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], bool)
    reference = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0], bool)
    counts = Counts.of(prediction, reference)
    assert counts == Counts(tp=3, fp=1, fn=2, tn=4)
    assert (counts.predicted, counts.referred) == (4, 5)
    assert counts.dice == pytest.approx(6 / 9)
    assert counts.iou == pytest.approx(3 / 6)
    assert counts.sensitivity == pytest.approx(3 / 5)
    assert counts.specificity == pytest.approx(4 / 5)
    assert counts.precision == pytest.approx(3 / 4)
    assert counts.accuracy == pytest.approx(7 / 10)
    assert counts.relative_volume_error == pytest.approx(-20)


def test_a_crop_counts_the_background_of_the_whole_grid() -> None:
    crop = np.array([1, 0], bool)
    assert Counts.of(crop, ~crop, voxels=100) == Counts(0, 1, 1, 98)


def test_nothing_over_nothing_is_undefined() -> None:
    nothing = Counts(0, 0, 0, 8)
    names = ("dice", "iou", "sensitivity", "precision", "relative_volume_error")
    assert all(math.isnan(getattr(nothing, name)) for name in names)
    assert nothing.specificity == nothing.accuracy == 1
    assert math.isnan(Counts(8, 0, 0, 0).specificity)
