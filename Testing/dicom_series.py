"""Volumes written as DICOM series, classic and enhanced, as scanners send them: for tests and benchmarks only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from BrainTumorSegLib.domain.grid import Grid, reorient
from BrainTumorSegLib.domain.volume import Volume

# Acquisition plane -> axes along which the volume's voxels are listed: columns, rows, slices.
PLANES = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIR"}

# What scanners say of the sequences.
PROTOCOLS: dict[str, dict[str, Any]] = {
    "t1": {"SeriesDescription": "AX T1 SE", "EchoTime": 14, "RepetitionTime": 550},
    "t1ce": {"SeriesDescription": "AX T1 SE", "EchoTime": 14, "RepetitionTime": 550, "ContrastBolusAgent": "Gadovist"},
    "t2": {"SeriesDescription": "AX T2 TSE", "EchoTime": 95, "RepetitionTime": 5200},
    "flair": {"SeriesDescription": "AX FLAIR", "EchoTime": 120, "RepetitionTime": 9000, "InversionTime": 2500},
}
# The patient, the study and the frame of reference that all series share unless told otherwise.
STUDY: dict[str, Any] = {
    "PatientID": "P1",
    "PatientName": "Test^Patient",
    "PatientBirthDate": "19600101",
    "PatientSex": "O",
    "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.1",
    "StudyID": "1",
    "StudyDate": "20240510",
    "StudyTime": "101500",
    "AccessionNumber": "A1",
    "ReferringPhysicianName": "",
    "FrameOfReferenceUID": "1.2.826.0.1.3680043.8.498.2",
    "PositionReferenceIndicator": "",
    "PatientPosition": "HFS",
    "BodyPartExamined": "BRAIN",
}


def write_series(
    volume: Volume,
    folder: Path,
    modality: str = "t1",
    *,
    number: int = 1,
    plane: str | None = None,
    enhanced: bool = False,
    rescale: tuple[float, float] = (1.0, 0.0),
    names: str = "IM{:04d}",
    **tags: Any,
) -> list[Path]:
    """Write a volume of whole numbers as a series of MR images.

    Args:
        volume: shape ``(Z, Y, X)``; sheared grids are written as they are.
        folder: gets the files.
        modality: whose entry of :data:`PROTOCOLS` describes it; ``tags`` replace what is in it, ``None`` removes.
        number: of the series.
        plane: acquisition plane; None lists the voxels as they are, which must be right-handed.
        enhanced: one enhanced multi-frame object.
        rescale: slope and intercept; the stored values are the volume's before them.
        names: of the files.

    Returns:
        The files, in the order of the slices.
    """
    array, affine = volume.array, volume.affine
    if plane:
        array, affine = reorient(array, affine, PLANES[plane]), Grid.of(volume).oriented(PLANES[plane]).affine
    affine = np.diag([-1, -1, 1, 1]) @ affine
    folder.mkdir(parents=True, exist_ok=True)
    told = {"SeriesInstanceUID": generate_uid(), **STUDY, **PROTOCOLS.get(modality, {}), **tags}
    common = {"SeriesNumber": number, **{name: value for name, value in told.items() if value is not None}}
    write = _write_enhanced if enhanced else _write_classic
    return write(np.asarray(array), affine, folder, common, rescale, names)


def write_study(
    images: Mapping[str, Volume], folder: Path, *, each: str = "{number}-{modality}", **options: Any
) -> dict[str, list[Path]]:
    """Each sequence as a series in a folder of its own, or all in one where ``each`` is empty."""
    files = {}
    for number, (modality, volume) in enumerate(images.items(), start=1):
        place = folder / each.format(number=number, modality=modality)
        names = "{:04d}" if each else f"{number}{{:04d}}"
        files[modality] = write_series(volume, place, modality, number=number, **{"names": names, **options})
    return files


def change(files: Sequence[Path], **tags: Any) -> None:
    """Replace tags in files; ``None`` removes one."""
    for file in files:
        dataset = pydicom.dcmread(file)
        for name, value in tags.items():
            if value is None:
                del dataset[name]
            else:
                setattr(dataset, name, value)
        dataset.save_as(file)


def _write_classic(
    array: np.ndarray,
    affine: np.ndarray,
    folder: Path,
    common: Mapping[str, Any],
    rescale: tuple[float, float],
    names: str,
) -> list[Path]:
    files = []
    for index, image in enumerate(array):
        dataset = _dataset(MRImageStorage, common, image)
        dataset.ImageType = common.get("ImageType", ["ORIGINAL", "PRIMARY", "M", "ND"])
        dataset.InstanceNumber = index + 1
        dataset.ScanningSequence = common.get("ScanningSequence", "SE")
        dataset.SequenceVariant, dataset.ScanOptions = "NONE", ""
        dataset.MRAcquisitionType = "2D"
        dataset.EchoTrainLength = 1
        for element in (_measures(affine), _orientation(affine), _position(affine, index)):
            dataset.update(element)
        if rescale != (1.0, 0.0):
            dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = (*map(str, rescale), "US")
        files.append(folder / names.format(index + 1))
        dataset.save_as(files[-1], enforce_file_format=True)
    return files


def _write_enhanced(
    array: np.ndarray,
    affine: np.ndarray,
    folder: Path,
    common: Mapping[str, Any],
    rescale: tuple[float, float],
    names: str,
) -> list[Path]:
    times = {name: common.get(name) for name in ("EchoTime", "RepetitionTime", "InversionTime", "ContrastBolusAgent")}
    plain = {name: value for name, value in common.items() if name not in times}
    dataset = _dataset(EnhancedMRImageStorage, plain, array)
    dataset.ImageType = plain.get("ImageType", ["ORIGINAL", "PRIMARY", "OTHER", "NONE"])
    dataset.NumberOfFrames, dataset.InstanceNumber = len(array), 1
    organisation, group = {"DimensionOrganizationUID": generate_uid()}, Tag("FrameContentSequence")
    dataset.DimensionOrganizationSequence = [_item(**organisation)]
    dataset.DimensionIndexSequence = [
        _item(DimensionIndexPointer=Tag(name), FunctionalGroupPointer=group, **organisation)
        for name in ("StackID", "InStackPositionNumber")
    ]
    if times["ContrastBolusAgent"]:
        dataset.ContrastBolusAgentSequence = [
            _item(CodeValue="1", CodingSchemeDesignator="99TEST", CodeMeaning=times["ContrastBolusAgent"])
        ]
    shared = Dataset()
    shared.PixelMeasuresSequence = [_measures(affine)]
    shared.PlaneOrientationSequence = [_orientation(affine)]
    shared.PixelValueTransformationSequence = [
        _item(RescaleSlope=str(rescale[0]), RescaleIntercept=str(rescale[1]), RescaleType="US")
    ]
    shared.MRTimingAndRelatedParametersSequence = [_item(RepetitionTime=times["RepetitionTime"])]
    shared.MREchoSequence = [_item(EffectiveEchoTime=times["EchoTime"])]
    if times["InversionTime"]:
        shared.MRModifierSequence = [_item(InversionRecovery="YES", InversionTimes=times["InversionTime"])]
    frames = []
    for index in range(len(array)):
        frame = Dataset()
        frame.FrameContentSequence = [
            _item(StackID="1", InStackPositionNumber=index + 1, DimensionIndexValues=[1, index + 1])
        ]
        frame.PlanePositionSequence = [_position(affine, index)]
        frames.append(frame)
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [shared], frames
    file = folder / names.format(1)
    dataset.save_as(file, enforce_file_format=True)
    return [file]


def _dataset(sop_class: pydicom.uid.UID, common: Mapping[str, Any], pixels: np.ndarray) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, generate_uid()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.Modality, dataset.Manufacturer = "MR", "Test"
    for name, value in common.items():
        setattr(dataset, name, value)
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, int(pixels.min() < 0)
    dataset.PixelData = np.ascontiguousarray(pixels, "<i2" if pixels.min() < 0 else "<u2").tobytes()
    return dataset


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def _measures(affine: np.ndarray) -> Dataset:
    columns, rows, slices = _decimals(np.linalg.norm(affine[:3, :3], axis=0))
    return _item(PixelSpacing=[rows, columns], SliceThickness=slices, SpacingBetweenSlices=slices)


def _orientation(affine: np.ndarray) -> Dataset:
    axes = (affine[:3, :2] / np.linalg.norm(affine[:3, :2], axis=0)).T
    return _item(ImageOrientationPatient=_decimals(axes.ravel()))


def _position(affine: np.ndarray, index: int) -> Dataset:
    return _item(ImagePositionPatient=_decimals(affine[:3, 3] + index * affine[:3, 2]))


def _decimals(values: np.ndarray) -> list[Any]:
    """Numbers as DICOM's decimal strings, of 16 characters at most."""
    return [pydicom.valuerep.DSfloat(value, auto_format=True) for value in values]
