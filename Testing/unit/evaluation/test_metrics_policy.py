"""What empty masks count as: the table of conventions, line by line."""

from __future__ import annotations

import math

import numpy as np
import pytest

from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.evaluation import Settings, compare_labels
from BrainTumorSegLib.evaluation.metrics import MEASURES, POLICIES, chosen_measures, emptiness, policy_named

BRATS = (155, 240, 240)
ONES = (1.0, 1.0, 1.0)
NAN = math.nan


@pytest.mark.parametrize(
    ("name", "dice", "hd95", "sensitivity", "precision"),
    [  # both empty, the reference alone, the prediction alone
        ("brats2021", (1, 0, 0), (0, 373.128664, 373.128664), (1, 0, 0), (1, 0, 0)),
        ("brats2023", (1, 0, 0), (0, 374, 374), (1, 0, 0), (1, 0, 0)),
        ("nnunet", (NAN, 0, 0), (NAN, NAN, NAN), (NAN, NAN, 0), (NAN, 0, NAN)),
        ("monai", (NAN, NAN, 0), (NAN, NAN, NAN), (NAN, NAN, 0), (NAN, 0, NAN)),
    ],
)
def test_conventions(name: str, dice: tuple, hd95: tuple, sensitivity: tuple, precision: tuple) -> None:
    some, none = np.zeros(BRATS, np.uint8), np.zeros(BRATS, np.uint8)
    some[80, 120, 120] = 3
    settings = Settings(("dice", "hd95", "sensitivity", "precision"), convention=name)
    for place, (prediction, reference) in enumerate([(none, none), (some, none), (none, some)]):
        found = compare_labels(prediction, reference, ONES, settings)["ET"]
        expected = {"dice": dice, "hd95": hd95, "sensitivity": sensitivity, "precision": precision}
        wanted = {key: values[place] for key, values in expected.items()}
        assert found == pytest.approx(wanted, abs=1e-5, nan_ok=True), (place, name)


def test_on_other_grids_the_penalty_is_the_diagonal() -> None:
    for policy in (POLICIES["brats2021"], POLICIES["brats2023"]):
        assert policy.penalty((3, 4, 12), ONES) == 13
        assert policy.penalty((3, 4, 12), (2, 2, 2)) == 26
        assert policy.penalty(BRATS, (2, 1, 1)) == pytest.approx(math.hypot(310, 240, 240))
    # The same grid stored with other axes first is still the challenge's.
    assert POLICIES["brats2023"].penalty((240, 240, 155), ONES) == 374


def test_which_mask_is_empty() -> None:
    some, none = np.ones(3, bool), np.zeros(3, bool)
    found = [emptiness(p, r) for p, r in ((some, some), (none, none), (some, none), (none, some))]
    assert found == ["", "both", "reference", "prediction"]


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    with pytest.raises(RequestError, match="brats2025") as caught:
        policy_named("brats2025")
    assert "brats2023" in caught.value.remedy
    with pytest.raises(RequestError, match="'jaccard'") as caught:
        chosen_measures(["dice", "jaccard"])
    assert "iou" in caught.value.remedy
    for settings in ({"hd95": "max"}, {"convention": ""}, {"tolerance": -1.0}, {"tolerance": NAN}):
        with pytest.raises(RequestError):
            Settings(**settings)


def test_measures_describe_themselves() -> None:
    assert chosen_measures(["hd95", "dice"]) == ("dice", "hd95")
    assert chosen_measures(["all"]) == tuple(MEASURES)
    for name, measure in MEASURES.items():
        assert measure.name == name and measure.title and measure.about
        assert measure.better in ("higher", "lower", "zero") and measure.low < measure.high
    assert MEASURES["hd95"].label == "HD95 (mm)"
