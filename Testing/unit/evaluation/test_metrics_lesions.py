"""Lesion by lesion on hand-made cases: the definition of BraTS 2023 worked out step by step."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from BrainTumorSegLib.evaluation.metrics import BRATS2023, LesionScores, score_lesions
from BrainTumorSegLib.evaluation.metrics.lesions import dilate

PENALTY = 374.0
Box = tuple[slice, slice, slice]
# Cubes of 4³ = 64 mm³, along x: far apart, and with a gap of 5 voxels that dilation by 3 closes.
A, NEAR_A, FAR = np.s_[4:8, 4:8, 4:8], np.s_[4:8, 4:8, 13:17], np.s_[4:8, 4:8, 30:34]
TINY = np.s_[20:23, 20:23, 20:23]


def mask(*boxes: Box) -> np.ndarray:
    array = np.zeros((30, 30, 48), bool)
    for box in boxes:
        array[box] = True
    return array


def score(
    prediction: np.ndarray, reference: np.ndarray, spacing: tuple[float, float, float] = (1, 1, 1)
) -> LesionScores:
    return score_lesions(prediction, reference, spacing, PENALTY)


def test_both_found() -> None:
    scores = score(mask(A, FAR), mask(A, FAR))
    assert (scores.found, scores.missed, scores.false) == (2, 0, 0)
    assert scores.dice == 1 and scores.hd95 == 0


def test_a_missed_and_a_false_one_count_in_full() -> None:
    """One found, one missed, one false: Dice (1 + 0) / (2 + 1), HD95 (0 + 374 + 374) / 3."""
    scores = score(mask(A, np.s_[20:24, 20:24, 4:8]), mask(A, FAR))
    assert (scores.found, scores.missed, scores.false) == (1, 1, 1)
    assert scores.dice == pytest.approx(1 / 3) and scores.hd95 == pytest.approx(2 * PENALTY / 3)


def test_reference_parts_whose_rims_meet_are_one_lesion() -> None:
    """Merge: of two parts 5 voxels apart only one is predicted; one lesion of 128, Dice 2·64 / (64 + 128)."""
    scores = score(mask(A), mask(A, NEAR_A))
    assert len(scores.lesions) == 1 and scores.missed == 0
    assert scores.lesions[0].volume == 128
    assert scores.dice == pytest.approx(2 / 3)
    # With a gap of 7 the dilated parts leave one voxel between them: two lesions, one missed. Six still touch.
    assert len(score(mask(A), mask(A, np.s_[4:8, 4:8, 14:18])).lesions) == 1
    assert score(mask(A), mask(A, np.s_[4:8, 4:8, 15:19])).missed == 1


def test_predicted_parts_of_one_lesion_are_scored_together() -> None:
    """Split: a bar of 4×4×10 predicted in two halves with a gap of 2: Dice 2·128 / (128 + 160), nothing false."""
    bar = np.s_[4:8, 4:8, 4:14]
    scores = score(mask(np.s_[4:8, 4:8, 4:8], np.s_[4:8, 4:8, 10:14]), mask(bar))
    assert (scores.found, scores.false) == (1, 0)
    assert scores.dice == pytest.approx(2 * 128 / (128 + 160))


def test_one_prediction_over_two_lesions_counts_for_each() -> None:
    """A bar over both far lesions is pooled whole with each: Dice 2·64 / (64 + 480), twice."""
    bar = np.s_[4:8, 4:8, 4:34]
    scores = score(mask(bar), mask(A, FAR))
    assert [lesion.dice for lesion in scores.lesions] == pytest.approx([128 / (64 + 480)] * 2)
    assert scores.hd95 > 20 and scores.false == 0


def test_a_prediction_beside_the_lesion_but_on_its_rim_finds_it() -> None:
    beside, off = np.s_[4:8, 4:8, 10:12], np.s_[4:8, 4:8, 11:13]  # gaps of 2 and of 3 voxels; the rim is 3 wide
    scores = score(mask(beside), mask(A))
    assert (scores.found, scores.false, scores.dice) == (1, 0, 0)
    assert 0 < scores.hd95 < PENALTY
    assert (score(mask(off), mask(A)).missed, score(mask(off), mask(A)).false) == (1, 1)


def test_tiny_lesions_do_not_count_and_neither_does_what_is_predicted_there() -> None:
    scores = score(mask(A, TINY), mask(A, TINY))  # 27 mm³
    assert (len(scores.lesions), scores.ignored, scores.false) == (1, 1, 0)
    assert scores.dice == 1 and scores.hd95 == 0
    assert score(mask(A), mask(A, TINY)).dice == 1  # missing it costs nothing, either
    # Volume is physical: on voxels of 2 mm³ the same 27 voxels are 54 mm³, and count.
    assert score(mask(A), mask(A, TINY), (2, 1, 1)).dice == pytest.approx(1 / 2)
    # A false prediction counts however small it is.
    assert score(mask(A, np.s_[0:1, 0:1, 40:41]), mask(A)).false == 1


def test_exactly_the_limit_is_still_too_small() -> None:
    fifty = np.s_[10:15, 10:15, 10:12]
    assert score(mask(), mask(fifty)).ignored == 1
    more = mask(fifty)
    more[15, 12, 11] = True
    assert score(mask(), more).missed == 1


def test_nothing_there_and_nothing_predicted() -> None:
    assert (score(mask(), mask()).dice, score(mask(), mask()).hd95) == (1, 0)
    assert (score(mask(), mask(TINY)).dice, score(mask(), mask(TINY)).hd95) == (1, 0)
    assert (score(mask(A), mask()).dice, score(mask(A), mask()).hd95) == (0, PENALTY)
    assert (score(mask(), mask(A)).dice, score(mask(), mask(A)).hd95) == (0, PENALTY)


def test_diagonal_neighbours_are_one_predicted_component() -> None:
    prediction = mask(np.s_[20:21, 20:21, 20:21], np.s_[21:22, 21:22, 21:22])
    assert score(prediction, mask(A)).false == 1


def test_dilation_is_that_of_the_nineteen_voxel_element() -> None:
    generator = np.random.default_rng(1)
    for steps in (1, 3):
        seeds = generator.random((20, 18, 16)) > 0.995
        element = ndimage.generate_binary_structure(3, 2)
        assert np.count_nonzero(element) == 19
        expected = ndimage.binary_dilation(seeds, element, iterations=steps)
        assert np.array_equal(dilate(seeds, steps), expected)


def test_the_version_is_named() -> None:
    assert (BRATS2023.name, BRATS2023.dilation, BRATS2023.smallest) == ("BraTS 2023 GLI", 3, 50.0)
