"""Pictures of errors: the right slice, the right place, the right colours."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.grid import Grid, reorient
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.evaluation import Settings, evaluate_pairs, match
from BrainTumorSegLib.io.registry import write_volume
from BrainTumorSegLib.report import write_cohort_report
from BrainTumorSegLib.report.examples import examples, find_case_images, ranked
from BrainTumorSegLib.report.figures.overlays import FALSE, MISSED, PANEL, Overlay, overlays, sheet

SHAPE = (12, 60, 50)  # z, y, x along LPS
AFFINE = np.array([[-2.0, 0, 0, 50], [0, -2, 0, 60], [0, 0, 3, -6], [0, 0, 0, 1]])
TUMOUR = (slice(4, 8), slice(10, 30), slice(30, 44))  # in front, left


def head(codes: str = "LPS") -> Volume:
    """A bright block with a dark border."""
    image = np.zeros(SHAPE, np.float32)
    image[1:-1, 4:-4, 4:-4] = 100 + np.arange(SHAPE[2] - 8)
    return oriented(image, codes)


def oriented(array: np.ndarray, codes: str) -> Volume:
    grid = Grid(SHAPE, AFFINE).oriented(codes)
    return Volume(np.ascontiguousarray(reorient(array, AFFINE, codes)), grid.affine)


def labels(**boxes: tuple[slice, ...]) -> np.ndarray:
    """Boxes of oedema, core and enhancing tumour, in this order."""
    array = np.zeros(SHAPE, np.uint8)
    for name, value in (("ed", 2), ("ncr", 1), ("et", 3)):
        if name in boxes:
            array[boxes[name]] = value
    return array


def shown(prediction: np.ndarray, reference: np.ndarray, codes: str = "LPS", **images: Volume) -> list[Overlay]:
    case = Case("made", images or {"flair": head(codes), "t1ce": head(codes)})
    return overlays(case, oriented(prediction, codes), oriented(reference, codes))


def painted(pixels: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Where a colour lies three quarters opaque over any grey."""
    grey = (pixels - 0.75 * np.asarray(colour)) / 0.25
    return np.asarray((np.ptp(grey, axis=-1) < 6) & (grey.mean(axis=-1) > -3) & (grey.mean(axis=-1) < 258))


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR"])
def test_missed_and_false_parts_lie_on_their_sides(codes: str) -> None:
    # The prediction is the reference moved 4 voxels (8 mm) to the patient's left and 6 (12 mm) to the front.
    z, y, x = TUMOUR
    moved = labels(ed=(z, slice(y.start - 6, y.stop - 6), slice(x.start + 4, x.stop + 4)))
    (overlay,) = shown(moved, labels(ed=TUMOUR), codes)
    errors = overlay.panels[3].pixels
    missed, false = (np.argwhere(painted(errors, colour)).mean(axis=0) for colour in (MISSED, FALSE))
    assert false[0] < missed[0] - 40  # the front is up
    assert false[1] > missed[1] + 40  # the left is on the right
    # Both differ by 14 × 20 − 10 × 14 = 140 voxels of 4 mm² in the slice.
    assert overlay.panels[3].title == "Errors of WT: missed 5.6 cm², false 5.6 cm²"
    parts = [painted(errors, colour).sum() for colour in (MISSED, FALSE)]
    assert parts[0] == pytest.approx(parts[1], rel=0.1)


def test_slice_is_that_with_most_wrong_voxels() -> None:
    prediction = labels(ed=TUMOUR)
    prediction[6, 10:30, 30:40] = 0
    (overlay,) = shown(prediction, labels(ed=TUMOUR))
    assert overlay.panels[0].title == "FLAIR, slice at S 12 mm"  # −6 + 6 · 3


def test_slice_of_a_perfect_region_is_its_largest() -> None:
    reference = labels(ed=TUMOUR)
    reference[5, 8:34, 30:44] = 2
    (overlay,) = shown(reference, reference)
    assert overlay.panels[0].title == "FLAIR, slice at S 9 mm"
    assert "missed 0.0 cm², false 0.0 cm²" in overlay.panels[3].title
    assert not painted(overlay.panels[3].pixels, MISSED).any() and not painted(overlay.panels[3].pixels, FALSE).any()


def test_a_row_for_every_region_on_the_sequence_that_shows_it() -> None:
    reference = labels(ed=TUMOUR, ncr=(slice(5, 7), slice(14, 24), slice(32, 40)))
    found = shown(reference, reference)
    assert [(o.region, o.sequence) for o in found] == [("WT", "flair"), ("TC", "t1ce")]  # no ET: passed over
    only = shown(reference, reference, t2=head())
    assert [o.sequence for o in only] == ["t2", "t2"]
    assert shown(labels(), labels()) == []


def test_images_on_other_grids_are_brought_onto_the_reference() -> None:
    fine = head()
    coarse = Volume(fine.array[:, ::2, ::2], fine.affine @ np.diag([2.0, 2, 1, 1]))
    (first,), (second,) = (shown(labels(ed=TUMOUR), labels(ed=TUMOUR), flair=image) for image in (fine, coarse))
    zoomed = [overlay.panels[3].pixels.astype(float).ravel() for overlay in (first, second)]
    assert np.corrcoef(zoomed)[0, 1] > 0.8  # blurred edges darken the window; half the size would give 0.2


