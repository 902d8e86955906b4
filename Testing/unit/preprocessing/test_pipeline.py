from __future__ import annotations

import numpy as np
import pytest

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.errors import GeometryError, InputError
from BrainTumorSegLib.domain.grid import Grid, reorient
from BrainTumorSegLib.domain.modalities import MODALITIES
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.models.description import PreprocessingSpec
from BrainTumorSegLib.preprocessing import network_grid, prepare
from BrainTumorSegLib.preprocessing.normalisation import normalise
from BrainTumorSegLib.preprocessing.resampling import onto
from Testing.samples import AFFINE, Patient, make_patient
from Testing.unit.domain.test_grid import OBLIQUE, ORIENTATIONS, affine_of

SPEC = PreprocessingSpec()


def test_images_on_the_networks_grid_are_only_normalised_and_cropped(patient: Patient) -> None:
    prepared = prepare(patient.case(), MODALITIES, SPEC)
    brain = patient.images["t1"].array > 0
    assert prepared.box == tuple(slice(int(i.min()), int(i.max()) + 1) for i in np.nonzero(brain))
    assert prepared.array.dtype == np.float32 and prepared.array.flags.c_contiguous
    for channel, name in enumerate(MODALITIES):
        np.testing.assert_array_equal(prepared.array[channel], normalise(patient.images[name].array)[prepared.box])
    assert prepared.record == ("intensities normalised (zscore): t1, t1ce, t2, flair",)
    assert prepared.warnings == ()


def test_channels_follow_the_models_order_and_a_missing_one_is_zero(patient: Patient) -> None:
    order = ("flair", "t2", "t1ce")
    prepared = prepare(patient.case(("t1ce", "flair")), order, SPEC)
    assert "not given: t2" in prepared.record
    np.testing.assert_array_equal(prepared.array[0], normalise(patient.images["flair"].array)[prepared.box])
    assert not prepared.array[1].any()
    np.testing.assert_array_equal(prepared.array[2], normalise(patient.images["t1ce"].array)[prepared.box])


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_there_and_back_is_exact_for_every_orientation(patient: Patient, codes: str) -> None:
    affine = Grid.of(patient.labels).oriented(codes).affine
    images = {
        name: Volume(np.ascontiguousarray(reorient(v.array, v.affine, codes)), affine)
        for name, v in patient.images.items()
    }
    prepared = prepare(Case("a", images), MODALITIES, SPEC)
    np.testing.assert_array_equal(prepared.array, prepare(patient.case(), MODALITIES, SPEC).array)
    returned = prepared.restore(patient.labels.array[prepared.box].astype(np.float32))
    np.testing.assert_array_equal(returned, reorient(patient.labels.array, AFFINE, codes))


@pytest.mark.parametrize("affine", [OBLIQUE, affine_of((0.5, 0.9, 4.0), (7, 8, 9))], ids=["oblique", "anisotropic"])
def test_the_volume_of_a_resampled_region_stays(affine: np.ndarray) -> None:
    patient = make_patient((24, 60, 60), affine, radii=(5, 8, 12))
    prepared = prepare(patient.case(), MODALITIES, SPEC)
    assert prepared.grid.spacing == pytest.approx((1, 1, 1))
    whole = (patient.labels.array > 0).astype(np.float32)
    on_network = onto(whole, Grid.of(patient.labels), prepared.grid)
    returned = prepared.restore(on_network[prepared.box])
    assert returned.shape == patient.labels.shape
    before, after = whole.sum(), (returned >= 0.5).sum()
    assert after == pytest.approx(before, rel=0.03)
    agreement = 2 * ((returned >= 0.5) & (whole > 0)).sum() / (before + after)
    assert agreement > 0.95


def test_a_spacing_of_zero_keeps_the_axis() -> None:
    grid = network_grid(Grid((10, 20, 30), affine_of((0.5, 0.5, 6.0))), PreprocessingSpec("LPS", (0.0, 1.0, 1.0)))
    assert grid.spacing == pytest.approx((6, 1, 1)) and grid.shape == (10, 10, 15)


def test_images_on_other_grids_come_to_the_references(patient: Patient) -> None:
    """A FLAIR moved by a whole voxel, and cut to another shape, holds the same voxels at the same places."""
    flair = patient.images["flair"]
    affine = flair.affine.copy()
    affine[:3, 3] += affine[:3, 0] * 2 + affine[:3, 2] * 1
    moved = Volume(np.ascontiguousarray(flair.array[1:, :, 2:]), affine, "moved")
    case = Case("a", {**patient.images, "flair": moved})
    prepared, expected = prepare(case, MODALITIES, SPEC), prepare(patient.case(), MODALITIES, SPEC)
    assert "resampled onto the grid of t1ce: flair" in prepared.record
    assert prepared.restore(prepared.array[0]).shape == patient.labels.shape
    assert not flair.array[0].any() and not flair.array[..., :1].any(), "the cut must lose nothing that counts"
    np.testing.assert_allclose(prepared.array[:3], expected.array[:3], atol=1e-5)
    inner = (slice(2, None), slice(2, -2), slice(3, -2))
    np.testing.assert_allclose(prepared.array[3][inner], expected.array[3][inner], atol=0.1)


def test_another_spacing_is_noted(patient: Patient) -> None:
    prepared = prepare(patient.case(), MODALITIES, PreprocessingSpec(spacing=(2.0, 2.0, 2.0)))
    assert "the network ran at 2 × 2 × 2 mm" in prepared.record
    assert prepared.grid.shape == (10, 14, 12)


def test_images_that_do_not_overlap_are_refused(patient: Patient) -> None:
    away = AFFINE.copy()
    away[0, 3] += 300
    case = Case("a", {**patient.images, "t2": Volume(patient.images["t2"].array, away, "far_t2.nii.gz")})
    with pytest.raises(GeometryError, match="far_t2"):
        prepare(case, MODALITIES, SPEC)


def test_images_that_are_empty_on_the_reference_are_refused(patient: Patient) -> None:
    array = np.zeros((20, 28, 60), np.int16)
    array[:, :, 50:] = np.random.default_rng(0).integers(1, 99, (20, 28, 10))
    case = Case("a", {"t1ce": patient.images["t1ce"], "t2": Volume(array, AFFINE, "far_t2.nii.gz")})
    with pytest.raises(InputError, match="empty"):
        prepare(case, ("t2",), SPEC)


@pytest.mark.parametrize("factor", [1e-3, 1e3], ids=["metres", "micrometres"])
def test_voxel_sizes_in_another_unit_are_refused(patient: Patient, factor: float) -> None:
    affine = AFFINE.copy()
    affine[:3] *= factor
    images = {name: Volume(volume.array, affine, "a_t1.nii") for name, volume in patient.images.items()}
    with pytest.raises(GeometryError, match="mm in size") as caught:
        prepare(Case("a", images), MODALITIES, SPEC)
    assert "millimetres" in caught.value.remedy


def test_a_mask_on_a_background_that_is_not_0_is_refused(patient: Patient) -> None:
    """Its two values pass for an image until the background is 0."""
    mask = patient.images["t1ce"]
    mask = mask.with_array(np.where(mask.array != 0, 500, 100).astype(np.int16))
    with pytest.raises(InputError, match="a mask, not an image"):
        prepare(Case("masked", {**patient.images, "t1ce": mask}), MODALITIES, SPEC)
