"""Rigid registration: known motions are found, and what is not of one head is worth little."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from BrainTumorSegLib.domain.errors import CancelledError
from BrainTumorSegLib.domain.grid import LPS_TO_RAS
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.phantom import make_phantom
from BrainTumorSegLib.phantom.scanned import Protocol, Scanned, scan
from BrainTumorSegLib.preprocessing.alignment import POOR
from BrainTumorSegLib.preprocessing.export import write_transform
from BrainTumorSegLib.preprocessing.registration import _Search, register
from BrainTumorSegLib.preprocessing.similarity import local_correlation
from BrainTumorSegLib.preprocessing.working_image import WorkingImage
from Testing.raw_scans import SHAPE, motion, raw_scans, true_brain, true_move


def errors_mm(found: np.ndarray, truth: np.ndarray, brain: Volume) -> np.ndarray:
    """How far the corners of the brain's box are off, ``(8,)``."""
    index = np.argwhere(brain.array)[:, ::-1]
    corners = np.stack(np.meshgrid(*zip(index.min(0), index.max(0), strict=True), indexing="ij"), -1).reshape(-1, 3)
    fixed = corners @ brain.affine[:3, :3].T + brain.affine[:3, 3]
    moving = (fixed - truth[:3, 3]) @ np.linalg.inv(truth[:3, :3]).T
    return np.linalg.norm(moving @ found[:3, :3].T + found[:3, 3] - fixed, axis=1)


@pytest.mark.parametrize("skull", [True, False])
def test_a_known_motion_is_found_between_sequences(skull: bool) -> None:
    scanned = raw_scans(skull=skull)
    brain = true_brain(scanned)
    found = register(scanned.case.images["t2"], scanned.case.images["t1ce"], brain.array > 0, skull=skull)
    assert errors_mm(found.matrix, true_move(scanned, "t2"), brain).max() < 2  # of voxels of 2 and 5 mm
    assert found.quality > POOR > found.before
    assert found.angle_deg == pytest.approx(np.degrees(np.arccos((np.trace(motion()[:3, :3]) - 1) / 2)), abs=1)


def test_far_turns_between_thick_slices_of_two_directions_are_found_to_a_fraction_of_a_voxel() -> None:
    case = make_phantom(1, SHAPE).case
    protocols = {"t1ce": Protocol((5.0, 1.5)), "flair": Protocol((5.0, 1.5), plane="x")}
    scanned = scan(case, protocols, {"flair": motion((22.0, -12.0, 15.0), (30.0, -20.0, 25.0))}, seed=1)
    brain = true_brain(scanned)
    found = register(scanned.case.images["flair"], scanned.case.images["t1ce"], brain.array > 0)
    assert errors_mm(found.matrix, true_move(scanned, "flair"), brain).max() < 1.5  # at the corners of the brain's box


def lying_right() -> Scanned:
    """Slices of 5 mm of two sequences that lie over each other."""
    return scan(make_phantom(1, SHAPE).case, dict.fromkeys(("t1ce", "flair"), Protocol((5.0, 1.5))), {}, seed=1)


def test_thick_slices_that_lie_over_each_other_stay_where_they_are() -> None:
    scanned = lying_right()
    mask = true_brain(scanned).array > 0
    found = register(scanned.case.images["flair"], scanned.case.images["t1ce"], mask)
    np.testing.assert_array_equal(found.matrix, np.eye(4))
    assert (found.displacement_mm, found.angle_deg) == (0, 0)
    assert found.quality == found.before > POOR


def test_a_search_that_goes_astray_moves_nothing_that_lay_right(monkeypatch: pytest.MonkeyPatch) -> None:
    scanned = lying_right()

    def far(search: _Search) -> sitk.Euler3DTransform:
        transform = search.header()
        transform.SetTranslation((90.0, 0.0, 0.0))
        return transform

    monkeypatch.setattr(_Search, "run", far)
    found = register(scanned.case.images["flair"], scanned.case.images["t1ce"], true_brain(scanned).array > 0)
    np.testing.assert_array_equal(found.matrix, np.eye(4))
    assert found.quality == found.before > POOR


