"""Results as DICOM Segmentation objects (PS3.3 A.51), with their measurements as a structured report (PS3.16 TID 1500).

Both refer to the images of the series that carries the result, lie in its frame of reference and belong to its study.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...domain.errors import InputError, OutputError, RequestError
from ...domain.measurements import RegionMeasurement
from ...domain.segmentation import Segmentation
from ...domain.volume import Volume
from ..evidence import BoundedFile
from .headers import EXTRA, pydicom_for, quiet, read_dataset

SUFFIX = ".dcm"
_MAKER = "BrainTumorSeg"
_USE = "For research, not for clinical use"
# What a source series must have that results refer to.
_NEEDED = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPClassUID", "SOPInstanceUID")
# What it must have, if empty.
_WANTED = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "PositionReferenceIndicator"),
)
# Series of results are numbered apart from the scanner's own, which rarely reach hundreds.
_SERIES_NUMBERS = 1000


def is_dicom_seg(path: Path | str) -> bool:
    """Whether the name asks for a DICOM segmentation."""
    return Path(path).suffix.lower() == SUFFIX


def beside_seg(output: Path) -> tuple[Path, Path]:
    """The structured report and the table of measurements that are written beside a segmentation."""
    return output.with_name(f"{output.stem}_measurements{SUFFIX}"), output.with_suffix(".csv")


def check_seg(output: Path, reference: Volume | None = None) -> None:
    """Refuse a DICOM segmentation that could not be written.

    Args:
        output: its name, for messages.
        reference: image on whose grid the result will lie.

    Raises:
        RequestError: highdicom is not installed, or the reference did not come from DICOM.
        InputError: the reference's files lack what a result must refer to.
    """
    _highdicom(output)
    if reference is None:
        return
    if reference.place is None or not reference.place.instances:
        raise RequestError(
            f"{output.name} asks for a DICOM segmentation, which refers to DICOM images; {reference.source} is none.",
            "Write .nii.gz, or give a folder of DICOM series.",
        )
    dataset = _headers(reference.place.instances[:1])[0]
    lacking = [keyword for keyword in _NEEDED if not dataset.get(keyword)]
    if lacking:
        raise InputError(
            f"{reference.source} lacks {lacking[0]}, to which a DICOM segmentation refers.", "Write .nii.gz instead."
        )


def write_seg(result: Segmentation, file: Path, report: Path, table: Path) -> None:
    """Write the regions as segments 1, 2, … of a binary DICOM segmentation, and their sizes as report and table.

    Args:
        result: whose labels lie on the grid of a DICOM series.
        file: gets the segmentation.
        report: gets the structured report.
        table: gets the same sizes, and more, as CSV.

    Raises:
        OutputError: highdicom refuses what the source's files say.
        OSError: the disk refused.
    """
    assert result.labels.place is not None, "check_seg comes first"
    sources = _headers(result.labels.place.instances)
    with quiet():
        try:
            segmentation = _segmentation(result, sources)
            measured = _report(result, sources, segmentation)
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise OutputError(
                f"No DICOM segmentation can be made for {result.labels.source} ({error}).", "Write .nii.gz instead."
            ) from error
        segmentation.save_as(file)
        measured.save_as(report)
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["region", *(field.name for field in dataclasses.fields(RegionMeasurement))])
        for name, size in result.measurements.items():
            writer.writerow([name, *(round(value, 3) for value in dataclasses.astuple(size))])


def _highdicom(output: Path) -> Any:
    pydicom_for(output)
    try:
        import highdicom
    except ImportError as error:
        raise RequestError(f"{output.name} needs highdicom, which is not installed.", EXTRA) from error
    return highdicom


def _headers(files: Sequence[Path]) -> list[Any]:
    """The source's headers, with what the standard wants to be there, if empty, where anonymisation removed it.

    What holds no value of its kind is emptied, too, and texts of several character sets, or of one that highdicom does
    not know, are put into UTF-8: highdicom refuses them as they are.
    """
    found = []
    for file in files:
        with quiet(), BoundedFile(file) as stream:
            dataset = read_dataset(stream, stop_before_pixels=True)
            if not _has_known_characters(dataset):
                dataset.decode()
                dataset.SpecificCharacterSet = "ISO_IR 192"
            for keyword in _WANTED:
                if keyword not in dataset or not _has_sense(dataset[keyword]):
                    setattr(dataset, keyword, "")
        found.append(dataset)
    return found


def _has_known_characters(dataset: Any) -> bool:
    from highdicom import SpecificCharacterSetValues

    return dataset.get("SpecificCharacterSet") in (None, *(each.value for each in SpecificCharacterSetValues))


def _has_sense(element: Any) -> bool:
    """Whether a date, a time or a sex is one."""
    from pydicom.valuerep import DA, TM

    if element.keyword == "PatientSex":
        return element.value in (None, "", "M", "F", "O")
    kind = {"DA": DA, "TM": TM}.get(element.VR, str)
    try:
        kind(element.value)
    except (ValueError, TypeError):
        return False
    return True


def _segmentation(result: Segmentation, sources: Sequence[Any]) -> Any:
    import highdicom
    from pydicom.uid import ExplicitVRLittleEndian

    model = result.provenance["model"]
    slices = _slices(result.labels, sources)
    masks = np.stack([result.mask(region)[slices] for region in result.segments], axis=-1)
    return highdicom.seg.Segmentation(
        source_images=sources,
        pixel_array=masks,
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(number, name, result) for number, name in enumerate(result.segments, start=1)],
        series_number=_SERIES_NUMBERS + int(sources[0].get("SeriesNumber") or 0),
        series_description=f"Brain tumour, {model['id']}"[:64],
        content_label="BRAIN_TUMOUR",
        content_description=_USE,
        content_creator_name=_MAKER,
        device_serial_number=model["sha256"][:16] or model["version"],
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=bool(masks.any()),
        **_identity(result, highdicom.UID),
    )


def _identity(result: Segmentation, new_uid: Any) -> dict[str, Any]:
    """What names a new object of a new series, and the software that made it."""
    return {
        "series_instance_uid": new_uid(),
        "sop_instance_uid": new_uid(),
        "instance_number": 1,
        "manufacturer": _MAKER,
        "manufacturer_model_name": _MAKER,
        "software_versions": str(result.provenance["versions"][_MAKER.lower()]),
    }


def _slices(labels: Volume, sources: Sequence[Any]) -> list[int]:
    """The slice of the volume on which each image of the source lies, in the source's order."""
    places = [np.asarray(source.ImagePositionPatient) for source in sources if "ImagePositionPatient" in source]
    if not places:
        places = [
            np.asarray(groups.PlanePositionSequence[0].ImagePositionPatient)
            for source in sources
            for groups in source.PerFrameFunctionalGroupsSequence
        ]
    ras = np.array(places, dtype=np.float64) * (-1, -1, 1)
    index = np.linalg.inv(labels.affine) @ np.column_stack([ras, np.ones(len(ras))]).T
    return [int(z) for z in np.round(index[2])]


