"""Two examinations of one phantom, the head held otherwise in the second."""

from __future__ import annotations

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage

from BrainTumorSegLib.domain.errors import GeometryError, RequestError
from BrainTumorSegLib.domain.grid import Grid
from BrainTumorSegLib.domain.labels import ED, ET, REGIONS
from BrainTumorSegLib.domain.result_record import ModelRecord, Provenance, ResultRecord, record_path
from BrainTumorSegLib.domain.segmentation import Segmentation
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.case_folder import read_case
from BrainTumorSegLib.io.registry import beside_result, write_result, write_volume
from BrainTumorSegLib.longitudinal import TimePoint, compare, read_time_point
from BrainTumorSegLib.longitudinal.change import Lesions
from BrainTumorSegLib.phantom import Phantom, make_phantom
from BrainTumorSegLib.preprocessing.resampling import onto
from BrainTumorSegLib.report.change import write_change_report
from Testing.dicom_series import write_series
from Testing.raw_scans import motion

SHAPE = (78, 120, 120)
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
POINT = TimePoint(Path("earlier.nii.gz"), Volume(np.zeros((20, 40, 40), np.uint8), AFFINE), tuple(REGIONS))


@functools.cache
def phantom() -> Phantom:
    return make_phantom(0, SHAPE)


def examination(name: str, labels: np.ndarray, image: str, move: np.ndarray | None = None) -> TimePoint:
    """The phantom with these labels, its head moved."""
    affine = (np.eye(4) if move is None else move) @ phantom().labels.affine
    scan = Volume(phantom().case.images[image].array, affine, f"{name} {image}")
    return TimePoint(Path(f"{name}.nii.gz"), Volume(labels, affine), tuple(REGIONS), image=scan)


def boxes(*lesions: tuple[int, ...], label: int = ED) -> TimePoint:
    """Cubes of 8 voxels of 2 mm a side at these corners, without an image."""
    labels = np.zeros((20, 40, 40), np.uint8)
    for z, y, x in lesions:
        labels[z : z + 8, y : y + 8, x : x + 8] = label
    return dataclasses.replace(POINT, file=Path(f"{len(lesions)}.nii.gz"), labels=Volume(labels, AFFINE))


def test_sizes_of_label_maps_alone_are_compared_and_lesions_are_not_followed() -> None:
    change = compare(boxes((0, 0, 0)), boxes((0, 0, 0), (0, 20, 20)), days=365)
    whole = change.regions["WT"]
    assert (whole.earlier.volume_ml, whole.later.volume_ml) == pytest.approx((4.096, 8.192))
    assert whole.change_share == pytest.approx(1) and whole.by_volume == whole.by_diameters == "PD"
    # A ball of 4.096 mL measures 19.85 mm, one of twice as much 25.01.
    assert whole.growth_mm_a_year == pytest.approx(5.16 * 365.25 / 365, abs=0.01)
    assert whole.lesions is None and np.isnan(whole.new_ml) and "No image is known" in change.warnings[0]
    assert change.regions["TC"].by_volume == ""


def test_the_earlier_tumour_is_found_again_where_the_head_was_held_otherwise() -> None:
    labels = phantom().labels.array
    core = ndimage.binary_erosion(labels > 0, iterations=3)
    smaller = np.where(core, labels, 0).astype(np.uint8)
    far = np.zeros(SHAPE, bool)
    brain = phantom().case.images["t1"].array > 0
    place = np.argwhere(
        ndimage.binary_erosion(brain, iterations=8) & (ndimage.distance_transform_edt(labels == 0) > 12)
    )[0]
    far[tuple(slice(i - 3, i + 4) for i in place)] = True
    earlier = examination("earlier", np.where(far, ET, smaller).astype(np.uint8), "t1", motion())
    change = compare(earlier, examination("later", labels, "t1ce"))
    assert change.overlaid is not None and change.overlaid.move.angle_deg == pytest.approx(15.7, abs=1.0)
    truth = {"kept": core, "new": (labels > 0) & ~core, "gone": far}
    whole, voxel = change.regions["WT"], phantom().labels.voxel_volume / 1000
    for name, mask in truth.items():
        assert getattr(whole, f"{name}_ml") == pytest.approx(np.count_nonzero(mask) * voxel, rel=0.1), name
    assert whole.lesions is not None and (whole.lesions.new, whole.lesions.gone) == (0, 1)
    assert change.as_json()["registration"]["angle_deg"] == pytest.approx(change.overlaid.move.angle_deg, abs=1e-3)


