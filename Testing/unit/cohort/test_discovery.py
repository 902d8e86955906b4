"""Which cases a folder holds, and what is said of the rest."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from BrainTumorSegLib.cohort.discovery import find_cohort
from BrainTumorSegLib.cohort.outcome import stamps
from BrainTumorSegLib.domain.errors import InputError, OutputError
from BrainTumorSegLib.io.registry import write_volume
from Testing.dicom_series import write_series
from Testing.samples import Patient

OUT = Path("out")


def put(patient: Patient, path: Path, name: str = "flair") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(patient.images[name], path)
    return path


def test_a_bids_data_set_without_its_derivatives(tmp_path: Path, patient: Patient) -> None:
    (tmp_path / "dataset_description.json").write_text("{}")
    for place in ("sub-1/anat/sub-1_FLAIR", "derivatives/other/sub-1/anat/sub-1_FLAIR", "sourcedata/sub-1/FLAIR"):
        put(patient, tmp_path / f"{place}.nii.gz")
    found = find_cohort(tmp_path, tmp_path / "derivatives" / "braintumorseg")
    assert [case.id for case in found.cases] == ["sub-1"]
    assert set(found.left_out) == {"derivatives", "sourcedata"} and "BIDS" in found.left_out["derivatives"]


def test_results_inside_the_root_are_no_cases(tmp_path: Path, patient: Patient) -> None:
    put(patient, tmp_path / "A" / "flair.nii.gz")
    put(patient, tmp_path / "results" / "A_t1.nii.gz")
    found = find_cohort(tmp_path, tmp_path / "results")
    assert [case.id for case in found.cases] == ["A"] and found.left_out == {"results": "the output folder"}


def test_no_folder_that_is_written_to_holds_cases(tmp_path: Path, patient: Patient) -> None:
    root = tmp_path / "study"
    put(patient, root / "A" / "flair.nii.gz")
    put(patient, root / "pre" / "A" / "A_flair.nii.gz")
    put(patient, root / "results" / "B" / "B_t1.nii.gz")
    (tmp_path / "link").symlink_to(root, target_is_directory=True)
    for folder in (root, tmp_path / "link", root / "pre" / ".."):
        found = find_cohort(root, folder / "results", [folder / "pre", tmp_path / "elsewhere"])
        assert [case.id for case in found.cases] == ["A"] and set(found.left_out) == {"pre", "results"}
    with pytest.raises(OutputError, match="is the folder of patients"):
        find_cohort(root, OUT, [tmp_path / "link"])


@pytest.mark.parametrize("output", [".", ".."])
def test_a_root_inside_the_output_is_refused(tmp_path: Path, patient: Patient, output: str) -> None:
    put(patient, tmp_path / "study" / "A" / "flair.nii.gz")
    with pytest.raises(OutputError, match="lies in the output folder"):
        find_cohort(tmp_path / "study", tmp_path / "study" / output)


def test_numbered_sequences_by_the_names_of_the_data_set(tmp_path: Path, patient: Patient) -> None:
    for number in range(3):
        put(patient, tmp_path / "imagesTr" / f"P_1_{number:04d}.nii.gz")
    put(patient, tmp_path / "labelsTr" / "P_1.nii.gz")
    assert "imagesTr" in find_refused(tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1-Gd", "1": "FLAIR", "2": "ADC"}}))
    found = find_cohort(tmp_path, OUT)
    (case,) = found.cases
    names = {modality: path.name for modality, path in case.files.items()}
    assert case.id == "P_1" and names == {"t1ce": "P_1_0000.nii.gz", "flair": "P_1_0001.nii.gz"}
    assert case.read().id == "P_1" and found.left_out == {"labelsTr": "labels of the data set"}


def test_a_root_without_cases_says_what_it_holds(tmp_path: Path, patient: Patient) -> None:
    (tmp_path / "empty").mkdir()
    put(patient, tmp_path / "scans" / "image7.nii.gz")
    text = find_refused(tmp_path)
    assert "empty: it holds no image" in text and "image7.nii.gz" in text


def test_a_bids_data_set_one_folder_down_is_said_to_lie_too_deep(tmp_path: Path, patient: Patient) -> None:
    home = tmp_path / "BIDS"
    put(patient, tmp_path / "A-000" / "flair.nii.gz")
    for place in ("derivatives/prepared/sub-01/ses-a/anat", "sub-01/ses-a/anat", "sub-02/ses-a/anat"):
        put(patient, home / place / f"{place.split('/')[-3]}_ses-a_FLAIR.nii.gz")
    put(patient, home / "sub-01" / "ses-a" / "anat" / "sub-01_ses-a_angio.nii.gz")
    (home / "dataset_description.json").write_text("{}")
    found = find_cohort(tmp_path, OUT)
    assert [case.id for case in found.cases] == ["A-000"]
    image = Path("sub-01", "ses-a", "anat", "sub-01_ses-a_FLAIR.nii.gz")
    why = f"{image} lies deeper than is looked; give {home} itself as the folder of patients"
    assert found.left_out == {"BIDS": why}  # not the derivatives, though they come first
    assert [case.id for case in find_cohort(home, OUT).cases] == ["sub-01_ses-a", "sub-02_ses-a"]
    shutil.rmtree(tmp_path / "A-000")
    assert why in find_refused(tmp_path)


def test_patients_that_lie_deeper_than_others_are_said(tmp_path: Path, patient: Patient) -> None:
    put(patient, tmp_path / "site" / "sub-01" / "ses-1" / "sub-01_flair.nii.gz")
    deep = put(patient, tmp_path / "site" / "more" / "sub-02" / "ses-1" / "sub-02_flair.nii.gz")
    put(patient, tmp_path / "site" / "sub-01" / "ses-1" / "x" / "y" / "again_flair.nii.gz")  # of a case
    found = find_cohort(tmp_path, OUT)
    assert [case.id for case in found.cases] == ["sub-01_ses-1"], "a session alone would not say whose it is"
    home = tmp_path / "site"
    why = f"lies deeper than is looked; give {home} itself as the folder of patients"
    assert found.left_out == {deep.relative_to(tmp_path).as_posix(): why}
    assert len(find_cohort(home, OUT).cases) == 2


@pytest.mark.parametrize("channels", [{}, {"0": "FLAIR"}])
def test_a_data_set_with_a_folder_of_images_one_folder_down(
    tmp_path: Path, patient: Patient, channels: dict[str, str]
) -> None:
    home = tmp_path / "Task"
    put(patient, tmp_path / "A" / "flair.nii.gz")
    image = put(patient, home / "imagesTr" / ("P_0000.nii.gz" if channels else "P.nii.gz"))
    put(patient, home / "labelsTr" / "P.nii.gz")
    (home / "dataset.json").write_text(json.dumps({"channel_names": channels}))
    found = find_cohort(tmp_path, OUT)
    assert [case.id for case in found.cases] == ["A"]
    where = f"{image.relative_to(home)} lies deeper than is looked; give {home} itself"
    assert found.left_out["Task"].startswith(where)
    assert [case.id for case in find_cohort(home, OUT).cases] == ["P"]


def test_nothing_is_said_to_lie_too_deep_that_would_be_no_case(tmp_path: Path, patient: Patient) -> None:
    put(patient, tmp_path / "A" / "flair.nii.gz")
    put(patient, tmp_path / "B" / "x" / "y" / "z" / "brain.nii.gz")
    put(patient, tmp_path / "C" / "imagesTr" / "P_0000.nii.gz")  # no dataset.json names its sequence
    put(patient, tmp_path / "D" / "out" / "x" / "y" / "A_flair.nii.gz")
    found = find_cohort(tmp_path, tmp_path / "D" / "out")
    assert found.left_out["D"] == "it holds no image but in the output folder"
    assert all("no name of its images" in found.left_out[name] for name in ("B", "C"))


def find_refused(root: Path) -> str:
    with pytest.raises(InputError, match="holds no case") as caught:
        find_cohort(root, OUT)
    return str(caught.value)


def test_what_is_no_case_has_a_reason(tmp_path: Path, patient: Patient) -> None:
    put(patient, tmp_path / "A" / "flair.nii.gz")
    put(patient, tmp_path / "B" / "brain.nii.gz")
    (tmp_path / "notes.txt").touch()
    assert list(find_cohort(tmp_path, OUT).left_out) == ["B"]


def test_cases_that_differ_by_capitals_alone_are_not_run(tmp_path: Path, patient: Patient) -> None:
    for name in ("a", "A", "B"):
        put(patient, tmp_path / "x" / f"{name}_t1.nii.gz")
        put(patient, tmp_path / "x" / f"{name}_flair.nii.gz")
    cases = {case.id: case.problem for case in find_cohort(tmp_path, OUT).cases}
    assert len(cases) == 3 and cases["B"] == "" and sum("rename" in problem for problem in cases.values()) == 2


def test_a_study_of_dicom_series_is_a_case(tmp_path: Path, patient: Patient) -> None:
    for name, uid in (("P1", "1.2.3"), ("P2", "1.2.4")):
        for modality in ("t1ce", "flair"):
            folder = tmp_path / name / "study" / modality
            write_series(patient.images[modality], folder, modality, PatientID=name, StudyInstanceUID=uid)
    put(patient, tmp_path / "P3" / "flair.nii.gz")
    found = find_cohort(tmp_path, OUT)
    assert [(case.id, case.problem) for case in found.cases] == [("P1", ""), ("P2", ""), ("P3", "")]
    assert found.cases[0].arguments == [str(tmp_path / "P1")]


def test_a_study_with_a_page_a_slice_before_its_files_is_a_case(tmp_path: Path, patient: Patient) -> None:
    write_series(patient.images["t1"], tmp_path / "P" / "1", names="IM{:04d}")
    for number in range(200):
        (tmp_path / "P" / "1" / f"A{number}.json").write_text("{}")
    assert [case.id for case in find_cohort(tmp_path, OUT).cases] == ["P"]


def test_studies_behind_links_are_cases(tmp_path: Path, patient: Patient) -> None:
    root, output = tmp_path / "root", tmp_path / "out"
    for name, uid in (("P1", "1.2.3"), ("P2", "1.2.4")):
        write_series(patient.images["flair"], tmp_path / name, "flair", PatientID=name, StudyInstanceUID=uid)
    (root / "P1").mkdir(parents=True)
    (root / "P1" / "series").symlink_to(tmp_path / "P1", target_is_directory=True)
    (root / "P2").symlink_to(tmp_path / "P2", target_is_directory=True)
    write_series(patient.images["flair"], output / "S", "flair", PatientID="P3", StudyInstanceUID="1.2.5")
    (root / "results").symlink_to(output, target_is_directory=True)
    (root / "round").symlink_to(root, target_is_directory=True)
    (root / "P1" / "series" / "round").symlink_to(tmp_path, target_is_directory=True)
    found = find_cohort(root, output)
    assert [case.folder for case in found.cases] == [root / "P1", root / "P2"]
    before = stamps(found.cases[0])
    write_series(patient.images["t2"], tmp_path / "P1" / "more", "t2", PatientID="P1", StudyInstanceUID="1.2.3")
    assert stamps(found.cases[0]) != before


def test_series_of_two_studies_side_by_side_are_not_guessed_apart(tmp_path: Path, patient: Patient) -> None:
    for name, uid in (("P1", "1.2.3"), ("P2", "1.2.4")):
        for modality in ("t1ce", "flair"):
            folder = tmp_path / f"{name}{modality}"
            write_series(patient.images[modality], folder, modality, PatientID=name, StudyInstanceUID=uid)
    (case,) = find_cohort(tmp_path, OUT).cases
    assert "several studies" in case.problem