def _segment(number: int, name: str, result: Segmentation) -> Any:
    import highdicom
    from pydicom.sr.codedict import codes

    region, model = result.segments[name], result.provenance["model"]
    segment = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=_concept(region.code),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=model["id"], family=codes.DCM.ArtificialIntelligence, version=model["version"] or "1", source=_MAKER
        ),
        tracking_uid=highdicom.UID(),
        tracking_id=region.title,
        anatomic_regions=[codes.SCT.Brain],
        display_color=highdicom.color.CIELabColor.from_rgb(*region.colour),
    )
    segment.SegmentDescription = region.title
    return segment


def _concept(code: Any) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)


def _report(result: Segmentation, sources: Sequence[Any], segmentation: Any) -> Any:
    import highdicom
    from highdicom import sr
    from pydicom.sr.codedict import codes

    device = sr.ObserverContext(
        codes.DCM.Device, sr.DeviceObserverIdentifyingAttributes(highdicom.UID(), _MAKER, _MAKER, _MAKER)
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=device),
        procedure_reported=codes.cid100.MRIUnspecifiedBodyRegion,
        imaging_measurements=[_measured(name, result, segmentation) for name in result.segments],
        title=codes.DCM.ImagingMeasurementReport,
    )
    return sr.Comprehensive3DSR(
        evidence=[*sources, segmentation],
        content=content[0],
        series_number=_SERIES_NUMBERS + 1 + int(sources[0].get("SeriesNumber") or 0),
        series_description=f"Brain tumour measurements, {result.provenance['model']['id']}"[:64],
        is_complete=True,
        **_identity(result, highdicom.UID),
    )


def _measured(name: str, result: Segmentation, segmentation: Any) -> Any:
    """Volume and longest axial diameter of a region."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    number = list(result.segments).index(name) + 1
    segment = segmentation.SegmentSequence[number - 1]
    size, model = result.measurements[name], result.provenance["model"]
    series = segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID
    measurements = [
        sr.Measurement(codes.SCT.Volume, round(size.volume_ml, 3), codes.UCUM.CubicCentimeter),
        sr.Measurement(codes.SCT.LongAxis, round(size.largest_axial_diameter_mm, 2), codes.UCUM.Millimeter),
    ]
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(segment.TrackingUID, segment.TrackingID),
        referenced_segment=sr.ReferencedSegment(
            segmentation.SOPClassUID,
            segmentation.SOPInstanceUID,
            number,
            source_series=sr.SourceSeriesForSegmentation(series),
        ),
        finding_type=_concept(result.segments[name].code),
        finding_category=codes.SCT.MorphologicallyAbnormalStructure,
        finding_sites=[sr.FindingSite(codes.SCT.Brain)],
        algorithm_id=sr.AlgorithmIdentification(model["id"], model["version"] or "1"),
        measurements=measurements,
    )
