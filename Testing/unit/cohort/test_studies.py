"""Folders that hold several studies of a patient: a case each, and what becomes of results of before."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from BrainTumorSegLib.cohort.discovery import find_cohort
from BrainTumorSegLib.domain.modalities import MODALITIES
from BrainTumorSegLib.io.case_folder import find_case
from Testing.dicom_series import change, write_series
from Testing.samples import Patient

from .test_run import finish, planned

OUT = Path("out")


def put_study(
    patient: Patient, folder: Path, day: str | None, sequences: Iterable[str] = MODALITIES, **tags: Any
) -> list[Path]:
    """A study of a day, its files right in the folder, beside those that are there."""
    told: dict[str, Any] = {"StudyDate": day, "StudyInstanceUID": f"1.2.{day or 9}", **tags}
    files = []
    for modality in sequences:
        number = len(list(folder.glob("*"))) + 1
        files += write_series(patient.images[modality], folder, modality, number=number, names=f"{number}-{{}}", **told)
    return files


def names(root: Path) -> list[str]:
    return [case.id for case in find_cohort(root, OUT).cases]


@pytest.mark.parametrize("enhanced", [False, True])
def test_studies_side_by_side_are_a_case_each(tmp_path: Path, patient: Patient, enhanced: bool) -> None:
    for day in ("20230501", "20240510"):
        put_study(patient, tmp_path / "P1" / "DICOM", day, ("t1ce", "flair"), enhanced=enhanced)
    put_study(patient, tmp_path / "P2", "20230501", PatientID="P2", StudyInstanceUID="1.3")
    found = find_cohort(tmp_path, OUT)
    assert [case.id for case in found.cases] == ["P1_20230501", "P1_20240510", "P2"] and not found.left_out
    first, second, other = found.cases
    assert first.arguments == [str(tmp_path / "P1"), "--study=1.2.20230501"] and other.arguments == [str(other.folder)]
    assert not set(first.study.files if first.study else ()) & set(second.study.files if second.study else ())
    for case in (first, second):
        assert case.study and case.folder
        chosen = find_case(case.folder, study=case.study.uid).chosen
        assert {series.first.date for series in chosen.series.values()} == {case.study.date} and not chosen.warnings


def test_studies_are_sessions_in_bids(tmp_path: Path, patient: Patient) -> None:
    for day in ("20230501", "20240510"):
        put_study(patient, tmp_path / "data" / "sub-01", day, ["flair"])
    put_study(patient, tmp_path / "data" / "sub-02" / "ses-b", "20230501", ["flair"], StudyInstanceUID="1.3")
    put_study(patient, tmp_path / "data" / "sub-02" / "ses-c", "20240510", ["flair"], StudyInstanceUID="1.4")
    tasks = planned(tmp_path / "data", tmp_path / "out", layout="bids").tasks
    folder = tmp_path / "out" / "derivatives" / "braintumorseg"
    assert {task.label_map.parent.relative_to(folder).as_posix() for task in tasks} == {
        "sub-01/ses-20230501/anat",
        "sub-01/ses-20240510/anat",
        "sub-02/ses-b/anat",
        "sub-02/ses-c/anat",
    }


def test_folders_of_series_of_several_studies(tmp_path: Path, patient: Patient) -> None:
    """Mixed in the patient's folder they are told apart as files are, unless they are of two patients."""
    for number, (day, modality) in enumerate((d, m) for d in ("20230501", "20240510") for m in ("t1ce", "flair")):
        put_study(patient, tmp_path / "P" / f"series{number}", day, [modality])
    put_study(patient, tmp_path / "P" / "series9", "20250607", ["flair"])
    for name in ("ANNA", "BERT"):
        for modality in ("t1ce", "flair"):
            place = tmp_path / "Q" / f"{name} {modality}"
            put_study(
                patient, place, "20230501", [modality], PatientID=name, StudyInstanceUID=f"1.3.{name == 'ANNA':d}"
            )
    cases = {case.id: case for case in find_cohort(tmp_path, OUT).cases}
    assert list(cases) == ["P_20230501", "P_20240510", "P_20250607", "Q"]
    assert "several patients" in cases["Q"].problem and not cases["P_20250607"].problem
    first = cases["P_20230501"]
    assert first.study and first.folder == tmp_path / "P"
    assert set(find_case(first.folder, study=first.study.uid).files) == {"t1ce", "flair"}


