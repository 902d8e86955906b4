"""Headers of DICOM files: what identifies a series, what tells its kind, and where its slices lie."""

from __future__ import annotations

import logging
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...domain.errors import InputError, RequestError
from ..evidence import BoundedFile
from ..formats import reason_of
from .stack import Frame

EXTRA = "Install the extra [dicom]: python -m pip install pydicom highdicom."
# What pydicom meets a damaged file with, but for errors of its own.
_DAMAGE = (
    OSError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, NotImplementedError,
    struct.error, OverflowError, ArithmeticError, RuntimeError, zlib.error,
)  # fmt: skip
# Transfer syntaxes that pixels are written in as they are (PS3.5 Annex A).
_PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")

# What tells a series' kind; in enhanced objects some bear other names and lie deeper.
_KIND_TAGS: Mapping[str, tuple[str, ...]] = {
    "SeriesDescription": ("SeriesDescription",),
    "ProtocolName": ("ProtocolName",),
    "ImageType": ("ImageType",),
    "BodyPartExamined": ("BodyPartExamined",),
    "AngioFlag": ("AngioFlag",),
    "ScanningSequence": ("ScanningSequence",),
    "DiffusionBValue": ("DiffusionBValue",),
    "EchoTime": ("EchoTime", "EffectiveEchoTime"),
    "RepetitionTime": ("RepetitionTime",),
    "InversionTime": ("InversionTime", "InversionTimes"),
    "ContrastBolusAgent": ("ContrastBolusAgent",),
}
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_TAGS = [
    *{keyword for keywords in _KIND_TAGS.values() for keyword in keywords},
    *_GROUPS,
    *("SOPClassUID", "SOPInstanceUID", "Modality", "ContrastBolusAgentSequence", "PatientID", "PatientName"),
    "PatientBirthDate",
    *("StudyInstanceUID", "StudyDate", "StudyTime", "SeriesInstanceUID", "SeriesNumber", "SeriesDate", "SeriesTime"),
    *("AcquisitionDate", "AcquisitionTime", "ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "RescaleSlope", "RescaleIntercept"),
]


@dataclass(frozen=True, eq=False)
class Header:
    """What is kept of a file's header.

    Attributes:
        file: that it is of.
        instance: UID of the object in the file.
        series, study: UIDs of what it belongs to.
        modality: ``MR``, ``CT``, ``SEG``, …
        patient: identifier, or name where there is none.
        birth: the patient's date of birth, as ``YYYYMMDD``.
        number: of the series, as its scanner counts.
        date: of the study, as ``YYYYMMDD``.
        time: when the series was acquired, to be compared.
        tags: what tells its kind, see :func:`.series_kinds.other_kind`.
        frames: its slices; none where they have no place in space.
        damage: what is wrong with its pixels, in words that follow the file's name.
        colour: whether it is a colour image.
    """

    file: Path
    instance: str
    series: str
    study: str
    modality: str
    patient: str
    birth: str
    number: str
    date: str
    time: str
    tags: Mapping[str, str]
    frames: tuple[Frame, ...] = field(repr=False)
    damage: str = ""
    colour: bool = False

    def lies_as(self, other: Header) -> bool:
        """Whether its slices are as many as another's, and lie where they do."""
        pairs = zip(self.frames, other.frames, strict=False)
        return len(self.frames) == len(other.frames) and all(mine.lies_as(its) for mine, its in pairs)


def pydicom_for(source: Path) -> Any:
    """The library.

    Raises:
        RequestError: it is not installed; names what needs it, and the extra that brings it.
    """
    try:
        import pydicom
    except ImportError as error:
        raise RequestError(f"{source} is DICOM, which pydicom reads, and that is not installed.", EXTRA) from error
    return pydicom


def damage() -> tuple[type[Exception], ...]:
    """What pydicom, which is installed, meets a damaged file with."""
    from pydicom import errors

    return (*_DAMAGE, errors.InvalidDicomError, errors.BytesLengthException)


def read_dataset(stream: BoundedFile, **how: Any) -> Any:
    """What a file holds, also where it lacks the preamble, and with it what says how it is written.

    Args:
        stream: stands at the file's beginning; the file is DICOM, see :func:`.series.is_dicom`.
        how: options of pydicom's ``dcmread``.
    """
    import pydicom

    dataset = pydicom.dcmread(stream, force=True, **how)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        uid = pydicom.uid
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return dataset


def read_header(file: Path) -> Header:
    """The header of a DICOM file, without its pixels.

    Raises:
        RequestError: pydicom is not installed.
        InputError: the file is damaged; the message is what follows its name.
    """
    pydicom_for(file)
    try:
        with quiet(), BoundedFile(file) as stream:
            dataset = read_dataset(stream, stop_before_pixels=True, specific_tags=_TAGS)
            header = _header(dataset, file, file.stat().st_size - stream.tell())
    except damage() as error:
        raise InputError(f"is a damaged DICOM file ({reason_of(error)})") from error
    if not (header.instance and header.series):
        raise InputError("is a damaged DICOM file (it does not say what it is)")
    return header


@contextmanager
def quiet() -> Iterator[None]:
    """Without pydicom's remarks on values that break a rule of the standard and can be read all the same."""
    log = logging.getLogger("pydicom")
    before = log.disabled
    log.disabled = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = before


def _header(dataset: Any, file: Path, left: int) -> Header:
    """What is kept of a header, behind which so many bytes are left."""

    def text(keyword: str) -> str:
        return _text(dataset.get(keyword))

    return Header(
        file=file,
        instance=text("SOPInstanceUID"),
        series=text("SeriesInstanceUID"),
        study=text("StudyInstanceUID"),
        modality=text("Modality"),
        patient=text("PatientID") or text("PatientName"),
        birth=text("PatientBirthDate"),
        number=text("SeriesNumber"),
        date=text("StudyDate"),
        time=(text("AcquisitionDate") or text("SeriesDate")) + (text("AcquisitionTime") or text("SeriesTime")),
        tags=_kind_tags(dataset),
        frames=tuple(_frames(dataset, file)),
        damage=_damage(dataset, left),
        colour=int(dataset.get("SamplesPerPixel") or 1) > 1,
    )


def _text(value: Any) -> str:
    """A value as text; several are joined by backslashes."""
    if value is None:
        return ""
    several = not isinstance(value, (str, bytes)) and hasattr(value, "__iter__") and not hasattr(value, "components")
    return "\\".join(map(str, value)) if several else str(value).strip()


def _kind_tags(dataset: Any) -> dict[str, str]:
    places = [dataset, *(dataset[group].value[0] for group in _GROUPS if dataset.get(group))]
    found = {}
    for name, keywords in _KIND_TAGS.items():
        texts = (_text(_deep(place, keyword)) for place in places for keyword in keywords)
        if text := next(filter(None, texts), ""):
            found[name] = text
    if "ContrastBolusAgent" not in found and dataset.get("ContrastBolusAgentSequence"):
        agent = dataset.ContrastBolusAgentSequence[0]
        found["ContrastBolusAgent"] = _text(agent.get("CodeMeaning")) or "given"
    return found


def _deep(dataset: Any, keyword: str) -> Any:
    """A value in a data set, or in the sequences of one of its functional groups."""
    if keyword in dataset:
        return dataset[keyword].value
    inner = (element.value[0] for element in dataset if element.VR == "SQ" and element.value)
    return next((item[keyword].value for item in inner if keyword in item), None)


def _frames(dataset: Any, file: Path) -> Iterator[Frame]:
    """The slices in a file, where each has its place in space."""
    count = int(dataset.get("NumberOfFrames") or 1)
    shared = (dataset.get(_GROUPS[0]) or [None])[0]
    own = dataset.get(_GROUPS[1]) or [None] * count
    for index, groups in enumerate(own[:count]):
        places = [place for place in (groups, shared, dataset) if place is not None]

        def value(keyword: str, default: Any = None, places: list[Any] = places) -> Any:
            found = (_deep(place, keyword) for place in places)
            return next((each for each in found if each is not None), default)

        axes, position, spacing = map(value, ("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing"))
        if not (axes and position and spacing and dataset.get("Rows") and dataset.get("Columns")):
            return
        if count > 1 and shared is None and groups is None:
            return  # several slices, and one place for all
        yield Frame(
            file,
            index,
            (int(dataset.Rows), int(dataset.Columns)),
            (float(spacing[0]), float(spacing[1])),
            np.array(axes, dtype=np.float64).reshape(2, 3),
            np.array(position, dtype=np.float64).reshape(3),
            (float(value("RescaleSlope", 1)), float(value("RescaleIntercept", 0))),
        )


def _damage(dataset: Any, left: int) -> str:
    """What is wrong with the pixels: slices of an enhanced object that nothing describes, or too few bytes left.

    Pixels that are compressed, in a file that is deflated as a whole, or written in a maker's own way, are known when
    they are unpacked.
    """
    count, described = int(dataset.get("NumberOfFrames") or 1), len(dataset.get(_GROUPS[1]) or ())
    if described not in (0, count):
        return f"is damaged: it holds {count} slices and describes {described}"
    if dataset.file_meta.TransferSyntaxUID not in _PLAIN or not dataset.get("Rows"):
        return ""
    pixels = int(dataset.Rows) * int(dataset.Columns) * count
    size = pixels * int(dataset.get("SamplesPerPixel") or 1) * int(dataset.get("BitsAllocated") or 16) // 8
    return "is damaged: it ends before its last pixel" if left < size else ""


def readable_date(date: str) -> str:
    """``YYYYMMDD`` as people write it."""
    return "-".join(found.groups()) if (found := re.fullmatch(r"(\d{4})(\d\d)(\d\d)", date)) else date or "without date"