def test_heads_of_two_people_are_worth_less_than_any_pair_of_one() -> None:
    one, other = raw_scans(0), raw_scans(3)
    mask = true_brain(one).array > 0
    found = register(other.case.images["t2"], one.case.images["t1ce"], mask)
    assert found.quality < POOR < 0.5 < register(one.case.images["t2"], one.case.images["t1ce"], mask).quality


def test_how_much_a_head_of_another_size_would_have_to_be_stretched() -> None:
    scanned = raw_scans()
    fixed, moving, mask = scanned.case.images["t1ce"], scanned.case.images["t2"], true_brain(scanned).array > 0
    wider = Volume(moving.array, np.diag([1.2, 1.0, 1.0, 1.0]) @ moving.affine)
    assert register(wider, fixed, mask).stretch == pytest.approx(0.2, abs=0.03)
    assert register(moving, fixed, mask).stretch < 0.02


@pytest.mark.parametrize(("laid", "stretch"), [(True, 0.0), (False, 1.0)])
def test_an_affine_motion_that_went_astray_tells_the_size_of_no_head_that_lay_right(
    monkeypatch: pytest.MonkeyPatch, laid: bool, stretch: float
) -> None:
    figures = iter([0.30 if laid else 0.10, 0.35])  # where the headers put the images, and after the search
    monkeypatch.setattr(_Search, "quality", lambda *_: next(figures))
    monkeypatch.setattr(_Search, "stretch", lambda *_: (1.0, 0.05))
    monkeypatch.setattr(_Search, "run", _Search.header)
    scanned = raw_scans()
    found = register(scanned.case.images["t2"], scanned.case.images["t1ce"])
    assert (found.quality, found.stretch) == (0.35, stretch)


def test_it_ends_when_it_is_told_to() -> None:
    def tick() -> None:
        raise CancelledError("Cancelled.")

    scanned = raw_scans()
    with pytest.raises(CancelledError):
        register(scanned.case.images["t2"], scanned.case.images["t1ce"], tick=tick)


def test_local_correlation_does_not_mind_contrast_and_knows_nothing_from_noise() -> None:
    one, noise = np.random.default_rng(0).random((2, 30, 30, 30), dtype=np.float32)
    everywhere = np.ones(one.shape, dtype=bool)
    assert local_correlation(one, 5 - 3 * one, everywhere, (1, 1, 1)) == pytest.approx(1, abs=1e-3)
    assert local_correlation(one, noise, everywhere, (1, 1, 1)) < 0.05
    assert local_correlation(one, one, np.zeros(one.shape, dtype=bool), (1, 1, 1)) == 0


def test_the_transform_file_resamples_the_moving_image_onto_the_fixed_one(tmp_path: Path) -> None:
    matrix = motion()
    write_transform(matrix, tmp_path / "t.tfm")
    transform = sitk.ReadTransform(str(tmp_path / "t.tfm"))
    fixed = np.array([30.0, -12.0, 55.0])  # RAS
    moving = (np.linalg.inv(matrix) @ [*fixed, 1])[:3]
    given = transform.TransformPoint((LPS_TO_RAS[:3, :3] @ fixed).tolist())
    np.testing.assert_allclose(LPS_TO_RAS[:3, :3] @ given, moving, atol=1e-6)


@pytest.mark.parametrize("slices", [1, 3])
def test_a_slab_of_few_slices_is_looked_at_as_thicker_ones_are(slices: int) -> None:
    thick = raw_scans(skull=False).case.images["t2"]  # slices of 5 mm
    slab = WorkingImage(thick.with_array(thick.array[14 : 14 + slices]))
    values = sitk.GetArrayFromImage(slab.at(5.0))
    assert values.shape[0] == slices and np.isfinite(values).all() and np.ptp(values) > 0.5


def test_images_are_not_kept_after_their_registration() -> None:
    volume = next(iter(make_phantom(0, shape=(24, 24, 24)).case.images.values()))
    image = WorkingImage(volume)
    assert image.at(4.0) is image.at(4.0) and image.mask_at(4.0) is image.mask_at(4.0)
    assert image.at(40.0) is not image.at(4.0)
    gone = weakref.ref(image)
    del image
    assert gone() is None
