"""Training.studies.calibration: errors by hand, and temperatures that undo what was done."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from BrainTumorSegLib.inference.confidence import calibrated
from BrainTumorSegLib.models.checkpoint_file import load_checkpoint
from Testing.samples import Patient
from Training.studies.calibration import (
    RegionEvidence,
    best_temperature,
    cooled,
    dice_with_minimum,
    expected_calibration_error,
    gather,
    shown,
    summary,
)

WriteCheckpoint = Callable[..., Path]


def evidence(
    probability: np.ndarray, truth: np.ndarray, expected: float = 0.5, measured: float = 0.5
) -> RegionEvidence:
    return RegionEvidence(probability, truth, expected, measured)


def test_the_calibration_error_by_hand() -> None:
    # Two bins: of two voxels reported as 0.1 and 0.3 one is tumour (0.4 against 1), of two as 0.8 and 1.0 both.
    probability = np.array([0.1, 0.3, 0.8, 1.0])
    truth = np.array([False, True, True, True])
    assert expected_calibration_error(probability, truth, bins=2) == pytest.approx((0.6 + 0.2) / 4)
    assert expected_calibration_error(truth.astype(float), truth) == 0
    assert expected_calibration_error(np.array([]), np.array([], dtype=bool)) == 0


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.5])
def test_the_temperature_that_was_put_in_is_found(temperature: float) -> None:
    generator = np.random.default_rng(1)
    honest = generator.beta(0.4, 0.6, 40_000)
    truth = generator.random(honest.size) < honest
    reported = calibrated(honest, 1 / temperature)  # as a network that is overconfident (or underconfident) reports it
    assert best_temperature([evidence(reported, truth)]) == pytest.approx(temperature, rel=0.05)
    after = expected_calibration_error(calibrated(reported, temperature), truth)
    assert after < 0.01
    if temperature != 1:
        assert expected_calibration_error(reported, truth) > 3 * after


def test_what_a_least_expected_dice_would_give() -> None:
    """Three patients by hand: ET that is none but was found, ET that is small and doubtful, ET that is sure."""
    there, none = np.array([True, False]), np.zeros(2, dtype=bool)
    patients = [evidence(there * 0.6, none, 0.4, 0.0), evidence(there * 0.6, there, 0.3, 0.6),
                evidence(there * 0.9, there, 0.9, 0.9)]  # fmt: skip
    for minimum, mean in ((0.0, (0 + 0.6 + 0.9) / 3), (0.35, 0.9 / 3), (0.5, 1.9 / 3), (0.95, 1 / 3)):
        assert dice_with_minimum(patients, minimum) == pytest.approx(mean)
    unfound = evidence(there * 0.1, none, math.nan, 1.0)  # nothing was found, so nothing is taken away
    assert dice_with_minimum([unfound], 0.5) == 1


def test_another_temperature_is_another_expectation() -> None:
    one = RegionEvidence(np.array([0.8, 0.2]), np.array([True, False]), 0.5, 1.0, np.array([True, False]))
    # Logits of .8 and .2 doubled: 16/17 and 1/17; of the mask's voxel 16/17 are expected to be true, of all 1.
    assert cooled(one, 0.5).expected == pytest.approx(2 * 16 / 17 / (1 + 1))
    assert math.isnan(cooled(evidence(one.probability, one.truth), 1.0).expected)


def test_the_summary_leaves_out_what_was_not_found() -> None:
    truth = np.array([True, False])
    patients = [
        {"ET": evidence(truth.astype(float), truth, 0.9, 0.7)},
        {"ET": evidence(truth.astype(float), truth, math.nan, 1.0)},
    ]
    assert summary(patients) == {
        "Expected calibration error": {"ET": 0.0},
        "Error of the expected Dice": {"ET": pytest.approx(0.2)},
    }


class OnePatient:
    """A labelled case in memory; the last slices are marked as not annotated."""

    id = "P"

    def __init__(self, patient: Patient) -> None:
        labels = patient.labels.array.copy()
        labels[-4:] = 255
        self.answer = (patient.case(), patient.labels.with_array(labels))

    def load(self, modalities: tuple[str, ...] = ()) -> tuple[object, object]:
        return self.answer


def test_evidence_is_of_the_box_around_the_tumour(patient: Patient, tiny_checkpoint: WriteCheckpoint) -> None:
    checkpoint = load_checkpoint(tiny_checkpoint())
    (one,) = gather(checkpoint, [OnePatient(patient)])  # type: ignore[list-item]
    assert set(one) == {"ET", "TC", "WT"}
    whole = one["WT"]
    assert whole.probability.shape == whole.truth.shape and whole.probability.ndim == 1
    assert 0 < whole.truth.sum() < whole.truth.size < patient.labels.array.size
    assert whole.measured == 1 and whole.expected > 0.9, "the oracle is right, where something is known"


def test_without_anything_predicted_there_is_no_temperature() -> None:
    nothing = evidence(np.zeros(5), np.zeros(5, bool), math.nan, 1.0)
    assert math.isnan(best_temperature([nothing])) and math.isnan(best_temperature([]))
    assert shown(best_temperature([nothing]), 3) == "undefined" and shown(1.23456, 3) == "1.235"
