"""DICOM segmentations and reports, read back by dcmqi and highdicom and checked by dciodvfy."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.errors import InputError, RequestError
from BrainTumorSegLib.domain.segmentation import Segmentation
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.case_folder import read_case
from BrainTumorSegLib.io.registry import beside_result, check_result, write_result
from Testing.dicom_series import STUDY, change, write_study
from Testing.dicom_tools import read_report, read_segments, violations
from Testing.samples import Patient, make_patient
from Testing.unit.io.test_dicom_series import oblique

PROVENANCE = {
    "model": {"id": "tiny-3d", "version": "1.0", "sha256": "0123456789abcdef" * 4},
    "versions": {"braintumorseg": "0.1.0"},
}


def case_of(folder: Path, patient: Patient, **options: Any) -> Case:
    """The patient's T1ce and FLAIR by way of DICOM series."""
    write_study({name: patient.images[name] for name in ("flair", "t1ce")}, folder, **options)
    return read_case(folder)


def result_on(case: Case, labels: np.ndarray, regions: tuple[str, ...] = ("ET", "TC", "WT")) -> Segmentation:
    return Segmentation(case.id, case.reference_volume.with_array(labels), regions, PROVENANCE)


def write(result: Segmentation, folder: Path) -> tuple[Path, Path, Path]:
    """Segmentation, report and table."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "tumour.dcm"
    report, table = beside_result(file)
    check_result(file, result.labels)
    write_result(result, "brats2023", file, report, table)
    return file, report, table


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("plane", ["axial", "sagittal"])
def test_another_library_reads_the_same_voxels(tmp_path: Path, patient: Patient, plane: str, enhanced: bool) -> None:
    turned = Patient({name: oblique(volume) for name, volume in patient.images.items()}, patient.labels)
    case = case_of(tmp_path / "P", turned, plane=plane, enhanced=enhanced)
    labels = np.zeros(case.reference_volume.shape, np.uint8)
    labels[2:9, 3:7, 4:6], labels[4:6, 4:6, 4:6], labels[4, 4, 4] = 2, 3, 1  # no symmetry hides a turned axis
    result = result_on(case, labels)
    file, *_ = write(result, tmp_path)
    masks = read_segments(file, tmp_path / "read", case.reference_volume)
    assert list(masks) == ["ET", "TC", "WT"]
    for region, mask in masks.items():
        assert np.array_equal(mask, result.mask(region))


@pytest.mark.parametrize("enhanced", [False, True])
def test_the_standard_is_kept(tmp_path: Path, patient: Patient, enhanced: bool) -> None:
    case = case_of(tmp_path / "P", patient, enhanced=enhanced)
    file, report, _ = write(result_on(case, patient.labels.array), tmp_path)
    assert violations(file) == [] and violations(report) == []


def test_a_result_on_files_without_the_preamble(tmp_path: Path, patient: Patient) -> None:
    for file in [file for files in write_study(patient.images, tmp_path / "P").values() for file in files]:
        file.write_bytes(file.read_bytes()[132:])
    case = read_case(tmp_path / "P")
    file, report, _ = write(result_on(case, patient.labels.array), tmp_path)
    assert violations(file) == [] and violations(report) == []
    masks = read_segments(file, tmp_path / "read", case.reference_volume)
    assert np.array_equal(masks["WT"], patient.labels.array > 0)


@pytest.mark.parametrize("enhanced", [False, True])
def test_every_frame_refers_to_the_image_under_it(tmp_path: Path, patient: Patient, enhanced: bool) -> None:
    case = case_of(tmp_path / "P", patient, enhanced=enhanced)
    file, *_ = write(result_on(case, patient.labels.array), tmp_path)
    segmentation = highdicom.seg.segread(file)
    images = [pydicom.dcmread(path) for path in (tmp_path / "P").rglob("*") if path.is_file()]
    sources = {image.SOPInstanceUID: image for image in images}
    assert len(segmentation.PerFrameFunctionalGroupsSequence) == segmentation.NumberOfFrames > 10
    for groups in segmentation.PerFrameFunctionalGroupsSequence:
        (reference,) = groups.DerivationImageSequence[0].SourceImageSequence
        image = sources[reference.ReferencedSOPInstanceUID]
        if enhanced:
            frame = image.PerFrameFunctionalGroupsSequence[int(reference.ReferencedFrameNumber) - 1]
            image = frame.PlanePositionSequence[0]
        assert np.allclose(groups.PlanePositionSequence[0].ImagePositionPatient, image.ImagePositionPatient, atol=1e-6)
    of_series = images[0]
    t1ce = pydicom.dcmread(case.reference_volume.place.instances[0])  # type: ignore[union-attr]
    assert segmentation.FrameOfReferenceUID == of_series.FrameOfReferenceUID
    assert segmentation.StudyInstanceUID == of_series.StudyInstanceUID
    assert segmentation.PatientID == STUDY["PatientID"]
    assert segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID == t1ce.SeriesInstanceUID
    assert segmentation.SeriesInstanceUID != t1ce.SeriesInstanceUID


def test_codes_names_and_origin_of_the_segments(tmp_path: Path, patient: Patient) -> None:
    file, report, _ = write(result_on(case_of(tmp_path / "P", patient), patient.labels.array), tmp_path)
    segmentation = highdicom.seg.segread(file)
    found = [segmentation.get_segment_description(number) for number in segmentation.segment_numbers]
    kinds = [(each.segmented_property_type.scheme_designator, each.segmented_property_type.value) for each in found]
    assert kinds == [("NCIt", "C113842"), ("SCT", "108369006"), ("SCT", "108369006")]
    assert {each.segmented_property_category.value for each in found} == {"49755003"}
    assert {each.anatomic_regions[0].value for each in found} == {"12738006"}
    assert [each.segment_label for each in found] == ["ET", "TC", "WT"]
    assert len({each.tracking_uid for each in found}) == 3 and all(each.tracking_id for each in found)
    programs = [each.algorithm_identification for each in found]
    assert {(each.name, each.version) for each in programs if each} == {("tiny-3d", "1.0")} and all(programs)
    assert segmentation.SoftwareVersions == "0.1.0" and segmentation.Modality == "SEG"
    told = read_report(report, tmp_path / "report")["Measurements"]
    assert [each["TrackingUniqueIdentifier"] for each in told] == [each.tracking_uid for each in found]
    assert [each["ReferencedSegment"] for each in told] == [1, 2, 3]
    assert (
        pydicom.dcmread(report).CurrentRequestedProcedureEvidenceSequence[0].StudyInstanceUID
        == segmentation.StudyInstanceUID
    )


def test_measurements_in_report_and_table(tmp_path: Path, patient: Patient) -> None:
    result = result_on(case_of(tmp_path / "P", patient), patient.labels.array)
    _, report, table = write(result, tmp_path)
    told = read_report(report, tmp_path / "report")["Measurements"]
    with table.open() as stream:
        rows = {row["region"]: row for row in csv.DictReader(stream)}
    assert list(rows) == ["ET", "TC", "WT"]
    for each, (region, size) in zip(told, result.measurements.items(), strict=True):
        values = {item["quantity"]["CodeMeaning"]: float(item["value"]) for item in each["measurementItems"]}
        assert values["Volume"] == pytest.approx(size.volume_ml, abs=1e-3)
        assert values["Long axis"] == pytest.approx(size.largest_axial_diameter_mm, abs=1e-2)
        assert float(rows[region]["volume_ml"]) == pytest.approx(size.volume_ml, abs=1e-3)
        assert int(rows[region]["lesions"]) == size.lesions


@pytest.mark.parametrize(
    ("labels", "regions"),
    [((), ("ET", "TC", "WT")), ((2,), ("ET", "TC", "WT")), ((2,), ("WT",))],
    ids=["no tumour", "oedema alone", "whole tumour alone"],
)
def test_regions_that_are_empty_or_unknown(
    tmp_path: Path, patient: Patient, labels: tuple[int, ...], regions: tuple[str, ...]
) -> None:
    case = case_of(tmp_path / "P", patient)
    result = result_on(case, np.where(np.isin(patient.labels.array, labels), 2, 0).astype(np.uint8), regions)
    file, report, _ = write(result, tmp_path)
    assert violations(file) == [] and violations(report) == []
    segmentation = highdicom.seg.segread(file)
    assert [segmentation.get_segment_description(n).segment_label for n in segmentation.segment_numbers] == list(
        regions
    )
    masks = read_segments(file, tmp_path / "read", case.reference_volume)
    for region, mask in masks.items():
        assert np.array_equal(mask, result.mask(region))


def test_slices_shifted_along_their_plane(tmp_path: Path, patient: Patient) -> None:
    shear = np.eye(4)
    shear[1, 2] = np.tan(np.radians(12))
    sheared = {name: Volume(volume.array, shear @ volume.affine) for name, volume in patient.images.items()}
    case = case_of(tmp_path / "P", Patient(sheared, patient.labels))
    result = result_on(case, patient.labels.array)
    file, *_ = write(result, tmp_path)
    segmentation = highdicom.seg.segread(file)
    frames = zip(segmentation.PerFrameFunctionalGroupsSequence, segmentation.pixel_array, strict=True)
    for groups, pixels in frames:
        x, y, z = groups.PlanePositionSequence[0].ImagePositionPatient
        index = np.linalg.inv(case.reference_volume.affine) @ (-x, -y, z, 1)
        region = result.regions[groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1]
        assert np.allclose(index[:2], 0, atol=1e-6)
        assert np.array_equal(pixels > 0, result.mask(region)[round(index[2])])


def test_a_source_whose_tags_were_removed(tmp_path: Path) -> None:
    removed = dict.fromkeys(STUDY.keys() - {"StudyInstanceUID", "FrameOfReferenceUID"})
    patient = make_patient()
    case = case_of(tmp_path / "P", patient, **removed)
    result = result_on(case, patient.labels.array)
    file, *_ = write(result, tmp_path)
    masks = read_segments(file, tmp_path / "read", case.reference_volume)
    assert np.array_equal(masks["WT"], result.mask("WT"))


def test_a_source_with_values_that_are_none_of_their_kind(tmp_path: Path, patient: Patient) -> None:
    case = case_of(tmp_path / "P", patient)
    for file in (tmp_path / "P").rglob("0*"):
        dataset = pydicom.dcmread(file)
        with pydicom.config.disable_value_validation():
            dataset.PatientSex, dataset.PatientBirthDate, dataset.StudyTime = "male", "unknown", "10:15:00"
            dataset.save_as(file)
    for made in map(pydicom.dcmread, write(result_on(case, patient.labels.array), tmp_path)[:2]):
        assert (made.PatientSex, made.PatientBirthDate, made.StudyTime) == ("", "", "")
        assert made.StudyDate == STUDY["StudyDate"] and made.PatientID == STUDY["PatientID"]


@pytest.mark.parametrize(
    ("characters", "name"),
    [
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎"),
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小東"),
    ],
)
def test_names_of_other_characters(tmp_path: Path, patient: Patient, characters: Any, name: str) -> None:
    case = case_of(tmp_path / "P", patient)
    for file in (tmp_path / "P").rglob("0*"):
        dataset = pydicom.dcmread(file)
        dataset.SpecificCharacterSet, dataset.PatientName = characters, name
        dataset.save_as(file)
    for file in write(result_on(case, patient.labels.array), tmp_path)[:2]:
        assert str(pydicom.dcmread(file).PatientName) == name and violations(file) == []


def test_what_has_no_dicom_images_to_refer_to(tmp_path: Path, patient: Patient) -> None:
    with pytest.raises(RequestError, match="refers to DICOM images; flair is none"):
        check_result(tmp_path / "o.dcm", patient.images["flair"])
    case = case_of(tmp_path / "P", patient)
    place = case.reference_volume.place
    assert place is not None
    change(place.instances, FrameOfReferenceUID=None)
    with pytest.raises(InputError, match="lacks FrameOfReferenceUID"):
        check_result(tmp_path / "o.dcm", case.reference_volume)
