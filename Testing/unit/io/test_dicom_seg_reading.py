"""DICOM segmentations read as label maps: those written here, and those of others, made by highdicom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.seg import SegmentationTypeValues
from pydicom.sr.codedict import codes

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.errors import InputError
from BrainTumorSegLib.domain.grid import Grid
from BrainTumorSegLib.io.dicom import is_seg
from BrainTumorSegLib.io.registry import names_segments, read_label_map
from BrainTumorSegLib.preprocessing.resampling import onto
from Testing.samples import Patient

from .test_dicom_seg import case_of, result_on, write
from .test_dicom_series import oblique

OUTER, CORE, INNER = np.s_[2:9, 3:7, 4:6], np.s_[4:6, 4:6, 4:6], np.s_[4, 4, 4]


def make_labels(case: Case) -> np.ndarray:
    """No symmetry hides a turned axis."""
    labels = np.zeros(case.reference_volume.shape, np.uint8)
    labels[OUTER], labels[CORE], labels[INNER] = 2, 3, 1
    return labels


def on_image(case: Case, file: Path, convention: str = "auto") -> np.ndarray:
    """What was read, on the image's grid by its place in space."""
    read = read_label_map(file, convention)
    return onto(read.array, Grid.of(read), Grid.of(case.reference_volume), nearest=True)


def write_others(case: Case, file: Path, masks: dict[str, np.ndarray], kind: str = "BINARY") -> Path:
    """A segmentation as another program writes it: name → shares of voxels, ``(Z, Y, X)``."""
    assert case.reference_volume.place is not None
    sources = [pydicom.dcmread(path) for path in case.reference_volume.place.instances]
    segments = [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Neoplasm if name != "3" else codes.SCT.Edema,
            algorithm_type="MANUAL",
        )
        for number, name in enumerate(masks, start=1)
    ]
    pixels = np.stack([*masks.values()], axis=-1)
    made = highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=pixels if kind == "FRACTIONAL" else pixels.astype(np.uint8),
        segmentation_type=SegmentationTypeValues[kind],
        segment_descriptions=segments,
        series_instance_uid=highdicom.UID(),
        series_number=9,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="M",
        manufacturer_model_name="M",
        software_versions="1",
        device_serial_number="1",
        omit_empty_frames=bool(np.any(pixels)),
    )
    made.save_as(file)
    return file


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("plane", ["axial", "sagittal"])
def test_what_was_written_is_read(tmp_path: Path, patient: Patient, plane: str, enhanced: bool) -> None:
    turned = Patient({name: oblique(volume) for name, volume in patient.images.items()}, patient.labels)
    case = case_of(tmp_path / "P", turned, plane=plane, enhanced=enhanced)
    labels = make_labels(case)
    file, report, _ = write(result_on(case, labels), tmp_path)
    assert names_segments(file) and not is_seg(report)
    read = read_label_map(file)
    # A box of whole slices, cut from the image's grid: axes and voxel sizes are the image's.
    assert np.allclose(read.affine[:3, :3], case.reference_volume.affine[:3, :3], atol=1e-5)
    assert len(read.array) < len(labels) and np.array_equal(on_image(case, file), labels)


def test_slices_between_two_tumours_are_empty(tmp_path: Path, patient: Patient) -> None:
    case = case_of(tmp_path / "P", patient)
    labels = np.zeros(case.reference_volume.shape, np.uint8)
    labels[1, 3:5, 3:6], labels[7:9, 2:4, 5:7] = 2, 3
    file, *_ = write(result_on(case, labels), tmp_path)
    assert np.array_equal(on_image(case, file), labels)


def test_no_tumour(tmp_path: Path, patient: Patient) -> None:
    case = case_of(tmp_path / "P", patient)
    file, *_ = write(result_on(case, np.zeros(case.reference_volume.shape, np.uint8)), tmp_path)
    assert not read_label_map(file).array.any()


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segments_of_others_by_their_names_and_codes(tmp_path: Path, patient: Patient, kind: str) -> None:
    """The third is called by a number, and its code says oedema; shares of less than a half belong to no segment."""
    case = case_of(tmp_path / "P", patient)
    labels = make_labels(case)
    masks = {"Necrotic core": labels == 1, "Enhancing tumour": labels == 3, "3": labels == 2}
    stored: dict[str, Any] = {
        name: np.where(mask, 0.7, 0.3 * (labels > 0)) if kind == "FRACTIONAL" else mask for name, mask in masks.items()
    }
    file = write_others(case, tmp_path / "others.dcm", stored, kind)
    assert np.array_equal(on_image(case, file), labels)


def test_segments_that_are_no_tumour_are_refused_unless_empty(tmp_path: Path, patient: Patient) -> None:
    case = case_of(tmp_path / "P", patient)
    labels = make_labels(case)
    masks = {"ET": labels == 3, "TC": np.isin(labels, (1, 3)), "WT": labels > 0, "Femur": labels == 9}
    file = write_others(case, tmp_path / "a.dcm", {**masks, "Femur": labels == 9})
    # Its code says neoplasm, which is no name of a region or tissue here.
    assert np.array_equal(on_image(case, file), labels)
    file = write_others(case, tmp_path / "b.dcm", {**masks, "Femur": labels == 2})
    with pytest.raises(InputError, match="Femur"):
        read_label_map(file)


def test_the_whole_tumour_alone_must_be_said(tmp_path: Path, patient: Patient) -> None:
    case = case_of(tmp_path / "P", patient)
    labels = make_labels(case)
    file = write_others(case, tmp_path / "a.dcm", {"WT": labels > 0})
    with pytest.raises(InputError, match="whole"):
        read_label_map(file)
    assert np.array_equal(on_image(case, file, "whole") > 0, labels > 0)


def test_damaged_segmentations_and_other_dicom_are_refused(tmp_path: Path, patient: Patient) -> None:
    case = case_of(tmp_path / "P", patient)
    file, report, _ = write(result_on(case, make_labels(case)), tmp_path)
    assert case.reference_volume.place is not None
    for other in (report, case.reference_volume.place.instances[0]):
        with pytest.raises(InputError, match="DICOM"):
            read_label_map(other)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"tumour\.dcm"):
        read_label_map(file)


def test_slices_far_apart_take_no_memory(tmp_path: Path, patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged position may claim a box of gigabytes."""
    case = case_of(tmp_path / "P", patient)
    file, *_ = write(result_on(case, make_labels(case)), tmp_path)
    dataset = pydicom.dcmread(file)
    frame = dataset.PerFrameFunctionalGroupsSequence[-1].PlanePositionSequence[0]
    position = np.asarray(frame.ImagePositionPatient, dtype=float)
    frame.ImagePositionPatient = [*position[:2], position[2] + 1e8]
    dataset.save_as(file)
    with pytest.raises(InputError):
        read_label_map(file)
