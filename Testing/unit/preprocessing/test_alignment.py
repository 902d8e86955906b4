"""What is decided from the images, and what becomes of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.errors import GeometryError, InputError, OutputError, RequestError
from BrainTumorSegLib.domain.grid import Grid
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.io.registry import read_volume, write_volume
from BrainTumorSegLib.io.staging import staged
from BrainTumorSegLib.models.description import PreprocessingSpec
from BrainTumorSegLib.phantom import make_phantom
from BrainTumorSegLib.preprocessing import align_case, prepare
from BrainTumorSegLib.preprocessing.appearance import HEAD, PART, STRIPPED, appearance
from BrainTumorSegLib.preprocessing.export import stage_preprocessed
from Testing import samples
from Testing.raw_scans import SHAPE, motion, raw_scans, someone_elses_t2, true_brain, true_move, write_raw


def test_images_are_told_apart_by_themselves() -> None:
    for seed in (0, 1):
        for volume in make_phantom(seed, SHAPE).case.images.values():
            assert appearance(volume) == STRIPPED
            assert appearance(volume.with_array(volume.array - 100)) == STRIPPED
    for volume in raw_scans().case.images.values():
        assert appearance(volume) == HEAD
        slab = slice(len(volume.array) // 3, 2 * len(volume.array) // 3)
        assert appearance(volume.with_array(volume.array[slab])) == HEAD
        quiet = np.where(volume.array > 0.1 * np.percentile(volume.array, 99.5), volume.array, 0)
        assert appearance(volume.with_array(quiet)) == HEAD
    assert appearance(samples.make_patient().images["t1"]) == PART
    head = raw_scans().case.images["t2"]
    assert appearance(head.with_array(head.array[16:17])) in (HEAD, PART)
    assert appearance(Volume(head.array[16:17], np.diag([1.5, 1.5, 1, 1]))) in (HEAD, PART)


@pytest.mark.parametrize("case", [samples.make_patient().case(), make_phantom(0, SHAPE).case])
def test_prepared_images_go_on_untouched(case: Case) -> None:
    aligned = align_case(case)
    assert all(aligned.case.images[name] is volume for name, volume in case.images.items())
    assert not aligned.moves and aligned.brain is None and aligned.grid is None and "neither" in aligned.record[0]


def test_prepared_images_give_the_same_voxels_as_without_any_preprocessing(patient: samples.Patient) -> None:
    oracle = samples.make_oracle()
    results = [segment_case(patient.case(), oracle, RunOptions(preprocess=way)) for way in ("auto", "none")]
    np.testing.assert_array_equal(results[0].labels.array, results[1].labels.array)
    assert results[0].labels.array.any()


def test_raw_scans_are_registered_and_stripped(tmp_path: Path) -> None:
    scanned = raw_scans()
    _, mask = write_raw(tmp_path, scanned)
    aligned = align_case(scanned.case, RunOptions(brain_mask=mask))
    brain = true_brain(scanned).array > 0
    reference = aligned.case.images["t1ce"]
    np.testing.assert_array_equal(reference.array != 0, brain)
    np.testing.assert_array_equal(reference.array[brain], np.maximum(scanned.case.images["t1ce"].array[brain], 1))
    moved, own = aligned.case.images["t2"], scanned.case.images["t2"]
    np.testing.assert_array_equal(moved.array[moved.array > 1], own.array[moved.array > 1])  # no voxel is interpolated
    np.testing.assert_allclose(moved.affine, aligned.moves["t2"].matrix @ own.affine)
    size = np.count_nonzero(moved.array) * own.voxel_volume / (brain.sum() * reference.voxel_volume)
    assert size == pytest.approx(1, abs=0.03)
    record = aligned.as_record()
    assert record.brain.method == "given" and record.moves["t2"].quality == pytest.approx(
        aligned.moves["t2"].quality, abs=1e-3
    )


def test_stripped_images_on_other_grids_are_registered_and_keep_their_voxels() -> None:
    scanned = raw_scans(skull=False)
    aligned = align_case(scanned.case)
    np.testing.assert_allclose(aligned.moves["t2"].matrix, true_move(scanned, "t2"), atol=2)
    assert aligned.case.images["t2"].array is scanned.case.images["t2"].array
    assert aligned.brain is not None and aligned.brain.method == "stripped"


@pytest.mark.parametrize("value", [-1, 100])
def test_the_brain_of_a_stripped_image_is_what_is_not_background(value: int, tmp_path: Path) -> None:
    scanned = raw_scans(skull=False)
    image = scanned.case.images["t1ce"]
    brain = image.array != 0
    images = {**scanned.case.images, "t1ce": image.with_array(np.where(brain, image.array, value))}
    aligned = align_case(dataclasses.replace(scanned.case, images=images))
    assert aligned.brain is not None
    assert np.mean(aligned.brain.mask != brain) < 1e-3  # a few voxels of tissue have the background's value
    alone = Case("alone", {"t1ce": images["t1ce"]})
    with staged([]) as staging:
        write = stage_preprocessed(tmp_path, "alone", ["t1ce"], "t1ce", staging)
        write(alone, align_case(alone))
    mask = read_volume(tmp_path / "alone_brain_mask.nii.gz")
    size = np.count_nonzero(brain) * image.voxel_volume
    assert mask.array.sum() * mask.voxel_volume == pytest.approx(size, rel=0.02)


def inner_part(volume: Volume) -> Volume:
    """The middle of a head, without any air around."""
    _, y, x = volume.shape
    box = (slice(None), slice(y // 3, 2 * y // 3), slice(x // 3, 2 * x // 3))
    return Volume(
        volume.array[box], Grid.of(volume).cropped((slice(0, volume.shape[0]), *box[1:])).affine, volume.source
    )


def test_a_part_of_a_head_keeps_no_whole_head_from_being_prepared() -> None:
    scanned = raw_scans()
    part = inner_part(scanned.case.images["t2"])
    assert appearance(part) == PART
    aligned = align_case(dataclasses.replace(scanned.case, images={**scanned.case.images, "t2": part}))
    assert aligned.brain is not None and not aligned.moves
    np.testing.assert_array_equal(aligned.case.images["t2"].affine, part.affine)
    assert any(warning.startswith("T2 shows a part") for warning in aligned.warnings)
    still = raw_scans(moved=False).case
    case = dataclasses.replace(still, images={**still.images, "t2": inner_part(still.images["t2"])})
    cut = align_case(case, RunOptions(preprocess="register")).case.images["t2"].array
    assert 0.1 < np.mean(cut == 0) < 0.9, "what is outside the brain is taken away"


def test_a_part_of_a_head_is_not_called_stripped() -> None:
    """Nor is a tilt found in it, nor another person for its size."""
    case = raw_scans(moved=False).case
    case = dataclasses.replace(case, images={**case.images, "t1ce": inner_part(case.images["t1ce"])})
    left = align_case(case)
    assert not left.moves and any("T2 could be neither" in warning for warning in left.warnings)
    assert not align_case(case, RunOptions(preprocess="none")).warnings
    forced = align_case(case, RunOptions(preprocess="register"))
    assert forced.brain is None and forced.pose is None and set(forced.moves) == {"t2"}
    assert "stripped as given" not in " ".join(forced.record)
    assert any("so T2 could not be skull-stripped" in warning for warning in forced.warnings)


def test_a_right_header_is_kept() -> None:
    scanned = raw_scans(skull=False, moved=False)
    aligned = align_case(scanned.case)
    assert aligned.moves["t2"].displacement_mm < 1.5
    if aligned.moves["t2"].displacement_mm == 0:
        assert aligned.case.images["t2"] is scanned.case.images["t2"]


def test_sequences_of_two_people_are_refused_with_the_figure(tmp_path: Path) -> None:
    one = raw_scans(0)
    _, mask = write_raw(tmp_path, one)
    case = Case("two", {"t1ce": one.case.images["t1ce"], "t2": someone_elses_t2()})
    with pytest.raises(GeometryError, match=r"T2 .* cannot be registered to T1ce .* local correlation is 0\.\d\d"):
        align_case(case, RunOptions(brain_mask=mask))


def test_a_head_of_another_size_is_refused_with_the_figure(tmp_path: Path) -> None:
    one = raw_scans(0)
    _, mask = write_raw(tmp_path, one)
    t2 = one.case.images["t2"]
    wider = Volume(t2.array, np.diag([1.2, 1.0, 1.0, 1.0]) @ t2.affine, "t2.nii.gz")
    case = Case("two", {"t1ce": one.case.images["t1ce"], "t2": wider})
    with pytest.raises(GeometryError, match=r"T2 .* another head than T1ce .* stretched by (1[7-9]|2[0-3])%"):
        align_case(case, RunOptions(brain_mask=mask))


def test_what_is_no_mr_image_of_a_head_is_refused(tmp_path: Path) -> None:
    scanned = raw_scans()
    head = scanned.case.images["t1ce"]
    _, mask = write_raw(tmp_path, scanned)
    noise = np.random.default_rng(0).normal(0, 8, head.shape)
    tissue = np.where(head.array > 150, 1040, 0) + np.where(head.array > np.percentile(head.array, 98), 800, 0)
    hounsfield = head.with_array(np.rint(tissue - 1000 + noise).astype(np.int16))
    thin = Volume(np.ascontiguousarray(head.array[30:33]), head.affine, "scout")
    for volume, word in ((hounsfield, "is a CT"), (thin, "only 3 slices")):
        case = dataclasses.replace(scanned.case, images={**scanned.case.images, "t1ce": volume})
        with pytest.raises(InputError, match=word):
            align_case(case, RunOptions(brain_mask=mask))


def test_a_mask_that_holds_nothing_of_the_head_is_refused(tmp_path: Path) -> None:
    head = raw_scans().case.reference_volume
    empty = Volume(np.zeros(head.shape, np.uint8), head.affine)
    write_volume(empty, tmp_path / "empty.nii.gz")
    with pytest.raises(InputError, match="is no brain mask"):
        align_case(raw_scans().case, RunOptions(brain_mask=tmp_path / "empty.nii.gz"))


@pytest.mark.parametrize("what", ["a few millilitres", "the head"])
def test_a_mask_that_can_be_no_brain_by_its_size_is_refused(what: str, tmp_path: Path) -> None:
    head = raw_scans().case.reference_volume
    mask = np.zeros(head.shape, np.uint8)
    if what == "the head":
        mask[1:, 1:, 1:] = 1
    else:
        mask[30:38, 40:48, 40:48] = 1
    write_volume(Volume(mask, head.affine), tmp_path / "mask.nii.gz")
    with pytest.raises(InputError, match=r"is no brain mask: it measures [\d,]+ mL"):
        align_case(raw_scans().case, RunOptions(brain_mask=tmp_path / "mask.nii.gz"))


def test_voxel_sizes_in_another_unit_are_refused_before_anything_is_resampled(tmp_path: Path) -> None:
    scanned = raw_scans()
    _, mask = write_raw(tmp_path, scanned)
    for name in ("t1ce", "t2"):
        image = scanned.case.images[name]
        wrong = Volume(image.array, np.diag([1e3, 1e3, 1e3, 1]) @ image.affine, f"{name}.nii")
        case = dataclasses.replace(scanned.case, images={**scanned.case.images, name: wrong})
        with pytest.raises(GeometryError, match=f"{name}.nii is .* mm in size"):
            align_case(case, RunOptions(brain_mask=mask))


def test_a_mask_that_a_model_of_whole_heads_would_not_use_is_refused(patient: samples.Patient, tmp_path: Path) -> None:
    heads = samples.make_oracle(preprocessing=PreprocessingSpec(brain="head"))
    with pytest.raises(RequestError, match="takes whole heads") as caught:
        segment_case(patient.case(), heads, RunOptions(brain_mask=tmp_path / "mask.nii.gz"))
    assert "--brain-mask" in caught.value.remedy


def test_preprocessed_images_replace_none_of_others(patient: samples.Patient, tmp_path: Path) -> None:
    case = patient.case(("t1ce", "t2"), "P")
    foreign = tmp_path / "P_t2.nii.gz"
    foreign.write_bytes(b"a scan")
    with pytest.raises(OutputError, match=r"P_t2\.nii\.gz is there already"), staged() as staging:
        stage_preprocessed(tmp_path, case.id, case.modalities, case.reference, staging)
    foreign.unlink()
    for _ in range(2):
        with staged() as staging:
            write = stage_preprocessed(tmp_path, case.id, case.modalities, case.reference, staging)
            write(case, align_case(case))
    assert foreign.is_file()


def test_preprocessed_images_have_a_background_of_0_and_a_mask_of_a_brain_or_a_warning(tmp_path: Path) -> None:
    """Also images that come prepared, whose background another program has set to -1."""
    phantom = make_phantom(0, SHAPE).case
    shifted = {name: image.with_array(image.array.astype(np.int16) - 1) for name, image in phantom.images.items()}
    head = raw_scans().case
    for case, way, says in ((Case("brain", shifted), "auto", "-1"), (head, "none", "not skull-stripped")):
        with staged() as staging:
            write = stage_preprocessed(tmp_path, case.id, case.modalities, case.reference, staging)
            warnings = write(case, align_case(case, RunOptions(preprocess=way)))
        assert any(says in warning for warning in warnings)
    written = read_volume(tmp_path / "brain_t1ce.nii.gz").array
    assert 0.05 < (written != 0).mean() < 0.5
    mask = read_volume(tmp_path / "brain_brain_mask.nii.gz").array > 0
    assert (mask != (written != 0)).mean() < 0.02  # interpolation widens the image by half a voxel


def test_a_mask_of_shares_or_with_nothing_outside_is_one_of_a_brain(tmp_path: Path) -> None:
    scanned = raw_scans()
    brain = true_brain(scanned)
    inside = brain.array > 0
    found = []
    for name, outside in (("shares", 1e-4), ("unknown", np.nan)):
        write_volume(brain.with_array(np.where(inside, 0.9, outside).astype(np.float32)), tmp_path / f"{name}.nii.gz")
        options = RunOptions(brain_mask=tmp_path / f"{name}.nii.gz")
        aligned = align_case(Case("one", {"t1ce": scanned.case.images["t1ce"]}), options)
        assert aligned.brain is not None
        found.append(aligned.brain.mask)
    np.testing.assert_array_equal(found[0], inside)
    np.testing.assert_array_equal(found[1], inside)


def test_the_way_back_to_any_grid_is_exact_where_interpolation_is(patient: samples.Patient) -> None:
    turned = motion((3, 4, 5), (1, 2, 1))
    images = {name: volume for name, volume in patient.images.items() if name != "t2"}
    own = patient.images["t2"]
    moved = Volume(own.array, turned @ own.affine)
    prepared = prepare(Case("a", {**images, "t2": moved}), ("t1ce", "t2"), PreprocessingSpec())
    index = np.moveaxis(np.indices(prepared.grid.shape), 0, -1)[..., ::-1]
    ramp = (index @ prepared.grid.affine[:3, :3].T + prepared.grid.affine[:3, 3]) @ np.array([1.0, 2.0, 3.0])
    back = prepared.restore(ramp[prepared.box].astype(np.float32), Grid.of(moved))
    places = np.moveaxis(np.indices(own.shape), 0, -1)[..., ::-1]
    expected = (places @ moved.affine[:3, :3].T + moved.affine[:3, 3]) @ np.array([1.0, 2.0, 3.0])
    inner = (slice(7, -7),) * 3  # the brain's box ends before the image
    np.testing.assert_allclose(back[inner], expected[inner], atol=1e-2)
