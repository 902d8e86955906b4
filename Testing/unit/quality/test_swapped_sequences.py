"""Swapped sequences are noticed: on phantoms, whose contrasts come from physics and not from the fitted patients."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.modalities import MODALITIES
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.models.description import PreprocessingSpec
from BrainTumorSegLib.phantom import make_phantom
from BrainTumorSegLib.preprocessing import Prepared, prepare
from BrainTumorSegLib.quality import swapped_sequences
from Testing.samples import make_oracle
from Training.studies.input_checks import fit, judge, main, table

EXCHANGES = list(itertools.combinations(range(4), 2))

# At 3 mm, since a whole head is large.
COARSE = make_oracle(preprocessing=PreprocessingSpec(spacing=(3.0, 3.0, 3.0)))


@pytest.fixture(scope="module")
def phantoms() -> list[Prepared]:
    cases = [make_phantom(seed, (52, 80, 80)).case for seed in range(3)]
    return [prepare(case, MODALITIES, PreprocessingSpec(spacing=(3.0, 3.0, 3.0))) for case in cases]


def exchange(i: int, j: int) -> list[int]:
    order = list(range(4))
    order[i], order[j] = j, i
    return order


def test_right_orders_are_not_doubted(phantoms: list[Prepared]) -> None:
    for prepared in phantoms:
        assert swapped_sequences.swapped(prepared.array, MODALITIES, 27.0) == {}


@pytest.mark.parametrize(("i", "j"), EXCHANGES)
def test_every_exchange_is_found_and_named(phantoms: list[Prepared], i: int, j: int) -> None:
    first, second = MODALITIES[i], MODALITIES[j]
    for prepared in phantoms:
        looks = swapped_sequences.swapped(prepared.array[exchange(i, j)], MODALITIES, 27.0)
        assert looks == {first: second, second: first}


@pytest.mark.parametrize("missing", range(4))
def test_exchanges_are_found_when_a_sequence_is_missing(phantoms: list[Prepared], missing: int) -> None:
    for i, j in (pair for pair in EXCHANGES if missing not in pair):
        array = phantoms[0].array[exchange(i, j)]
        array[missing] = 0
        looks = swapped_sequences.swapped(array, MODALITIES, 27.0)
        assert looks and MODALITIES[missing] not in looks


def test_what_cannot_be_judged_is_not_doubted(phantoms: list[Prepared]) -> None:
    array = phantoms[0].array[exchange(0, 3)]  # T1 and FLAIR
    assert swapped_sequences.swapped(array, MODALITIES, 27.0)
    assert swapped_sequences.swapped(array, MODALITIES, 1.0) == {}, "too small for a brain"
    two = array.copy()
    two[[1, 2]] = 0
    assert swapped_sequences.swapped(two, MODALITIES, 27.0) == {}, "T1 and FLAIR alone are too alike"
    two[3] = 0
    assert swapped_sequences.swapped(two, MODALITIES, 27.0) == {}, "one image has nothing to be compared with"


def test_features_are_those_of_scipy() -> None:
    generator = np.random.default_rng(0)
    images = generator.gamma(2.0, size=(2, 8, 9, 10)) + 0.1
    seen = swapped_sequences.appearance(images)
    x, y = ((image.ravel() - image.mean()) / image.std() for image in images)
    assert seen.single[0, 0] == pytest.approx(stats.skew(x))
    assert seen.single[1, 3] == pytest.approx(np.median(y))
    slope = stats.linregress(y, x).slope
    assert seen.residual[0, 1] == pytest.approx(stats.skew(x - slope * y))
    inside = (x > np.quantile(x, 0.2)) & (x < np.quantile(x, 0.8))
    assert seen.correlation[1, 0] == pytest.approx(stats.pearsonr(y[inside], x[inside]).statistic)


def test_pair_features_change_their_sign_with_the_order(phantoms: list[Prepared]) -> None:
    seen = swapped_sequences.appearance(phantoms[0].array)
    place = {name: index for index, name in enumerate(MODALITIES)}
    for first, second in swapped_sequences.PAIRS:
        turned = {**place, first: place[second], second: place[first]}
        forth = swapped_sequences.pair_features(seen, place, (first, second))
        np.testing.assert_allclose(swapped_sequences.pair_features(seen, turned, (first, second)), -forth, atol=1e-12)
        assert len(forth) == len(swapped_sequences.FEATURES)


def test_the_result_says_that_images_look_swapped() -> None:
    case = make_phantom(1, (52, 80, 80)).case
    wrong = {**case.images, "t1": case.images["t1ce"], "t1ce": case.images["t1"]}
    result = segment_case(Case("wrong", wrong), COARSE, RunOptions(device="cpu"))
    expected = "The images given as T1, T1ce look like T1ce, T1: check whether they were swapped."
    assert expected in result.warnings
    right = segment_case(case, COARSE, RunOptions(device="cpu"))
    assert not any("swapped" in warning for warning in right.warnings)


def test_the_result_says_that_an_image_was_given_twice() -> None:
    case = make_phantom(1, (52, 80, 80)).case
    copied = {**case.images, "t1ce": case.images["t1"]}
    result = segment_case(Case("copied", copied), COARSE, RunOptions(device="cpu"))
    assert any(warning.startswith("T1 and T1ce are one image, voxel for voxel") for warning in result.warnings)
    assert not any("swapped" in warning for warning in result.warnings)
    some = make_oracle(
        preprocessing=PreprocessingSpec(spacing=(3.0, 3.0, 3.0)), optional_modalities=("t1", "t1ce", "t2")
    )
    alone = segment_case(Case("one", {"flair": case.images["flair"]}), some, RunOptions(device="cpu"))
    assert not any("one image" in warning for warning in alone.warnings)


def test_a_fit_separates_the_pairs_it_was_fitted_to(phantoms: list[Prepared]) -> None:
    seen = [swapped_sequences.appearance(prepared.array) for prepared in phantoms]
    place = {name: index for index, name in enumerate(MODALITIES)}
    for pair, values in fit(seen).items():
        assert min(values @ swapped_sequences.pair_features(one, place, pair) for one in seen) > 1


def test_what_is_found_and_doubted_is_counted(phantoms: list[Prepared]) -> None:
    one = swapped_sequences.appearance(phantoms[0].array)
    stored = swapped_sequences.stored_coefficients()
    assert judge(one, stored, MODALITIES) == (False, 6, 6)
    turned = {pair: -values for pair, values in stored.items()}
    assert judge(one, turned, ("t1", "t2")) == (True, 0, 1)
    lines = table({"part": [(one, stored), (one, turned)]}).splitlines()
    assert len(lines) == 12
    assert " ".join(lines[6].split()) == "t1 t1ce found 1/2, doubted 1/2"


def test_stored_coefficients_are_complete() -> None:
    assert json.loads(swapped_sequences.COEFFICIENTS.read_text())["features"] == list(swapped_sequences.FEATURES)
    assert {len(values) for values in swapped_sequences.stored_coefficients().values()} == {
        len(swapped_sequences.FEATURES)
    }


def test_fitting_without_data_ends_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert "holds no labelled case" in capsys.readouterr().err and not (tmp_path / "out").exists()