def test_two_people_are_refused() -> None:
    labels = phantom().labels.array
    later = examination("later", labels, "t1ce")
    image = later.image
    assert image is not None
    other = dataclasses.replace(later, image=image.with_array(np.ascontiguousarray(image.array[::-1])))
    with pytest.raises(GeometryError):
        compare(examination("earlier", labels, "t1"), other)


def test_what_tells_the_results_apart_is_said() -> None:
    def made_by(version: str, expected: float) -> ResultRecord:
        made = Provenance(model=ModelRecord("m", version))
        return ResultRecord("P", {}, "brats2023", ("TC", "WT"), {}, {"WT": expected}, ("Look.",), made)

    earlier = dataclasses.replace(boxes((0, 0, 0)), record=made_by("1", 0.5), regions=("TC", "WT"))
    later = dataclasses.replace(boxes((0, 0, 0), (0, 20, 20)), record=made_by("2", 0.9))
    change = compare(earlier, later)
    told = " ".join(change.warnings)
    assert list(change.regions) == ["TC", "WT"]
    assert (
        "ET is not compared" in told
        and "m 1 and of m 2" in told
        and "The earlier result: The expected Dice of WT" in told
    )
    assert "The later result: The expected" not in told and "The later result: Look." in told


@pytest.mark.parametrize(
    ("later", "days", "says"),
    [
        (boxes((0, 0, 0)), None, "twice"),
        (boxes(), 0, "0 days"),
        (dataclasses.replace(boxes(), regions=()), None, "no region in common"),
    ],
)
def test_what_cannot_be_compared_is_refused(later: TimePoint, days: int | None, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        compare(boxes((0, 0, 0)), later, days)


def test_a_label_map_of_others_is_read_with_the_image_that_is_named(tmp_path: Path) -> None:
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1, 2, 3] = 4
    write_volume(Volume(labels, AFFINE), tmp_path / "seg.nii.gz")
    write_volume(Volume(labels.astype(np.int16), AFFINE), tmp_path / "t1.nii.gz")
    point = read_time_point(tmp_path / "seg.nii.gz", tmp_path / "t1.nii.gz")
    assert point.labels.array[1, 2, 3] == ET and point.image is not None and point.record is None


def test_the_page_shows_both_examinations(tmp_path: Path) -> None:
    labels = phantom().labels.array
    smaller = np.where(ndimage.binary_erosion(labels > 0, iterations=3), labels, 0).astype(np.uint8)
    change = compare(examination("earlier", smaller, "t1"), examination("later", labels, "t1ce"))
    write_change_report(change, tmp_path / "change.html")
    page = (tmp_path / "change.html").read_text("utf-8")
    assert page.count("<img ") == 12 and "progressive disease" in page


def test_a_segmentation_that_stores_a_box_is_placed_on_its_image(tmp_path: Path) -> None:
    """Only the box around the segments is in such a file; what lay outside it earlier must not be lost."""
    image = sitk.GetImageFromArray(np.ones((2, 3, 4), np.uint8))
    image.SetSpacing((2.0, 2.0, 2.0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))  # along RAS, in the LPS of the file
    image.SetOrigin((-4, -6, 8))  # two, three and four voxels from the image's first
    for key, text in (("Name", "ET"), ("ID", "Segment_1"), ("Layer", "0"), ("LabelValue", "1")):
        image.SetMetaData(f"Segment0_{key}", text)
    segmentation = tmp_path / "later.seg.nrrd"
    sitk.WriteImage(image, str(segmentation))
    write_volume(Volume(np.ones((20, 40, 40), np.int16), AFFINE), tmp_path / "t1.nii.gz")
    point = read_time_point(segmentation, tmp_path / "t1.nii.gz")
    assert point.labels.shape == (20, 40, 40)
    assert np.count_nonzero(point.labels.array) == 24 and (point.labels.array[4:6, 3:6, 2:6] == ET).all()


def test_a_dicom_segmentation_of_the_whole_tumour_alone_is_placed_on_its_series(tmp_path: Path) -> None:
    """That it has no ET and TC, its record says."""
    labels = np.zeros((20, 40, 40), np.uint8)
    labels[5:8, 10:14, 20:26] = ED
    grey = np.random.default_rng(0).integers(1, 99, labels.shape).astype(np.int16)
    write_series(Volume(grey, AFFINE), tmp_path / "series", "flair")
    case = read_case(tmp_path / "series")
    on = case.reference_volume
    made = {"model": {"id": "m", "version": "1", "sha256": "0" * 64}, "versions": {"braintumorseg": "1"}}
    there = onto(labels, Grid(labels.shape, AFFINE), Grid.of(on), nearest=True)
    result = Segmentation("P", on.with_array(there), ("WT",), made)
    file = tmp_path / "tumour.dcm"
    write_result(result, "segments", file, *beside_result(file))
    ResultRecord("P", {}, "segments", ("WT",), {}, provenance=Provenance(model=ModelRecord("m", "1"))).write(
        record_path(file)
    )
    point = read_time_point(file, tmp_path / "series")
    assert point.regions == ("WT",) and point.image is not None
    assert np.array_equal(point.labels.array > 0, result.labels.array > 0)