def test_what_holds_no_sequence_is_no_case_beside_one_study(tmp_path: Path, patient: Patient) -> None:
    """That of the folder stays under the folder's name: its result is of the same images."""
    put_study(patient, tmp_path / "P", "20230501")
    put_study(patient, tmp_path / "P", "20240510", ["t1"], Modality="CT")
    put_study(patient, tmp_path / "P", "20250510", ["t1"], SeriesDescription="localizer")
    (case,) = find_cohort(tmp_path, OUT).cases
    assert case.id == "P" and case.study is None


def test_studies_of_one_day(tmp_path: Path, patient: Patient) -> None:
    """One examination is stored as several studies, or there are two of them; lent sequences make no second case."""
    put_study(patient, tmp_path / "A", "20230501", ("t1", "t1ce"), StudyInstanceUID="1.1")
    put_study(patient, tmp_path / "A", "20230501", ("t2", "flair"), StudyInstanceUID="1.2")
    put_study(patient, tmp_path / "A", "20240510")
    put_study(patient, tmp_path / "B", "20230501", StudyInstanceUID="1.4", PatientID="B", AcquisitionTime="080000")
    put_study(patient, tmp_path / "B", "20230501", StudyInstanceUID="1.3", PatientID="B", AcquisitionTime="160000")
    found = {case.id: case for case in find_cohort(tmp_path, OUT).cases}
    assert list(found) == ["A_20230501", "A_20240510", "B_20230501", "B_20230501_2"]
    first, last = found["A_20230501"], found["B_20230501_2"]
    assert first.study and first.folder and last.study and last.study.uid == "1.3"
    assert set(find_case(first.folder, study=first.study.uid).files) == set(MODALITIES)
    slices = len(patient.images["t1"].array)
    assert len(first.study.files) == 4 * slices, "what lends a sequence is an input, too"


def test_studies_without_dates_and_those_of_two_patients(tmp_path: Path, patient: Patient) -> None:
    for uid in ("1.2.300000001", "1.2.300000002"):
        put_study(patient, tmp_path / "A", None, ["flair"], StudyInstanceUID=uid)
    for name in ("ANNA", "BERT"):
        put_study(patient, tmp_path / "B", "20230501", ["flair"], PatientID=name, StudyInstanceUID=f"1.3.{len(name)}")
        put_study(patient, tmp_path / "B", "20240510", ["flair"], PatientID=name)
    assert names(tmp_path) == ["A_00000001", "A_00000002", "B"]


def test_a_series_that_nothing_tells_the_study_of_is_no_case(tmp_path: Path, patient: Patient) -> None:
    """It had been one, and got the images of another study."""
    put_study(patient, tmp_path / "P", None, ["flair"], StudyInstanceUID=None)
    put_study(patient, tmp_path / "P", "20230501", ["t1ce", "flair"])
    assert names(tmp_path) == ["P"]
    put_study(patient, tmp_path / "P", "20240510", ["t1ce", "flair"])
    assert names(tmp_path) == ["P_20230501", "P_20240510"]


def test_headers_that_begin_with_much_else_and_damaged_files(tmp_path: Path, patient: Patient) -> None:
    files = put_study(patient, tmp_path / "P", "20230501", ["flair"])
    first, second, *_ = put_study(patient, tmp_path / "P", "20240510", ["flair"])
    change(files, AdditionalPatientHistory="x" * 10_000, PatientComments="x" * 10_000)
    whole = first.read_bytes()
    first.write_bytes(whole[: whole.index(b"\x20\x00\x0e\x00") + 100])
    second.write_bytes(whole[:400])
    (tmp_path / "P" / "notes.txt").write_text("none")
    assert names(tmp_path) == ["P_20230501", "P_20240510"]


def test_a_second_study_that_comes_later(tmp_path: Path, patient: Patient) -> None:
    """The result of the first stays as it is and is said to; one that comes third makes no other case to be done."""
    study, output = tmp_path / "study", tmp_path / "out"
    put_study(patient, study / "P", "20230501", ["flair"])
    finish(planned(study, output))
    before = (output / "P.nii.gz").stat().st_mtime_ns
    put_study(patient, study / "P", "20240510", ["flair"])
    left_out = find_cohort(study, output).left_out
    assert list(left_out) == ["P"] and "stays as it is" in left_out["P"]
    run = planned(study, output)
    assert [each.case for each in run.tasks] == ["P_20230501", "P_20240510"] and not (run.done or run.failed)
    finish(run)
    put_study(patient, study / "P", "20250510", ["flair"])
    run = planned(study, output)
    assert [each.case for each in run.tasks] == ["P_20250510"] and len(run.done) == 2
    assert (output / "P.nii.gz").stat().st_mtime_ns == before
