"""Calibrated probabilities and the Dice that they promise, against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.errors import CheckpointError
from BrainTumorSegLib.domain.labels import ET, NCR
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.domain.segmentation import Segmentation
from BrainTumorSegLib.inference.confidence import calibrated, confidence, expected_dice
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.inference.result_warnings import about_confidence, about_enhancement, about_model
from BrainTumorSegLib.models.checkpoint_file import load_checkpoint
from BrainTumorSegLib.models.description import PostprocessingSpec
from Testing.samples import Patient, make_oracle

WriteCheckpoint = Callable[..., Path]


def test_a_temperature_divides_the_logit() -> None:
    probability = np.array([0.0, 0.2, 0.5, 0.9, 1.0], dtype=np.float32)
    found = calibrated(probability, 2.0)
    # logit 0.2 = −ln 4, its half −ln 2: 1/3; logit 0.9 = ln 9, its half ln 3: 3/4.
    assert found == pytest.approx([0, 1 / 3, 0.5, 0.75, 1], abs=1e-6)
    assert found.dtype == np.float32
    assert calibrated(found, 0.5) == pytest.approx(probability, abs=1e-6)
    assert calibrated(probability, 1.0) is probability


def test_the_expected_dice_by_hand() -> None:
    probability = np.array([0.9, 0.7, 0.3, 0.1])
    mask = probability >= 0.5
    # Of the mask's 2 voxels 1.6 are expected to be true, of all 2.0.
    assert expected_dice(probability, mask) == pytest.approx(2 * 1.6 / (2 + 2.0))
    assert expected_dice(mask.astype(float), mask) == 1
    assert expected_dice(probability, np.zeros(4, dtype=bool)) == 0
    assert expected_dice(np.zeros(4), np.zeros(4, dtype=bool)) == 0


def test_the_expected_dice_is_nearly_the_mean_over_random_truths() -> None:
    generator = np.random.default_rng(0)
    probability = generator.beta(0.5, 1.0, 5000)
    mask = probability >= 0.5
    truths = generator.random((200, 5000)) < probability
    dice = 2 * (truths & mask).sum(axis=1) / (truths.sum(axis=1) + mask.sum())
    assert expected_dice(probability, mask) == pytest.approx(dice.mean(), abs=2e-3)


def test_the_confidence_is_of_the_neighbourhood() -> None:
    """Ten millimetres beside the mask count, those beyond do not."""
    probability = np.zeros((1, 1, 40))
    mask = np.zeros(probability.shape, dtype=bool)
    mask[..., 19:21] = True
    probability[mask] = 0.8
    probability[..., 14] = 0.4  # 5 voxels of 2 mm before the mask
    assert confidence(probability, mask, (2.0, 2.0, 2.0)) == pytest.approx(2 * 1.6 / (2 + 2.0))
    probability[..., 13] = 0.4
    assert confidence(probability, mask, (2.0, 2.0, 2.0)) == pytest.approx(2 * 1.6 / (2 + 2.0))
    assert confidence(probability, np.zeros_like(mask), (2.0, 2.0, 2.0)) == 0


def test_a_result_says_how_sure_the_model_is(patient: Patient, tiny_checkpoint: WriteCheckpoint) -> None:
    """The oracle is nearly certain; hot probabilities are not, and the label map stays the same."""
    even = PostprocessingSpec(temperatures={"ET": 1.0, "TC": 1.0, "WT": 1.0})
    checkpoint = load_checkpoint(tiny_checkpoint(postprocessing=even))
    sure = segment_case(patient.case(), checkpoint, keep_probabilities=True)
    assert set(sure.confidence) == {"ET", "TC", "WT"} and min(sure.confidence.values()) > 0.9
    assert not any("unsure" in warning for warning in sure.warnings)
    hot = dataclasses.replace(checkpoint.description.postprocessing, temperatures={**even.temperatures, "ET": 50.0})
    description = dataclasses.replace(checkpoint.description, postprocessing=hot)
    doubtful = segment_case(
        patient.case(), dataclasses.replace(checkpoint, description=description), keep_probabilities=True
    )
    assert np.array_equal(doubtful.labels.array, sure.labels.array)
    assert doubtful.confidence["ET"] < 0.6 and doubtful.confidence["WT"] == sure.confidence["WT"]
    assert any("unsure of ET (expected Dice 0." in warning for warning in doubtful.warnings)
    reported = doubtful.probabilities["ET"]
    spacing = doubtful.labels.spacing
    assert confidence(reported, reported >= 0.5, spacing) == pytest.approx(doubtful.confidence["ET"])


@pytest.mark.parametrize(
    ("whole", "words"),
    [(0.49, "No tumour is likely (WT: expected Dice 0.49)"), (0.51, "unsure of WT (expected Dice 0.51)")],
)
def test_what_is_less_likely_than_not_is_called_so(whole: float, words: str) -> None:
    (warning,) = about_confidence({"TC": 0.9, "WT": whole}, found=True)
    assert words in warning


def test_a_region_that_was_not_found_has_no_confidence(patient: Patient, tiny_checkpoint: WriteCheckpoint) -> None:
    spec = PostprocessingSpec(temperatures={"ET": 1.0, "WT": 1.0}, minimum_et_mm3=1e6)
    result = segment_case(patient.case(), load_checkpoint(tiny_checkpoint(postprocessing=spec)))
    assert set(result.confidence) == {"WT"}, "of TC the probabilities are not calibrated"


def test_enhancement_that_is_more_likely_none_is_core(patient: Patient, tiny_checkpoint: WriteCheckpoint) -> None:
    """The same probabilities, so hot that little Dice is expected of ET: all of it is core, on every grid."""
    hot = {"ET": 50.0, "TC": 1.0, "WT": 1.0}
    checkpoint = load_checkpoint(tiny_checkpoint(postprocessing=PostprocessingSpec(temperatures=hot)))

    def segmented(minimum: float, case: Case) -> Segmentation:
        spec = PostprocessingSpec(temperatures=hot, minimum_et_dice=minimum)
        description = dataclasses.replace(checkpoint.description, postprocessing=spec)
        return segment_case(case, dataclasses.replace(checkpoint, description=description), RunOptions(native="all"))

    case = patient.case()
    there = segmented(0.0, case)
    value = there.confidence["ET"]
    kept, doubted = segmented(value - 0.01, case), segmented(value + 0.01, case)
    assert np.array_equal(kept.labels.array, there.labels.array) and (there.labels.array == ET).any()
    for before, after in ((there.labels, doubted.labels), (there.native["flair"], doubted.native["flair"])):
        assert np.array_equal(after.array, np.where(before.array == ET, NCR, before.array))
    assert set(doubted.confidence) == {"TC", "WT"}
    assert any(
        f"No enhancement was found: what looks like some (expected Dice {value:.2f})" in w for w in doubted.warnings
    )
    assert not any("No enhancement" in warning for warning in kept.warnings)


@pytest.mark.parametrize(
    ("label", "regions", "given", "said"),
    [
        (NCR, ("ET", "TC", "WT"), ("t1ce", "flair"), True),
        (ET, ("ET", "TC", "WT"), ("t1ce",), False),
        (NCR, ("ET", "TC", "WT"), ("flair",), False),  # without T1ce it could not be seen
        (NCR, ("WT",), ("t1ce",), False),
        (0, ("ET", "TC", "WT"), ("t1ce",), False),  # no tumour at all is said by another sentence
    ],
)
def test_that_a_tumour_does_not_enhance_is_said(
    label: int, regions: tuple[str, ...], given: tuple[str, ...], said: bool
) -> None:
    labels = np.full((2, 2, 2), label, np.uint8)
    assert any("No enhancement" in w for w in about_enhancement(labels, None, regions, given)) == said


@pytest.mark.parametrize(("minimum", "temperatures"), [(0.3, {"WT": 1.0}), (1.0, {"ET": 1.0}), (-0.1, {"ET": 1.0})])
def test_a_minimum_that_cannot_be_applied_is_refused(minimum: float, temperatures: dict[str, float]) -> None:
    d = make_oracle(2).description
    with pytest.raises(CheckpointError, match="minimum_et_dice"):
        dataclasses.replace(d, postprocessing=PostprocessingSpec(temperatures=temperatures, minimum_et_dice=minimum))


@pytest.mark.parametrize(
    ("regions", "said", "unsaid"),
    [
        (("WT",), ("ET and TC;", "all of WT is written as label 2"), "marked"),
        (("TC",), ("ET and WT;", "all of TC is written as label 1", "oedema is not marked"), "label 2"),
        (("ET",), ("TC and WT;", "necrosis and oedema are not marked"), "label"),
        (("ET", "TC"), ("WT;", "oedema is not marked"), "label"),
        (("TC", "WT"), ("ET;", "carry the label of the region around it"), "marked"),
        (("ET", "WT"), ("TC;", "carry the label of the region around it"), "marked"),
    ],
)
def test_what_labels_stand_for_where_a_region_is_not_known(
    regions: tuple[str, ...], said: tuple[str, ...], unsaid: str, patient: Patient
) -> None:
    (warning,) = about_model(patient.case(), make_oracle().description, regions)
    assert all(part in warning for part in said) and unsaid not in warning
