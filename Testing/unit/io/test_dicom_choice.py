"""Which series of a folder are taken, what is said of the others, and how to have it otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from BrainTumorSegLib.domain.errors import InputError, ModalityError, RequestError
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.case_folder import find_case
from BrainTumorSegLib.io.registry import write_volume
from Testing.dicom_series import STUDY, write_series, write_study
from Testing.samples import Patient


def study(folder: Path, patient: Patient, **tags: Any) -> None:
    write_study(patient.images, folder, **tags)


def add(folder: Path, volume: Volume, number: int, modality: str = "t1", **tags: Any) -> Path:
    """One more series of the study, in a folder of its number."""
    write_series(volume, folder / str(number), modality, number=number, **tags)
    return folder / str(number)


def names(folder: Path, **named: Path) -> dict[str, str]:
    """Modality → name of the series that was chosen."""
    return {modality: series.name for modality, series in find_case(folder, named).chosen.series.items()}


USUAL = {
    "t1": 'series 1 "AX T1 SE"',
    "t1ce": 'series 2 "AX T1 SE"',
    "t2": 'series 3 "AX T2 TSE"',
    "flair": 'series 4 "AX FLAIR"',
}


@pytest.mark.parametrize("enhanced", [False, True])
def test_reasons_of_what_was_chosen(tmp_path: Path, patient: Patient, enhanced: bool) -> None:
    study(tmp_path, patient, enhanced=enhanced)
    chosen = find_case(tmp_path).chosen
    assert {name: series.name for name, series in chosen.series.items()} == USUAL
    assert "Gadovist" in chosen.reasons["t1ce"] and "Gadovist" not in chosen.reasons["t1"]
    assert "TI 2500" in chosen.reasons["flair"] and chosen.reasons["t2"] == "series description"
    case = find_case(tmp_path).read()
    assert "Gadovist" in case.images["t1ce"].source and 'series 2 "AX T1 SE"' in case.images["t1ce"].source


def test_what_is_none_of_the_four_is_left_out_with_its_reason(tmp_path: Path, patient: Patient) -> None:
    study(tmp_path, patient)
    image = patient.images["t1"]
    add(tmp_path, image, 11, SeriesDescription="ADC")
    add(tmp_path, image, 12, SeriesDescription="TOF 3D")
    add(tmp_path, image, 13, Modality="CT", SeriesDescription="Head")
    add(tmp_path, Volume(image.array[:3], image.affine), 14, SeriesDescription="t1 quick")
    add(tmp_path, image, 15, SeriesDescription="unnamed", EchoTime=50, RepetitionTime=1500)
    case = find_case(tmp_path)
    assert names(tmp_path) == USUAL
    reasons = [case.left_out[name] for name in case.left_out]
    for told, reason in zip(("diffusion", "angiogram", "CT", "3 slices", "nor tags tell"), reasons, strict=True):
        assert told in reason


def test_of_repeated_series_the_better_one(tmp_path: Path, patient: Patient) -> None:
    study(tmp_path, patient, AcquisitionTime="101000")
    thin = patient.images["t1"]
    thick = Volume(thin.array, thin.affine @ np.diag([1, 1, 4, 1]))
    add(tmp_path, thick, 20, AcquisitionTime="110000")
    assert names(tmp_path) == USUAL and "thinner" in find_case(tmp_path).left_out['series 20 "AX T1 SE"']
    add(tmp_path, thin, 21, AcquisitionTime="111500")
    assert names(tmp_path)["t1"] == 'series 21 "AX T1 SE"'
    assert "later" in find_case(tmp_path).left_out['series 1 "AX T1 SE"']
    add(tmp_path, thin, 22, AcquisitionTime="120000", ImageType=["DERIVED", "SECONDARY", "OTHER"])
    assert "original" in find_case(tmp_path).left_out['series 22 "AX T1 SE"']


def test_a_slab_is_not_preferred_for_its_thin_slices(tmp_path: Path, patient: Patient) -> None:
    head = Volume(patient.images["t1"].array, patient.images["t1"].affine @ np.diag([1, 1, 6, 1]))
    add(tmp_path, head, 1)
    add(tmp_path, patient.images["t1"], 2)
    assert names(tmp_path) == {"t1": 'series 1 "AX T1 SE"'}
    assert "covers the head" in find_case(tmp_path).left_out['series 2 "AX T1 SE"']


def test_a_whole_repeat_stands_in_for_a_faulty_series(tmp_path: Path, patient: Patient) -> None:
    study(tmp_path, patient)
    (tmp_path / "1-t1" / "0009").unlink()
    with pytest.raises(InputError, match="lacks a slice"):
        find_case(tmp_path)
    add(tmp_path, patient.images["t1"], 9)
    case = find_case(tmp_path)
    assert names(tmp_path)["t1"] == 'series 9 "AX T1 SE"' and "lacks a slice" in case.left_out['series 1 "AX T1 SE"']


def test_the_most_complete_study_then_the_latest(tmp_path: Path, patient: Patient) -> None:
    study(tmp_path / "a", patient, StudyDate="20230101")
    study(tmp_path / "b", patient, StudyDate="20240101", StudyInstanceUID="1.2.2")
    partial = {name: patient.images[name] for name in ("t1", "flair")}
    write_study(partial, tmp_path / "c", StudyDate="20250101", StudyInstanceUID="1.2.3")
    case = find_case(tmp_path)
    assert {series.first.date for series in case.chosen.series.values()} == {"20240101"}
    assert sorted(case.left_out.values())[0] == "of another study (2023-01-01)"
    assert "of another study (2025-01-01)" in case.left_out.values() and len(case.left_out) == 6


def test_a_study_that_is_named(tmp_path: Path, patient: Patient) -> None:
    study(tmp_path / "a", patient, StudyDate="20230101")
    study(tmp_path / "b", patient, StudyDate="20240101", StudyInstanceUID="1.2.2")
    case = find_case(tmp_path, study=STUDY["StudyInstanceUID"])
    assert {series.first.date for series in case.chosen.series.values()} == {"20230101"} and not case.chosen.warnings
    assert set(case.left_out.values()) == {"of another study (2024-01-01)"}
    with pytest.raises(InputError, match=r"holds no study 1\.2\.4"):
        find_case(tmp_path, study="1.2.4")
    write_volume(patient.images["t1"], tmp_path / "t1.nii.gz")
    with pytest.raises(RequestError, match="no folder of DICOM series"):
        find_case(tmp_path / "t1.nii.gz", study="1.2.2")


def test_two_patients_are_refused_by_name(tmp_path: Path, patient: Patient) -> None:
    study(tmp_path / "a", patient)
    study(tmp_path / "b", patient, PatientID="P2", StudyInstanceUID="1.2.2")
    with pytest.raises(InputError, match="2 patients: P1 and P2"):
        find_case(tmp_path)
    with pytest.raises(InputError, match="2 patients: P1 and P2"):
        find_case((), {"t1": tmp_path / "a" / "1-t1", "t2": tmp_path / "b" / "3-t2"})


def test_patients_of_one_identifier_are_told_apart_by_their_births(tmp_path: Path, patient: Patient) -> None:
    series = {}
    for number, (modality, birth) in enumerate((("t1", "19600101"), ("t2", ""), ("flair", "19710203")), start=1):
        study: dict[str, Any] = {"StudyInstanceUID": f"1.2.{number}", "PatientID": "ANON", "PatientBirthDate": birth}
        series[modality] = tmp_path / str(number)
        write_series(patient.images[modality], series[modality], modality, number=number, **study)
    with pytest.raises(InputError, match="2 patients: one born 1960-01-01 and one born 1971-02-03"):
        find_case(tmp_path)
    with pytest.raises(InputError, match="2 patients"):
        find_case((), {name: series[name] for name in ("t1", "flair")})
    assert set(find_case((), {name: series[name] for name in ("t1", "t2")}).files) == {"t1", "t2"}


def test_series_of_one_number_and_name_are_told_apart(tmp_path: Path, patient: Patient) -> None:
    for folder in ("a", "b", "c"):
        add(tmp_path / folder, patient.images["t1"], 3, SeriesDescription="t1 (fast)")
    names_of_all = {*find_case(tmp_path).left_out, *names(tmp_path).values()}
    assert names_of_all == {'series 3 "t1 (fast)"', 'series 3 "t1 (fast)" (2)', 'series 3 "t1 (fast)" (3)'}


def test_a_named_series_is_taken_whatever_its_tags_say(tmp_path: Path, patient: Patient) -> None:
    study(tmp_path, patient)
    other = add(tmp_path, patient.images["t2"], 30, SeriesDescription="T1 MPR")
    for place in (other, other / "IM0004"):
        assert names(tmp_path, t1=place) == {**USUAL, "t1": 'series 30 "T1 MPR"'}
    case = find_case(tmp_path, {"t1": other})
    assert "another one was named" in case.left_out['series 1 "AX T1 SE"']
    assert np.array_equal(case.read().images["t1"].array, patient.images["t2"].array)


def test_one_file_names_all_of_its_series_wherever_the_files_lie(tmp_path: Path, patient: Patient) -> None:
    study(tmp_path, patient)
    for number in range(10):
        (tmp_path / "1-t1" / f"{number + 1:04d}").rename(tmp_path / f"T1_{number}")
    case = find_case(tmp_path, {"t1": tmp_path / "T1_3"}).read()
    assert np.array_equal(case.images["t1"].array, patient.images["t1"].array)


def test_a_file_of_another_format_beside_series(tmp_path: Path, patient: Patient) -> None:
    study(tmp_path / "P", patient)
    write_volume(patient.images["t2"], tmp_path / "other.nii.gz")
    case = find_case(tmp_path / "P", {"t1": tmp_path / "other.nii.gz"}).read()
    assert np.array_equal(case.images["t1"].array, patient.images["t2"].array)
    assert np.array_equal(case.images["flair"].array, patient.images["flair"].array)


def test_named_series_of_two_studies_are_taken_with_a_warning(tmp_path: Path, patient: Patient) -> None:
    study(tmp_path / "a", patient)
    study(tmp_path / "b", patient, StudyInstanceUID="1.2.2", StudyDate="20250102")
    case = find_case((), {"t1": tmp_path / "a" / "1-t1", "t2": tmp_path / "b" / "3-t2"}).read()
    assert any("2 studies (2024-05-10 and 2025-01-02)" in warning for warning in case.warnings)


def test_one_series_for_two_sequences(tmp_path: Path, patient: Patient) -> None:
    study(tmp_path, patient)
    with pytest.raises(ModalityError, match="given as T1 and as T2"):
        find_case((), {"t1": tmp_path / "1-t1", "t2": tmp_path / "1-t1" / "0003"})


def test_a_folder_of_several_series_names_none(tmp_path: Path, patient: Patient) -> None:
    study(tmp_path, patient)
    with pytest.raises(InputError, match="holds 4 series") as caught:
        find_case((), {"t1": tmp_path})
    assert "1-t1" in caught.value.remedy
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no DICOM images"):
        find_case((), {"t1": tmp_path / "empty"})


def test_folders_without_magnetic_resonance_or_without_a_known_sequence(tmp_path: Path, patient: Patient) -> None:
    add(tmp_path / "ct", patient.images["t1"], 1, Modality="CT")
    with pytest.raises(InputError, match="no MR images, only CT"):
        find_case(tmp_path / "ct")
    add(tmp_path / "mr", patient.images["t1"], 1, SeriesDescription="ADC")
    with pytest.raises(ModalityError, match="diffusion"):
        find_case(tmp_path / "mr")


def test_two_echoes_of_one_series_are_two_images(tmp_path: Path, patient: Patient) -> None:
    tags = {"SeriesInstanceUID": "1.2.9", "SeriesDescription": "AX PD+T2"}
    add(tmp_path, patient.images["t1"], 5, "t2", names="a{}", EchoTime=15, **tags)
    add(tmp_path, patient.images["t2"], 5, "t2", names="b{}", EchoTime=95, **tags)
    case = find_case(tmp_path)
    (reason,) = case.left_out.values()
    assert "proton density" in reason
    assert np.array_equal(case.read().images["t2"].array, patient.images["t2"].array)


def test_tags_that_anonymisation_removed(tmp_path: Path, patient: Patient) -> None:
    study(tmp_path, patient, **dict.fromkeys(STUDY.keys() - {"StudyInstanceUID", "FrameOfReferenceUID"}))
    assert names(tmp_path) == USUAL


def test_series_behind_links_to_folders(tmp_path: Path, patient: Patient) -> None:
    """A link that leads back, or to all of it again, brings nothing twice."""
    study(tmp_path / "archive", patient)
    case = tmp_path / "cases" / "P"
    case.mkdir(parents=True)
    for series in sorted((tmp_path / "archive").iterdir()):
        (case / series.name).symlink_to(series, target_is_directory=True)
    (case / "1-t1" / "back").symlink_to(case, target_is_directory=True)
    (case / "up").symlink_to(tmp_path, target_is_directory=True)
    (case / "again").symlink_to(tmp_path / "archive" / "2-t1ce", target_is_directory=True)
    (case / ".hidden").symlink_to(tmp_path / "archive", target_is_directory=True)
    found = find_case(case)
    assert names(case) == USUAL and not found.left_out
    assert np.array_equal(found.read().images["flair"].array, patient.images["flair"].array)
    (case / "1-t1" / "back").unlink()
    (tmp_path / "cases" / "T1").mkdir()
    (tmp_path / "cases" / "T1" / "series").symlink_to(tmp_path / "archive" / "1-t1")
    assert find_case((), {"t1": tmp_path / "cases" / "T1"}).chosen.series["t1"].name == USUAL["t1"]
