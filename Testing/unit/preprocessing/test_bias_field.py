"""Uneven brightness: what is made is taken out, and what is even stays."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.modalities import MODALITIES
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.models.description import PreprocessingSpec
from BrainTumorSegLib.preprocessing import prepare
from BrainTumorSegLib.preprocessing.bias_field import correct_bias_field, thinned
from BrainTumorSegLib.preprocessing.normalisation import normalise
from Testing.samples import Patient


def head(shape: tuple[int, int, int] = (40, 48, 44)) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """An image of two tissues in a ball (in a checkerboard of 4 voxels), the ball, and coordinates from -1 to 1."""
    index = np.indices(shape)
    axes = [2 * i / (size - 1) - 1 for i, size in zip(index, shape, strict=True)]
    ball = sum(axis**2 for axis in axes) < 0.9
    tissue = np.where((index // 4).sum(axis=0) % 2, 100.0, 160.0)
    return tissue * ball, ball, axes


def unevenness(image: np.ndarray, tissue: np.ndarray, ball: np.ndarray) -> float:
    """Standard deviation of the logarithm of what multiplies the tissues."""
    return float(np.log(image[ball] / tissue[ball]).std())


@pytest.mark.parametrize("spacing", [(4.0, 4.0, 4.0), (1.0, 4.0, 8.0)])
def test_a_made_field_is_taken_out(spacing: tuple[float, float, float]) -> None:
    tissue, ball, (z, y, x) = head()
    image = tissue * np.exp(0.3 * x - 0.2 * y * z + 0.2 * z**2)
    result = correct_bias_field(image, spacing)
    assert result.dtype == np.float32 and result.shape == image.shape
    assert unevenness(image, tissue, ball) > 0.13
    assert unevenness(result, tissue, ball) < 0.02
    assert not result[~ball].any()


def test_an_even_image_stays_even() -> None:
    tissue, ball, _ = head()
    assert unevenness(correct_bias_field(tissue, (4.0, 4.0, 4.0)), tissue, ball) < 0.02


@pytest.mark.parametrize("shape", [(5, 6, 7), (1, 30, 30)])
def test_thin_and_empty_images_stay_as_they_are(shape: tuple[int, int, int]) -> None:
    assert not correct_bias_field(np.zeros((20, 20, 20)), (1.0, 1.0, 1.0)).any()
    image = np.random.default_rng(0).integers(0, 9, shape)
    np.testing.assert_array_equal(correct_bias_field(image, (1.0, 1.0, 1.0)), image)


def test_what_is_too_thin_to_be_corrected_is_not_called_so(patient: Patient) -> None:
    whole = patient.images["flair"]
    thin = {"t1ce": whole, "flair": Volume(whole.array[4:9], whole.affine, "slab")}
    record = prepare(Case("thin", thin), MODALITIES, PreprocessingSpec(bias_correction="n4")).record
    assert "bias field corrected by N4: t1ce" in record
    assert "bias field not corrected, too little is there to find it in: flair" in record


def test_images_are_corrected_before_they_are_normalised_where_the_model_says_so(patient: Patient) -> None:
    prepared = prepare(patient.case(), MODALITIES, PreprocessingSpec(bias_correction="n4"))
    volume = patient.images["flair"]
    expected = normalise(correct_bias_field(volume.array, volume.spacing))[prepared.box]
    np.testing.assert_allclose(prepared.array[3], expected, atol=1e-4)
    plain = prepare(patient.case(), MODALITIES, PreprocessingSpec())
    assert np.abs(prepared.array - plain.array).max() > 1e-3


@pytest.mark.parametrize("shape", [(40, 48, 44), (155, 24, 31), (8, 90, 63)])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 2.0, 3.0), (6.5, 0.9, 1.5)])
def test_the_voxels_that_the_field_is_found_on_are_those_of_simpleitk(
    shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    values = np.random.default_rng(1).random(shape).astype(np.float32)
    coarse = thinned(values, spacing)
    factors = [int(factor) for factor in coarse.GetSpacing()]
    wanted = sitk.Shrink(sitk.GetImageFromArray(values), factors)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(coarse), sitk.GetArrayFromImage(wanted))
    assert coarse.GetOrigin() == wanted.GetOrigin() and coarse.GetSpacing() == wanted.GetSpacing()
