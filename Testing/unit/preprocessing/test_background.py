"""Backgrounds as other programs leave them."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.modalities import MODALITIES
from BrainTumorSegLib.evaluation.metrics import dice
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.models.description import PreprocessingSpec
from BrainTumorSegLib.phantom import make_phantom
from BrainTumorSegLib.preprocessing import prepare
from BrainTumorSegLib.preprocessing.background import find_background, remove_background
from BrainTumorSegLib.preprocessing.normalisation import normalise
from Testing.samples import Patient, make_oracle, make_patient

SPEC = PreprocessingSpec()


def test_a_background_of_zero_is_left_alone(patient: Patient) -> None:
    for volume in patient.images.values():
        assert remove_background(volume, "t1", SPEC)[0] is volume
        scaled = volume.with_array(normalise(volume.array))  # z-scores of a brain are negative, too
        assert remove_background(scaled, "t1", SPEC)[0] is scaled


def test_z_scores_of_a_brain_are_left_alone() -> None:
    for volume in make_phantom(shape=(26, 40, 40)).case.images.values():
        scores = normalise(volume.array)
        assert find_background(scores) is None
        assert find_background(np.round(100 * scores).astype(np.int16)) is None


@pytest.mark.parametrize("shift", [0.5, (0.3, 0.7, 0.2)])
@pytest.mark.parametrize("dtype", [np.float32, np.int16])
def test_ringing_of_splines_is_found(shift: float | tuple[float, ...], dtype: type) -> None:
    """Images moved by SciPy's cubic spline and by ITK's; what is left is the brain, moved, and voxels at its edge."""
    for volume in make_phantom(shape=(52, 80, 80)).case.images.values():
        image = volume.array.astype(dtype)
        move = sitk.TranslationTransform(3, [-step for step in np.broadcast_to(shift, 3)[::-1].tolist()])
        still = sitk.GetImageFromArray(image)
        moved = sitk.GetArrayFromImage(sitk.Resample(still, still, move, sitk.sitkBSpline, 0.0))
        brain = ndimage.shift((volume.array != 0).astype(np.float32), shift, order=1) > 0.5
        for rung in (moved, ndimage.shift(image, shift, order=3)):
            cleaned, _ = remove_background(volume.with_array(rung), "t1", SPEC)
            assert dice(cleaned.array != 0, brain) > 0.93 > dice(rung != 0, brain)


def test_a_head_is_left_alone() -> None:
    air = np.random.default_rng(0).integers(0, 9, (20, 30, 30)).astype(np.int16)
    air[5:15, 8:22, 8:22] += 500
    assert find_background(air) is None


@pytest.mark.parametrize("value", [-1, 100, -1024, 3.5, 5e-7, -5e-7])
def test_a_constant_background_is_found_exactly(patient: Patient, value: float) -> None:
    volume = patient.images["t1"]
    brain = volume.array != 0
    image = np.where(brain, volume.array, value).astype(np.float32 if value % 1 else np.int16)
    cleaned, done = remove_background(volume.with_array(image), "t1", SPEC)
    np.testing.assert_array_equal(cleaned.array, volume.array)
    assert done is not None and "T1" in done.warning


def test_a_value_of_the_background_inside_the_brain_stays(patient: Patient) -> None:
    volume = patient.images["t1"]
    image = np.where(volume.array != 0, volume.array, 100)
    middle = tuple(size // 2 for size in image.shape)
    image[middle] = 100
    image[middle[0], middle[1], middle[2] + 1] = 90  # darker: so 100 is a grey value of tissues as well
    cleaned, _ = remove_background(volume.with_array(image), "t1", SPEC)
    assert cleaned.array[middle] == 100


@pytest.mark.parametrize("value", [-1000, -1, 5e-7])
def test_an_enclosed_hole_is_background_too_where_nothing_is_darker(patient: Patient, value: float) -> None:
    volume = patient.images["t1"]
    image = volume.array.copy()
    image[tuple(size // 2 for size in image.shape)] = 0
    other = np.where(image != 0, image, value).astype(np.float32)
    np.testing.assert_array_equal(remove_background(volume.with_array(other), "t1", SPEC)[0].array, image)


def test_what_is_not_background_anywhere_is_no_background_of_a_model_of_heads(patient: Patient) -> None:
    volume = patient.images["t1"].with_array(patient.images["t1"].array + 7)
    assert remove_background(volume, "t1", PreprocessingSpec(brain="head"))[0] is volume


def test_the_ringing_of_a_spline_changes_the_result_little() -> None:
    """Each image moved by half a voxel by a cubic spline, which rings around the brain, and by a linear one, which
    does not.
    """
    patient = make_patient((24, 48, 44), radii=(5, 8, 11))

    def moved(order: int) -> Case:
        images = {
            name: volume.with_array(ndimage.shift(volume.array.astype(np.float32), (0.5, 0.5, 0.5), order=order))
            for name, volume in patient.images.items()
        }
        return Case("a", images)

    ringing, plain = moved(3), moved(1)
    assert min(volume.array.min() for volume in ringing.images.values()) < -5
    prepared = prepare(ringing, MODALITIES, SPEC)
    assert any("ringing" in line for line in prepared.record)
    brain = [np.any(prepare(case, MODALITIES, SPEC).array != 0, axis=0).sum() for case in (ringing, plain)]
    assert abs(brain[0] / brain[1] - 1) < 0.15
    results = [segment_case(case, make_oracle()).mask("WT") for case in (ringing, plain)]
    assert dice(*results) > 0.9
