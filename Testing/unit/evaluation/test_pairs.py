"""Pairs compared: arrays and files, regions and tissues, grids that differ."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import nibabel
import numpy as np
import pytest

import BrainTumorSegLib
from BrainTumorSegLib.domain.errors import GeometryError, InputError, RequestError
from BrainTumorSegLib.domain.result_record import OwnRegion, ResultRecord
from BrainTumorSegLib.domain.segmentation import Segmentation
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.evaluation import Settings, compare_files, compare_labels, compare_volumes, evaluate_pairs
from BrainTumorSegLib.evaluation.metrics import MEASURES
from BrainTumorSegLib.evaluation.pairs import with_conventions
from BrainTumorSegLib.io.registry import read_label_map
from Testing.unit.io.test_registry import write_segmentation

AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])


def labels(*columns: int) -> np.ndarray:
    """A label map ``(Z, Y, X)`` of 4 × 5 × len(columns) voxels with these labels along x."""
    return np.broadcast_to(np.array(columns, np.uint8), (4, 5, len(columns))).copy()


def write(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nibabel.save(nibabel.Nifti1Image(array.transpose(), affine), path)
    return path


def test_regions_and_tissues_by_hand() -> None:
    prediction, reference = labels(0, 2, 1, 3, 3, 0), labels(2, 2, 1, 1, 3, 0)
    found = compare_labels(prediction, reference, settings=Settings(("dice", "iou", "miou"), tissues=True))
    assert {region: values.get("dice") for region, values in found.items()} == {
        "ET": pytest.approx(2 * 1 / (2 + 1)),
        "TC": 1.0,
        "WT": pytest.approx(2 * 4 / (4 + 5)),
        "NCR": pytest.approx(2 * 1 / (1 + 2)),
        "ED": pytest.approx(2 * 1 / (1 + 2)),
        "all": None,
    }
    assert found["all"] == {"miou": pytest.approx((1 / 2 + 1 + 4 / 5) / 3)}  # over the regions, not the tissues


def test_spacing_is_in_array_order_and_volume_in_millilitres() -> None:
    prediction, reference = np.zeros((2, 20, 20, 20), np.uint8)
    prediction[2, 3, 4] = reference[5, 3, 4] = reference[2, 3, 4] = 3
    found = compare_volumes("x", prediction, reference, (10, 5, 2), Settings(("hd", "volume_error")))
    assert found.measures["ET"] == {"hd": 30.0, "volume_error": pytest.approx(-0.1)}
    assert found.volumes["ET"] == pytest.approx((0.1, 0.2))
    assert found.empties == {"ET": "", "TC": "", "WT": ""}
    assert (found.shape, found.spacing) == ((20, 20, 20), (10.0, 5.0, 2.0))


def test_all_measures_at_once_give_what_each_gives_alone() -> None:
    generator = np.random.default_rng(5)
    prediction, reference = generator.choice([0, 0, 0, 1, 2, 3], (2, 9, 8, 10)).astype(np.uint8)
    for definition in ("directed", "pooled", "surfel"):
        together = compare_labels(prediction, reference, (3, 1, 1), Settings(("all",), hd95=definition))
        assert list(together) == ["ET", "TC", "WT", "all"]
        assert {name for values in together.values() for name in values} == set(MEASURES)
        for name in MEASURES:
            alone = compare_labels(prediction, reference, (3, 1, 1), Settings((name,), hd95=definition))
            for region, values in alone.items():
                assert values == {key: together[region][key] for key in values}


def test_identical_maps_are_perfect() -> None:
    found = compare_labels(labels(0, 2, 1, 3), labels(0, 2, 1, 3), (3, 3, 3), Settings(("all",)))
    for values in found.values():
        for name, value in values.items():
            perfect = 1 if MEASURES[name].better == "higher" else 0
            assert value == perfect, name


def test_an_empty_region_counts_by_the_convention_in_every_measure() -> None:
    prediction, reference = labels(0, 2, 1, 3), labels(0, 2, 1, 1)
    diagonal = math.sqrt(4**2 + 5**2 + 4**2)
    found = compare_labels(prediction, reference, settings=Settings(("all",), convention="brats2021"))
    assert found["ET"]["hd"] == found["ET"]["hd95"] == found["ET"]["assd"] == pytest.approx(diagonal)
    assert found["ET"]["surface_dice"] == found["ET"]["dice"] == 0
    assert found["all"]["miou"] == pytest.approx(2 / 3)
    left_out = compare_labels(prediction, reference, settings=Settings(("iou", "miou"), convention="monai"))
    assert math.isnan(left_out["ET"]["iou"]) and left_out["all"]["miou"] == 1


def test_the_public_call() -> None:
    prediction, reference = labels(0, 2, 1, 3, 0), labels(0, 2, 1, 3, 3)
    found = BrainTumorSegLib.evaluate(prediction, reference, (1, 1, 7))
    assert found["WT"]["hd95"] == 7 and set(found["WT"]) == {"dice", "hd95", "sensitivity", "specificity"}
    volume = Volume(reference, np.diag([7.0, 1.0, 1.0, 1.0]))
    assert BrainTumorSegLib.evaluate(prediction, volume) == found
    assert BrainTumorSegLib.evaluate(Volume(prediction, volume.affine), reference) == found, "its spacing is known"
    assert len(BrainTumorSegLib.evaluate(prediction, reference, measures="all")["WT"]) == len(MEASURES) - 1
    for nothing in ("seg.nii.gz", Path("seg.nii.gz"), nibabel.Nifti1Image(prediction, AFFINE)):
        with pytest.raises(InputError, match="no array"):
            BrainTumorSegLib.evaluate(nothing, reference)
    with pytest.raises(RequestError, match="no measure"):
        BrainTumorSegLib.evaluate(prediction, reference, measures=("dise",))
    for spacing in ((1, 1), 1.0):
        with pytest.raises(GeometryError, match="spacing"):
            BrainTumorSegLib.evaluate(prediction, reference, spacing)
    with pytest.raises(GeometryError, match=r"\(4, 5, 5\).*\(4, 5, 4\)"):
        BrainTumorSegLib.evaluate(prediction, labels(0, 2, 1, 3), (1, 1, 1))


def test_the_public_call_reads_no_label_of_another_convention_as_background() -> None:
    prediction = labels(0, 2, 1, 3, 3)
    for dtype in (np.uint8, np.float64):
        reference = labels(0, 2, 1, 4, 4).astype(dtype)
        with pytest.raises(InputError, match="reference holds label 4"):
            BrainTumorSegLib.evaluate(prediction, reference)
        found = BrainTumorSegLib.evaluate(prediction, reference, reference_labels="brats2021", measures=("dice",))
        assert found == {region: {"dice": 1.0} for region in ("ET", "TC", "WT")}
    mask = prediction > 0
    found = BrainTumorSegLib.evaluate(prediction, mask, reference_labels="whole", measures=("dice",))
    assert found == {"WT": {"dice": 1.0}}
    with pytest.raises(InputError, match="not whole numbers"):
        BrainTumorSegLib.evaluate(prediction * 0.5, prediction)


def test_the_public_call_compares_no_volumes_that_lie_elsewhere() -> None:
    array = labels(0, 2, 1, 3, 3)
    first, turned = Volume(array, AFFINE), Volume(array, np.diag([-1.0, 2.0, 3.0, 1.0]))
    assert BrainTumorSegLib.evaluate(first, first, measures=("dice",))["ET"] == {"dice": 1.0}
    with pytest.raises(GeometryError, match="different grids"):
        BrainTumorSegLib.evaluate(first, turned)


def test_labels_of_a_models_own_are_in_no_region(tmp_path: Path) -> None:
    reference = write(tmp_path / "reference.nii.gz", labels(0, 2, 1, 3, 0))
    prediction = write(tmp_path / "prediction.nii.gz", labels(0, 2, 1, 3, 8))
    with pytest.raises(InputError, match="8"):
        compare_files(prediction, reference)
    own = {"cavity": OwnRegion((8, 2, 1000), (1, 2, 3))}  # labels below 5 are never a model's own
    ResultRecord("A", {"0": "background"}, "brats2023", (), {}, own=own).write(tmp_path / "prediction.json")
    assert set(np.unique(read_label_map(prediction).array)) == {0, 1, 2, 3, 8}
    for found in (
        compare_files(prediction, reference).measures,
        evaluate_pairs({"A": (prediction, reference)}).results["A"].measures,
    ):
        assert {region: values["dice"] for region, values in found.items()} == {"ET": 1.0, "TC": 1.0, "WT": 1.0}


def test_regions_that_a_models_results_cannot_tell_are_not_measured(tmp_path: Path) -> None:
    reference = write(tmp_path / "r.nii.gz", labels(0, 2, 1, 3, 3))
    prediction = write(tmp_path / "prediction.nii.gz", labels(0, 2, 2, 2, 2))
    record = ResultRecord("A", {"0": "background", "2": "WT"}, "brats2023", ("WT",), {})
    record.write(tmp_path / "prediction.json")
    settings = Settings(("dice", "hd95", "miou"))
    assert compare_files(prediction, reference, settings).measures.keys() == {"WT", "all"}
    evaluation = evaluate_pairs({"A": (prediction, reference)}, settings)
    assert evaluation.means() == {"WT": {"dice": 1.0, "hd95": 0.0}, "all": {"miou": 1.0}}
    assert "ET and TC" in " ".join(evaluation.settings.words())
    turned = evaluate_pairs({"A": (reference, prediction)}, settings)
    assert turned.means()["WT"]["dice"] == 1 and "ET" not in turned.means(), "the other way round, too"
    whole = evaluate_pairs({"A": (prediction, reference), "B": (reference, reference)}, settings)
    assert set(whole.means()) == {"ET", "TC", "WT", "all"}, "one of them knows them"
    write(prediction, labels(0, 2, 2, 3, 3))
    assert compare_files(prediction, reference).measures["ET"]["dice"] == 1, "somebody has drawn on"
    dataclasses.replace(record, regions=()).write(tmp_path / "prediction.json")
    write(prediction, labels(0, 2, 2, 2, 2))
    for compare in (compare_files, lambda *files: evaluate_pairs({"A": files})):
        with pytest.raises(InputError, match="no region"):
            compare(prediction, reference)


def test_the_public_call_measures_what_a_segmentation_knows() -> None:
    reference = Volume(labels(0, 2, 1, 3, 3), AFFINE)
    result = Segmentation("A", Volume(labels(0, 2, 2, 2, 2), AFFINE), ("WT",))
    for pair in ((result, reference), (reference, result), (result, result)):
        assert BrainTumorSegLib.evaluate(*pair, measures=("dice",)) == {"WT": {"dice": 1.0}}
    with pytest.raises(GeometryError, match="different grids"):
        BrainTumorSegLib.evaluate(Volume(reference.array, np.eye(4)), result)


def test_grids_that_differ_are_named_and_resampled_on_request(tmp_path: Path) -> None:
    array = np.zeros((12, 10, 14), np.uint8)
    array[2:9, 3:8, 4:12] = 3
    reference = write(tmp_path / "r.nii.gz", array)
    flipped = AFFINE @ np.diag([-1.0, 1, 1, 1])
    flipped[0, 3] = AFFINE[0, 0] * (array.shape[2] - 1)
    shifted, coarse = AFFINE.copy(), np.diag([1.0, 2.0, 6.0, 1.0])
    shifted[1, 3] = 2.0
    coarse[2, 3] = 1.5  # the same corner as the reference's
    for name, values, affine, words, dice in (
        ("flipped", array[:, :, ::-1], flipped, "axes run LAS against RAS", 1.0),
        ("shifted", array, shifted, "2 mm apart", None),
        ("coarse", array[::2], coarse, "14×10×6 against 14×10×12", None),
        ("stretched", array, np.diag([1.1, 2.0, 3.0, 1.0]), "1.1×2×3 against 1×2×3 mm", None),
    ):
        prediction = write(tmp_path / f"{name}.nii.gz", values, affine)
        with pytest.raises(GeometryError, match=words) as caught:
            compare_files(prediction, reference)
        assert str(prediction) in str(caught.value) and "--resample" in caught.value.remedy
        result = compare_files(prediction, reference, Settings(("dice",), resample=True))
        assert words in result.notes[0] and result.prediction == prediction
        assert 0.75 < result.measures["ET"]["dice"] <= 1
        if dice:
            assert result.measures["ET"]["dice"] == dice


def write_box(path: Path, array: np.ndarray, box: tuple[slice, slice, slice]) -> Path:
    """A box of a label map as 3D Slicer writes it, one segment a tissue."""
    first = [part.start or 0 for part in box]
    return write_segmentation(
        path,
        array[box][None],
        [("NCR", 0, 1), ("ED", 0, 2), ("ET", 0, 3)],
        tuple(np.multiply(first[::-1], (1.0, 2.0, 3.0)).tolist()),
    )


ITK_AFFINE = np.diag([-1.0, -2.0, 3.0, 1.0])  # what write_segmentation's spacing is in RAS


def test_segmentations_of_which_only_a_box_is_stored(tmp_path: Path) -> None:
    """Dice of the whole maps, whichever of them was cut, and however: 2·1 / (1 + 2)."""
    prediction, reference = np.zeros((2, 12, 10, 14), np.uint8)
    prediction[2, 3, 4] = prediction[9, 8, 12] = reference[2, 3, 4] = 3
    whole = (slice(0, 12), slice(0, 10), slice(0, 14))
    around = (slice(2, 10), slice(3, 9), slice(4, 13))
    small, other = (slice(1, 4), slice(2, 5), slice(3, 6)), (slice(2, 11), slice(1, 10), slice(4, 14))
    volumes = write(tmp_path / "p.nii.gz", prediction, ITK_AFFINE), write(tmp_path / "r.nii.gz", reference, ITK_AFFINE)
    boxed = write_box(tmp_path / "p.seg.nrrd", prediction, around), write_box(tmp_path / "r.seg.nrrd", reference, small)
    # The same voxels as another program lists them: x the other way, y and z exchanged.
    affine = ITK_AFFINE @ np.array([[-1, 0, 0, 13], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]])
    turned = [
        write(tmp_path / f"{name}.nii.gz", array[..., ::-1].transpose(1, 0, 2), affine)
        for name, array in (("turned_p", prediction), ("turned_r", reference))
    ]
    pairs = [
        *((p, r) for p in (volumes[0], boxed[0]) for r in (volumes[1], boxed[1])),
        (write_box(tmp_path / "q.seg.nrrd", prediction, other), boxed[1]),
        (boxed[0], write_box(tmp_path / "s.seg.nrrd", reference, whole)),
        (turned[0], boxed[1]),
        (boxed[0], turned[1]),
    ]
    for pair in pairs:
        result = compare_files(*pair)
        assert result.measures["ET"]["dice"] == pytest.approx(2 / 3) and result.notes == ()
        assert result.volumes["ET"] == pytest.approx((0.012, 0.006))


def test_a_segment_beyond_the_other_files_grid_is_not_lost(tmp_path: Path) -> None:
    array = np.zeros((12, 10, 14), np.uint8)
    array[2, 3, 4] = array[9, 8, 12] = 3
    segmentation = write_box(tmp_path / "s.seg.nrrd", array, (slice(0, 12), slice(0, 10), slice(0, 14)))
    cut = write(tmp_path / "c.nii.gz", array[:5], ITK_AFFINE)
    for pair in ((segmentation, cut), (cut, segmentation)):
        with pytest.raises(GeometryError, match=r"1 labelled voxels of .*s\.seg\.nrrd lie outside"):
            compare_files(*pair)
    far = write_segmentation(tmp_path / "f.seg.nrrd", array[None], [("ET", 0, 3)], (90000.0, 0.0, 0.0))
    with pytest.raises(GeometryError, match="do not overlap"):
        compare_files(far, segmentation)


def test_resampling_says_what_falls_outside(tmp_path: Path) -> None:
    array = np.zeros((12, 10, 14), np.uint8)
    array[2:9, 3, 4] = 3
    pair = write(tmp_path / "p.nii.gz", array), write(tmp_path / "r.nii.gz", array[:5])
    (note,) = compare_files(*pair, Settings(("dice",), resample=True)).notes
    assert "4 of its labelled voxels lie outside" in note


def test_segments_say_themselves_what_they_are(tmp_path: Path) -> None:
    array = labels(0, 2, 1, 3)
    segmentation = write_box(tmp_path / "s.seg.nrrd", array, (slice(0, 4), slice(0, 5), slice(0, 4)))
    volume = write(tmp_path / "v.nii.gz", array, ITK_AFFINE)
    settings = with_conventions(Settings(), {"s": frozenset()}, {"v": frozenset({0, 1, 2, 3})})
    assert settings.assumed == ("reference",) and settings.prediction_labels == "auto"
    assert compare_files(segmentation, volume).measures["TC"]["dice"] == 1


def test_images_that_share_no_space_are_not_resampled(tmp_path: Path) -> None:
    array = labels(0, 2, 1, 3)
    away = AFFINE.copy()
    away[:3, 3] = 500
    pair = write(tmp_path / "p.nii.gz", array, away), write(tmp_path / "r.nii.gz", array)
    with pytest.raises(GeometryError, match="do not overlap"):
        compare_files(*pair, Settings(resample=True))


def test_affines_that_differ_by_rounding_are_one_grid(tmp_path: Path) -> None:
    array, nearly = labels(0, 2, 1, 3), AFFINE.copy()
    nearly[0, 3] = 4e-3
    pair = write(tmp_path / "p.nii.gz", array, nearly), write(tmp_path / "r.nii.gz", array)
    assert compare_files(*pair).measures["WT"]["dice"] == 1


def test_label_conventions_of_files(tmp_path: Path) -> None:
    both = write(tmp_path / "both.nii.gz", labels(0, 3, 4, 1))
    decathlon, brats = (
        write(tmp_path / "d.nii.gz", labels(0, 1, 2, 3)),
        write(tmp_path / "b.nii.gz", labels(0, 2, 1, 4)),
    )
    with pytest.raises(InputError, match=r"0, 1, 3, 4") as caught:
        compare_files(both, brats)
    assert "--pred-labels" in caught.value.remedy
    found = compare_files(decathlon, brats, Settings(("dice",), tissues=True, prediction_labels="decathlon"))
    assert all(values["dice"] == 1 for values in found.measures.values())
    assert compare_files(decathlon, brats, Settings(("dice",))).measures["TC"]["dice"] < 1


def test_a_lost_header_is_named_and_voxels_compared_on_request(tmp_path: Path) -> None:
    array = labels(0, 2, 1, 3)
    placed = np.diag([1.0, 1.0, 1.0, 1.0])
    placed[:3, 3] = -90, -126, -72
    reference = write(tmp_path / "r.nii.gz", array, placed)
    prediction = write(tmp_path / "p.nii.gz", array, np.eye(4))
    with pytest.raises(GeometryError, match="header of the prediction") as caught:
        compare_files(prediction, reference)
    assert "--voxelwise" in caught.value.remedy
    result = compare_files(prediction, reference, Settings(("dice",), voxelwise=True))
    assert all(values["dice"] == 1 for values in result.measures.values())
    assert "voxel by voxel" in result.notes[0] and result.spacing == (1, 1, 1)
    small = write(tmp_path / "small.nii.gz", labels(0, 3), placed)
    with pytest.raises(GeometryError, match="shape") as caught:  # no voxel belongs to another
        compare_files(small, reference, Settings(voxelwise=True))
    assert "--voxelwise" not in caught.value.remedy
    with pytest.raises(RequestError):
        Settings(resample=True, voxelwise=True)


def test_a_resection_cavity_is_in_no_region(tmp_path: Path) -> None:
    prediction = write(tmp_path / "p.nii.gz", labels(0, 2, 1, 3, 0, 0))
    reference = write(tmp_path / "r.nii.gz", labels(0, 2, 1, 3, 4, 4))
    with pytest.raises(InputError) as caught:
        compare_files(prediction, reference)
    assert "--ref-labels: brats2024" in caught.value.remedy
    found = compare_files(prediction, reference, Settings(("dice",), reference_labels="brats2024"))
    assert all(values["dice"] == 1 for values in found.measures.values())


@pytest.mark.parametrize("inside", [1, 255])
def test_masks_of_the_whole_tumour_are_measured_as_that_alone(tmp_path: Path, inside: int) -> None:
    prediction = write(tmp_path / "p.nii.gz", labels(0, 2, 1, 3, 0))
    reference = write(tmp_path / "r.nii.gz", labels(0, inside, inside, inside, inside))
    with pytest.raises(InputError) as caught:
        compare_files(prediction, reference)
    assert "whole" in caught.value.remedy
    settings = Settings(("dice", "miou"), reference_labels="whole", tissues=True)
    found = compare_files(prediction, reference, settings).measures
    assert found == {"WT": {"dice": pytest.approx(6 / 7)}, "all": {"miou": pytest.approx(3 / 4)}}