def test_panels_and_sheets_are_pictures() -> None:
    found = shown(labels(ed=TUMOUR), labels(ed=TUMOUR))
    for panel in found[0].panels:
        image = Image.open(io.BytesIO(panel.jpeg()))
        assert image.format == "JPEG" and image.size == (PANEL, PANEL) and panel.description
    image = Image.open(io.BytesIO(sheet("患者\udcff", found)))
    assert image.format == "PNG" and image.width > 4 * PANEL


def test_colours_of_errors_differ_for_every_eye() -> None:
    # Machado 2009, full dichromacy, on linear light; and in grey.
    blindness = (
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
        [[0.2126, 0.7152, 0.0722]] * 3,
    )
    for matrix in blindness:
        seen = [np.asarray(matrix) @ (np.asarray(colour) / 255) ** 2.2 for colour in (MISSED, FALSE)]
        assert np.linalg.norm(np.clip(seen[0], 0, 1) - np.clip(seen[1], 0, 1)) > 0.2


# --- which cases, and their images -------------------------------------------------------------------------


def cohort(folder: Path, images: bool = True) -> None:
    """Four patients; of patient n the prediction misses n slices of the tumour. Patient 3 has no image."""
    for number in range(4):
        place = folder / "ref" / f"p{number}"
        reference = labels(ed=TUMOUR)
        prediction = reference.copy()
        prediction[4 : 4 + number] = 0
        write_volume_in(place / f"p{number}_seg.nii.gz", reference)
        write_volume_in(folder / "pred" / f"p{number}.nii.gz", prediction)
        if images and number != 3:
            write_volume(head(), place / f"p{number}_flair.nii.gz")


def write_volume_in(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(Volume(array, AFFINE), path)


def test_worst_and_best_cases_are_shown_once(tmp_path: Path) -> None:
    cohort(tmp_path)
    evaluation = evaluate_pairs(match(tmp_path / "pred", tmp_path / "ref"), Settings(measures=("dice",)))
    assert [case for case, _ in ranked(evaluation)] == ["p3", "p2", "p1", "p0"]
    found = examples(evaluation, 1)
    assert [(e.kind, e.case, len(e.overlays)) for e in found] == [("worst", "p3", 0), ("best", "p0", 1)]
    assert found[0].remark == "No images of it were found." and found[1].score == 1
    assert [e.case for e in examples(evaluation, 9)] == ["p3", "p2", "p0", "p1"]


def test_regions_that_are_not_measured_have_no_errors(tmp_path: Path) -> None:
    write_volume_in(
        tmp_path / "ref" / "p_seg.nii.gz", labels(ed=TUMOUR, ncr=(slice(5, 7), slice(14, 24), slice(32, 40)))
    )
    write_volume(head(), tmp_path / "ref" / "p_flair.nii.gz")
    write_volume_in(tmp_path / "pred" / "p.nii.gz", (labels(ed=TUMOUR) > 0).astype(np.uint8))
    settings = Settings(measures=("dice",), prediction_labels="whole")
    evaluation = evaluate_pairs(match(tmp_path / "pred", tmp_path / "ref"), settings)
    (found,) = examples(evaluation, 1)
    assert [overlay.region for overlay in found.overlays] == ["WT"]
    write_cohort_report(evaluation, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text("utf-8")
    assert "Dice of WT." in text and "Errors of WT" in text and "Errors of TC" not in text


def test_distances_rank_the_other_way(tmp_path: Path) -> None:
    cohort(tmp_path, images=False)
    evaluation = evaluate_pairs(match(tmp_path / "pred", tmp_path / "ref"), Settings(measures=("hd95",)))
    assert ranked(evaluation)[0][0] == "p3" and ranked(evaluation)[-1] == ("p0", 0.0)


def test_images_that_cannot_be_used_are_reported(tmp_path: Path) -> None:
    cohort(tmp_path)
    (tmp_path / "ref" / "p0" / "p0_flair.nii.gz").write_bytes(b"no image")
    far = Volume(head().array, AFFINE + np.array([[0, 0, 0, 900.0], [0] * 4, [0] * 4, [0] * 4]))
    write_volume(far, tmp_path / "ref" / "p1" / "p1_flair.nii.gz")
    evaluation = evaluate_pairs(match(tmp_path / "pred", tmp_path / "ref"), Settings(measures=("dice",)))
    remarks = {example.case: example.remark for example in examples(evaluation, 2)}
    assert "cannot be read" in remarks["p0"] and "do not overlap" in remarks["p1"]


def test_images_are_found_in_the_usual_places(tmp_path: Path) -> None:
    def touch(*names: str) -> None:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()

    touch("a/x/x_seg.nii.gz", "a/x/x_t1.nii.gz", "a/x/x_flair.nii.gz", "a/x/notes.txt")
    touch("b/x.nii.gz", "b/x-t2w.nii.gz", "b/x1-t1n.nii.gz", "c/x/t1ce.nii.gz")
    beside = find_case_images("x", tmp_path / "a/x/x_seg.nii.gz")
    assert {name: path.name for name, path in beside.items()} == {"t1": "x_t1.nii.gz", "flair": "x_flair.nii.gz"}
    assert find_case_images("x", tmp_path / "b/x.nii.gz") == {"t2": tmp_path / "b/x-t2w.nii.gz"}  # not those of x1
    assert find_case_images("x", tmp_path / "b/x.nii.gz", tmp_path / "c") == {"t1ce": tmp_path / "c/x/t1ce.nii.gz"}
    assert find_case_images("x", tmp_path / "b/x.nii.gz", tmp_path / "none") == {}
