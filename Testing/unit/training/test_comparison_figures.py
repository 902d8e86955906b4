"""What the comparison of networks shows: curves, slices, patients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.errors import InputError
from BrainTumorSegLib.domain.volume import Volume
from Training.studies.comparison_figures import painted
from Training.studies.comparison_results import (
    Example,
    Results,
    best_median_worst,
    example_of,
    measure_labels,
    read_log,
)


def test_a_log_without_seconds(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,loss\n1,0.5\n", encoding="utf-8")
    with pytest.raises(InputError, match="no column seconds"):
        read_log(tmp_path / "metrics.csv")


def test_gaps_in_a_log_are_nan(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,loss,seconds\n1,,2.5\n", encoding="utf-8")
    (row,) = read_log(tmp_path / "metrics.csv")
    assert np.isnan(row["loss"]) and row["seconds"] == 2.5


def test_unknown_voxels_do_not_count() -> None:
    """Of six voxels two are unknown; of the others one is found rightly, one missed, one false, one left alone."""
    reference = np.array([2, 2, 0, 0, 255, 255], np.uint8).reshape(1, 2, 3)
    prediction = np.array([2, 0, 2, 0, 2, 0], np.uint8).reshape(1, 2, 3)
    assert measure_labels(prediction, reference)["WT"] == pytest.approx(
        {"dice": 0.5, "iou": 1 / 3, "sensitivity": 0.5, "specificity": 0.5}
    )


def test_the_slice_with_most_tumour_is_shown_as_radiologists_see_it() -> None:
    """On a grid whose x and y run the other way, row 0 is still anterior; unknown voxels draw nothing."""
    shape = (4, 5, 6)
    image = np.arange(120, dtype=np.float32).reshape(shape)
    labels = np.zeros(shape, np.uint8)
    labels[1] = 255
    labels[2, 0, 0] = 2
    labels[3, 0, :2] = 2
    affine = np.diag([2.0, 3.0, 5.0, 1.0])  # RAS: index 0 is left and posterior
    case = Case("P", {"flair": Volume(image, affine)})
    example = example_of("P1", case, Volume(labels, affine), {"n": Volume(labels, affine)})
    assert (example.patient, example.sequence, example.level, example.levels) == ("P1", "flair", 3, 4)
    assert example.spacing == (3.0, 2.0)
    assert np.array_equal(example.image, image[3, ::-1, ::-1])
    assert np.array_equal(example.truth, labels[3, ::-1, ::-1])
    assert np.array_equal(example.found["n"], example.truth)


@pytest.mark.parametrize(
    ("dice", "expected"),
    [
        ([0.2, 0.9, 0.5, 0.7, 0.6], {"Best": "1", "Median": "4", "Worst": "0"}),
        ([0.2, 0.9, 1.0], {"Best": "1", "Worst": "0"}),  # the last has no tumour
        ([0.2, 0.9], {"Best": "0"}),  # one is left
    ],
)
def test_best_median_and_worst_patient(dice: list[float], expected: dict[str, str]) -> None:
    """Ranked by the mean over networks: the second network's Dice are all the same."""
    empty = len(dice) < 5
    examples = []
    for number in range(len(dice)):
        truth = np.full((2, 2), 0 if empty and number == len(dice) - 1 else 2, np.uint8)
        examples.append(Example(str(number), "flair", 0, 1, np.ones((2, 2)), truth, {}, (1.0, 1.0)))
    measures: dict[str, dict[str, Any]] = {
        "a": {str(n): {"WT": {"dice": value}} for n, value in enumerate(dice)},
        "b": {str(n): {"WT": {"dice": 0.5}} for n in range(len(dice))},
    }
    chosen = best_median_worst(Results(measures, {}, tuple(examples), "cpu"), "WT")
    assert {rank: example.patient for rank, example in chosen.items()} == expected


def test_regions_are_painted_over_each_other() -> None:
    """WT green, TC in it yellow, ET in that red; nothing where nothing is known."""
    image = np.tile(np.linspace(0, 100, 5), (5, 1))
    labels = np.zeros((5, 5), np.uint8)
    labels[2] = (0, 1, 2, 3, 255)
    bare, pixels = painted(image, None), painted(image, labels)
    for column, colour in ((1, (240, 200, 60)), (2, (70, 170, 90)), (3, (230, 60, 60))):
        mixed = 0.45 * np.array(colour) / 255 + 0.55 * bare[2, column]
        assert pixels[2, column] == pytest.approx(mixed)
        pixels[2, column] = bare[2, column]
    assert np.array_equal(pixels, bare)