def test_a_rest_of_a_lesion_is_no_complete_response() -> None:
    """A cube of 16 mm shrinks to one of 6 mm, which is too small for diameters."""
    later = boxes((0, 0, 0), label=ET)
    later.labels.array[3:] = later.labels.array[:, 3:] = later.labels.array[:, :, 3:] = 0
    earlier = dataclasses.replace(boxes((0, 0, 0), label=ET), file=Path("earlier.nii.gz"))
    change = compare(earlier, later).regions["ET"]
    assert change.later.volume_ml > 0
    assert (change.by_diameters, change.by_volume) == ("not measurable", "PR")


def test_what_one_image_does_not_show_has_neither_gone_nor_come() -> None:
    """The later image lacks the slices with one of two lesions; the other way round that lesion is none that is new."""
    brain = phantom().case.images["t1"].array > 0
    inner = ndimage.binary_erosion(brain, iterations=6)
    levels = np.flatnonzero(inner.any(axis=(1, 2)))
    low, high = int(levels[len(levels) // 6]), int(levels[len(levels) * 2 // 3])
    labels = np.zeros(SHAPE, np.uint8)
    for level in (low, high):
        y, x = (round(place) for place in np.argwhere(inner[level]).mean(axis=0))
        labels[level - 2 : level + 3, y - 3 : y + 4, x - 3 : x + 4] = ET
    whole = examination("whole", labels, "t1")
    cut = examination("cut", labels, "t1ce")
    assert cut.image is not None
    grid = Grid.of(cut.image).cropped((slice(low + 6, SHAPE[0]), slice(0, SHAPE[1]), slice(0, SHAPE[2])))
    scan, found = (Volume(each.array[low + 6 :], grid.affine, each.source) for each in (cut.image, cut.labels))
    slab = dataclasses.replace(cut, labels=found, image=scan)
    for earlier, later in ((whole, slab), (slab, whole)):
        change = compare(earlier, later, days=100)
        region = change.regions["ET"]
        assert region.lesions == Lesions(kept=1, new=0, gone=0)
        assert region.new_ml < 0.3 and region.gone_ml < 0.3  # a voxel's edge
        assert (region.by_volume, region.by_diameters) == ("not measurable", "not measurable")
        assert np.isnan(region.growth_mm_a_year)
        assert any("lie outside" in warning for warning in change.warnings)


def test_two_results_of_one_image_are_no_two_examinations(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_volume(Volume(np.ones((4, 5, 6), np.uint8), AFFINE), tmp_path / f"{name}.nii.gz")
    write_volume(Volume(np.ones((4, 5, 6), np.int16), AFFINE), tmp_path / "t1.nii.gz")
    one, two = (read_time_point(tmp_path / f"{name}.nii.gz", tmp_path / "t1.nii.gz") for name in ("one", "two"))
    with pytest.raises(RequestError, match=r"t1\.nii\.gz"):
        compare(one, two)


def test_an_image_is_looked_for_beside_its_record_not_where_the_command_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records of earlier versions name files as they were typed; another patient's may be called alike."""
    for number, folder in enumerate(("patient", "other")):
        (tmp_path / folder).mkdir()
        write_volume(Volume(np.full((4, 5, 6), number, np.int16), AFFINE), tmp_path / folder / "t1.nii.gz")
    write_volume(Volume(np.ones((4, 5, 6), np.uint8), AFFINE), tmp_path / "patient" / "seg.nii.gz")
    made = Provenance(inputs={"t1": "t1.nii.gz"}, reference="t1")
    record = ResultRecord("P", {}, "brats2023", ("WT",), {}, {}, (), made)
    (tmp_path / "patient" / "seg.json").write_text(json.dumps(record.as_json()))
    monkeypatch.chdir(tmp_path / "other")
    point = read_time_point(tmp_path / "patient" / "seg.nii.gz")
    assert point.image is not None and not point.image.array.any()
    (tmp_path / "patient" / "t1.nii.gz").unlink()
    assert read_time_point(tmp_path / "patient" / "seg.nii.gz").image is None
