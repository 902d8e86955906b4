"""Brains that lie otherwise than their headers say are noticed; phantoms stand for brains that were not fitted."""

from __future__ import annotations

import numpy as np
import pytest

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.domain.volume import bounding_box
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.models.description import PreprocessingSpec
from BrainTumorSegLib.phantom import make_phantom
from BrainTumorSegLib.quality import orientation as posture
from Testing.samples import make_oracle
from Training.input_checks import judge_posture, mean_outline

# At 3 mm, since a whole head is large.
COARSE = make_oracle(preprocessing=PreprocessingSpec(spacing=(3.0, 3.0, 3.0)))


@pytest.fixture(scope="module")
def brains() -> list[np.ndarray]:
    masks = [make_phantom(seed, (52, 80, 80)).case.images["t1"].array != 0 for seed in range(3)]
    return [mask[bounding_box(mask)] for mask in masks]


def test_an_outline_is_the_share_of_each_box_by_hand() -> None:
    mask = np.zeros((20, 10, 11), dtype=bool)
    mask[0, 0, 0] = mask[1, 0, 0] = mask[2, 3, 0] = True
    mask[19, 9, 10] = True
    cube = posture.outline(mask)
    assert cube.shape == (10, 10, 10)
    assert cube[0, 0, 0] == 1 and cube[1, 3, 0] == 0.5
    assert cube[9, 9, 9] == pytest.approx(0.25)  # 20 slices and 11 columns: the last box holds 2 × 1 × 2 voxels
    assert np.count_nonzero(cube) == 3


def test_every_posture_comes_once() -> None:
    cube = np.arange(1000.0).reshape(10, 10, 10)
    seen = {posture.turned(cube, turn).tobytes() for turn in posture.turns()}
    assert len(seen) == 24
    mirrored = {posture.turned(cube, turn)[:, :, ::-1].tobytes() for turn in posture.turns()}
    assert not seen & mirrored


def test_upright_brains_are_not_doubted_and_all_others_are_found(brains: list[np.ndarray]) -> None:
    for brain in brains:
        assert judge_posture(brain, posture.stored_template()) == (False, 23, 23)


def test_the_way_back_is_named(brains: list[np.ndarray]) -> None:
    for turn in posture.turns():
        back = posture.posture(posture.turned(brains[0], turn))
        again = posture.turned(posture.turned(brains[0], turn), back)
        assert again.shape == brains[0].shape
        same = max((again == brains[0]).mean(), (again[:, :, ::-1] == brains[0]).mean())
        assert same == 1 or (again == brains[0][:, :, ::-1]).mean() > 0.95


def test_left_and_right_are_not_told_apart(brains: list[np.ndarray]) -> None:
    assert posture.posture(brains[0][:, :, ::-1]) == posture.UPRIGHT


def test_slabs_and_small_things_are_not_judged(brains: list[np.ndarray]) -> None:
    images = brains[0][None, ::-1].astype(np.float32)  # upside down
    assert posture.looks_turned(images, 27.0)
    assert not posture.looks_turned(images, 1.0)
    assert not posture.looks_turned(images[:, :9], 1000.0)


def test_the_template_is_the_mean_of_what_it_was_made_of(brains: list[np.ndarray]) -> None:
    template = mean_outline(brains)
    assert np.array_equal(template, template[:, :, ::-1])
    expected = np.mean([posture.outline(brain) for brain in brains], axis=0)
    np.testing.assert_allclose(template[4, 5, 0], (expected[4, 5, 0] + expected[4, 5, 9]) / 2)


def test_the_result_says_that_the_brain_lies_otherwise() -> None:
    case = make_phantom(0, (52, 80, 80)).case
    upside_down = {name: v.with_array(np.ascontiguousarray(v.array[::-1])) for name, v in case.images.items()}
    warnings = segment_case(Case("turned", upside_down), COARSE, RunOptions(device="cpu")).warnings
    assert "By its outline the brain does not lie as the headers say: check the orientation of the images." in warnings
    assert not any("outline" in warning for warning in segment_case(case, COARSE, RunOptions(device="cpu")).warnings)
