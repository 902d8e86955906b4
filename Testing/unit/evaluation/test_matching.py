"""Which prediction belongs to which reference."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.evaluation import match


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    folder.mkdir(exist_ok=True)
    return folder


def test_every_way_to_name_a_reference(tmp_path: Path) -> None:
    predictions = touch(
        tmp_path / "p", "B.nii.gz", "A.nii.gz", "C_seg.nrrd", "D-seg.mha", ".hidden.nii.gz", "notes.txt"
    )
    references = touch(
        tmp_path / "r", "A/A_seg.nii.gz", "A/A_t1.nii.gz", "B/B-seg.nii.gz", "C.nii.gz", "site/D/D_SEG.nii", "E_seg.nii"
    )
    found = match(predictions, references)
    assert list(found) == ["A", "B", "C", "D"]
    assert found["A"] == (predictions / "A.nii.gz", references / "A/A_seg.nii.gz")
    assert found["D"] == (predictions / "D-seg.mha", references / "site/D/D_SEG.nii")


def test_predictions_in_case_folders(tmp_path: Path) -> None:
    predictions, references = touch(tmp_path / "p", "A/A_seg.nii.gz"), touch(tmp_path / "r", "A.nii.gz")
    assert match(predictions, references) == {"A": (predictions / "A/A_seg.nii.gz", references / "A.nii.gz")}


def test_what_is_called_a_segmentation_alone_has_the_case_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions = touch(tmp_path / "p", "A/seg.nii.gz", "B/segmentation.nii.gz")
    references = touch(tmp_path / "r", "A/A_seg.nii.gz", "A/seg.nii.gz", "B/mask/Segm.nii", "B/B-seg.nii")
    found = match(predictions, references)
    assert found["A"] == (predictions / "A/seg.nii.gz", references / "A/A_seg.nii.gz")
    assert found["B"] == (predictions / "B/segmentation.nii.gz", references / "B/B-seg.nii")
    assert list(match(predictions / "A", references)) == ["A"]
    assert list(match(predictions / "A/seg.nii.gz", references / "B/B-seg.nii")) == ["A"]
    monkeypatch.chdir(predictions / "A")
    assert list(match(Path("seg.nii.gz"), references / "B/B-seg.nii")) == ["A"]
    assert list(match(Path(), references)) == ["A"]
    with pytest.raises(RequestError, match=r"1 of 1 predictions have no reference in .*: B"):
        match(Path("../B"), references / "A")


def test_label_maps_of_bids(tmp_path: Path) -> None:
    predictions = touch(tmp_path / "p", "sub-1/ses-2/anat/sub-1_ses-2_space-orig_dseg.nii.gz", "dseg.tsv")
    references = touch(tmp_path / "r", "sub-1/ses-2/anat/sub-1_ses-2_dseg.nii.gz", "sub-2/anat/sub-2_dseg.nii.gz")
    assert list(match(predictions, references)) == ["sub-1_ses-2"]
    assert list(match(predictions, touch(tmp_path / "plain", "sub-1_ses-2.nii.gz"))) == ["sub-1_ses-2"]


def test_results_on_the_grids_of_other_images_are_no_cases(tmp_path: Path) -> None:
    predictions = touch(tmp_path / "p", "A.nii.gz", "A_on_flair.nii.gz", "B_on_t2.nii.gz")
    record = {"case": "A", "measurements": {}, "provenance": {}, "use": ""}
    (predictions / "A.json").write_text(json.dumps(record))
    references = touch(tmp_path / "r", "A.nii.gz", "B_on_t2.nii.gz")
    assert list(match(predictions, references)) == ["A", "B_on_t2"]  # the latter's name is all that speaks for it


def test_two_files_match_whatever_their_names(tmp_path: Path) -> None:
    folder = touch(tmp_path, "mine.nii.gz", "truth_seg.nii.gz")
    assert list(match(folder / "mine.nii.gz", folder / "truth_seg.nii.gz")) == ["mine"]


def test_missing_partners_are_named(tmp_path: Path) -> None:
    predictions = touch(tmp_path / "p", *(f"case{i}.nii.gz" for i in range(8)))
    references = touch(tmp_path / "r", "case0.nii.gz")
    with pytest.raises(RequestError, match=r"7 of 8 predictions .*: case1, case2, case3, case4, case5 …") as caught:
        match(predictions, references)
    assert "<case>_seg.nii.gz" in caught.value.remedy


def test_two_files_for_one_case_are_not_guessed_at(tmp_path: Path) -> None:
    predictions = touch(tmp_path / "p", "A.nii.gz", "A_seg.nii.gz")
    references = touch(tmp_path / "r", "A.nii.gz")
    with pytest.raises(RequestError, match=r"look like case A"):
        match(predictions, references)
    with pytest.raises(RequestError, match=r"look like case A"):
        match(references, touch(tmp_path / "two", "x/A_seg.nii.gz", "y/A_seg.nii.gz"))


def test_what_is_no_pair(tmp_path: Path) -> None:
    full, empty = touch(tmp_path / "full", "A.nii.gz"), touch(tmp_path / "empty")
    for pair, words in (
        ((empty, full), "holds no segmentation"),
        ((full, empty), "no reference"),
        ((full / "A.nii.gz", full), "a file and a folder"),
        ((tmp_path / "nowhere", full), "does not exist"),
    ):
        with pytest.raises(RequestError, match=words):
            match(*pair)


def test_patient_355_of_brats_2020_and_slicers_segmentations(tmp_path: Path) -> None:
    predictions = touch(tmp_path / "p", "BraTS20_Training_355.nii.gz", "B.seg.nrrd", "C.nii.gz")
    odd = "BraTS20_Training_355/W39_1998.09.19_Segm.nii"
    references = touch(
        tmp_path / "r", odd, "BraTS20_Training_355/BraTS20_Training_355_t1.nii", "B/B_seg.nii", "C.seg.nrrd"
    )
    found = match(predictions, references)
    assert found["BraTS20_Training_355"][1] == references / odd
    assert found["B"] == (predictions / "B.seg.nrrd", references / "B/B_seg.nii")
    assert found["C"][1] == references / "C.seg.nrrd"
