"""Series of DICOM files: found below a folder, whatever their names, and read as volumes.

Tags are read by pydicom; the grid is made of each slice's own place (DICOM PS3.3 C.7.6.2); pixels are unpacked by
pydicom, or by SimpleITK's GDCM where pydicom has no decoder for their compression.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ...domain.errors import InputError
from ...domain.volume import Place, Volume
from ..evidence import BoundedFile, check_memory
from ..formats import HEAD, reason_of
from ..run_folder import run_folder
from .headers import Header, damage, pydicom_for, quiet, read_dataset, read_header
from .stack import Stack, stack

# Compressions that GDCM unpacks: JPEG, lossless JPEG, JPEG-LS, JPEG 2000, run lengths (PS3.6 Annex A).
_GDCM = {f"1.2.840.10008.1.2.{end}" for end in ("4.50", "4.51", "4.57", "4.70", "4.80", "4.81", "4.90", "4.91", "5")}
# Of a voxel as it is stored and as a grey value.
_VOXEL_BYTES = 8
# A file without the preamble of DICOM PS3.10 begins with the data set, or with what says how that is written; the class
# of its object, an image or what belongs to one, is among the first elements.
_BARE = re.compile(
    rb"(?=[\x02\x08]\x00).*?(?:\x02\x00\x02|\x08\x00\x16)\x00(?:UI..|..\x00\x00)1\.2\.840\.10008\.5\.1\.4\.", re.DOTALL
)
_AGAIN = "Export the series again, or name other ones: --t1 SERIES …"


@dataclass(frozen=True, eq=False)
class Series:
    """The images of one series, at one echo time.

    Attributes:
        headers: of its files; copies are in it once.
        name: for people: its number and its description.
    """

    headers: tuple[Header, ...]
    name: str

    @property
    def first(self) -> Header:
        """One of its headers: what is the same in all of them can be read there."""
        return self.headers[0]

    @property
    def tags(self) -> Mapping[str, str]:
        """What tells its kind."""
        return self.first.tags

    @property
    def files(self) -> tuple[Path, ...]:
        """Its files."""
        return tuple(header.file for header in self.headers)

    @property
    def folder(self) -> Path:
        """Where its first file lies."""
        return self.first.file.parent

    def __str__(self) -> str:
        """Its folder and name."""
        return f"{self.folder}, {self.name}"

    @cached_property
    def problem(self) -> str:
        """Why no volume can be made of it, in words that follow its name; empty where one can be."""
        try:
            self.stack()
        except InputError as error:
            return str(error)
        return ""

    def stack(self) -> Stack:
        """Its slices in their order.

        Raises:
            InputError: they make no volume; the message is what follows its name.
        """
        first = self.first
        if first.modality != "MR":
            raise InputError(f"is {first.modality or 'of unknown modality'}, not MR")
        if first.colour:
            raise InputError("holds colour images")
        if "MOSAIC" in self.tags.get("ImageType", "").upper().split("\\"):
            raise InputError("is a mosaic: all slices of a time point in one image")
        if any(not header.frames for header in self.headers):
            raise InputError("does not say where its slices lie")
        for header in self.headers:
            if header.damage:
                raise InputError(f"cannot be read whole: {header.file.name} {header.damage}")
        instances: dict[str, Header] = {}
        for header in self.headers:
            other = instances.setdefault(header.instance, header)
            if other is not header:
                raise InputError(
                    f"has two different images of one SOP Instance UID: {other.file.name} and {header.file.name}"
                )
        return stack([frame for header in self.headers for frame in header.frames])


@dataclass(frozen=True)
class Found:
    """What is below a folder.

    Attributes:
        series: in the order of their numbers.
        left_out: name of a file that belongs to none → why.
        damaged: of those, DICOM files that cannot be read.
    """

    series: tuple[Series, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    damaged: tuple[Path, ...] = ()


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins so is DICOM, with its preamble or without."""
    return head[128:132] == b"DICM" or _BARE.match(head) is not None


def is_dicom_file(path: Path) -> bool:
    """Whether a file is DICOM by its content; a directory of a medium (DICOMDIR) holds no image and is none."""
    if path.name.upper() == "DICOMDIR":
        return False
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(HEAD))
    except OSError:
        return False


def find_series(files: Iterable[Path], root: Path) -> Found:
    """Sort files into series.

    Args:
        files: any; those that are no DICOM, or damaged, are left out.
        root: folder that names of files are given from.

    Raises:
        RequestError: pydicom is not installed.
    """
    groups: dict[tuple[str, ...], dict[str, list[Header]]] = {}
    left_out, damaged, others = {}, [], []
    for file in files:
        if not is_dicom_file(file):
            others.append(file)
            continue
        try:
            header = read_header(file)
        except InputError as error:
            left_out[file.relative_to(root).as_posix()] = str(error)
            damaged.append(file)
            continue
        key = (header.series, header.tags.get("EchoTime", "") if header.modality == "MR" else "")
        kept = groups.setdefault(key, {}).setdefault(header.instance, [])
        # Two that differ make the series unusable; no third one need be compared.
        same = next((place for place, other in enumerate(kept[:2]) if other.lies_as(header)), None)
        if same is None:
            kept.append(header)
        elif kept[same].damage:
            kept[same] = header
        else:
            left_out[file.relative_to(root).as_posix()] = f"a copy of {kept[same].file.name}"
    if others:
        some = ", ".join(path.name for path in others[:3]) + (", …" if len(others) > 3 else "")
        left_out[f"{len(others)} other file{'s' if len(others) > 1 else ''}"] = f"no DICOM images ({some})"
    return Found(tuple(_named(groups)), left_out, tuple(damaged))


def _named(groups: Mapping[tuple[str, ...], Mapping[str, list[Header]]]) -> list[Series]:
    """Series with names that tell them apart, by number."""
    found: list[Series] = []
    times: Counter[str] = Counter()
    lists = [tuple(chain.from_iterable(group.values())) for group in groups.values()]
    for headers in sorted(lists, key=lambda group: (group[0].date, _count(group[0].number), group[0].time)):
        first = headers[0]
        name = f"series {first.number or '?'}"
        if description := first.tags.get("SeriesDescription") or first.tags.get("ProtocolName"):
            name += f' "{description}"'
        times[name] += 1
        found.append(Series(headers, f"{name} ({times[name]})" if times[name] > 1 else name))
    return found


def _count(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def read_series(series: Series, reason: str = "") -> Volume:
    """The volume of a series; its place names the files, in the order of the slices.

    Args:
        series: to read.
        reason: what it is known by, for messages and records.

    Raises:
        InputError: its slices make no volume, or their pixels cannot be read.
    """
    if series.problem:
        raise InputError(f"{series} {series.problem}.", _AGAIN)
    stacked = series.stack()
    rows, columns = stacked.frames[0].size
    check_memory(series.folder, len(stacked.frames) * rows * columns * _VOXEL_BYTES)
    pages = {file: _pixels(file) for file in dict.fromkeys(frame.file for frame in stacked.frames)}
    slices = []
    for frame in stacked.frames:
        image = pages[frame.file][frame.index]
        slope, intercept = frame.rescale
        plain = (slope, intercept) == (1.0, 0.0)
        slices.append(image if plain else (image * slope + intercept).astype(np.float32))
    place = Place({}, instances=tuple(pages))
    source = f"{series} ({reason})" if reason else str(series)
    return Volume(np.stack(slices), stacked.affine, source, place)


def _pixels(file: Path) -> np.ndarray:
    """The stored values of a file, ``(frames, rows, columns)``.

    Raises:
        InputError: they are damaged, or of a compression that nothing here unpacks.
    """
    pydicom = pydicom_for(file)
    how, remedy = "", _AGAIN
    try:
        with quiet(), BoundedFile(file) as stream:
            dataset = read_dataset(stream)
            syntax = dataset.file_meta.TransferSyntaxUID
            if syntax.is_private or syntax.is_compressed:
                how, remedy = f" as {syntax.name}", "Export the series again, uncompressed."
            by_pydicom = pydicom.pixels.get_decoder(syntax).is_available
            if not by_pydicom and syntax not in _GDCM:
                raise NotImplementedError("no decoder for it is installed")
            array = np.asarray(dataset.pixel_array) if by_pydicom else _unpacked(dataset)
    except damage() as error:
        raise InputError(f"The pixels of {file} cannot be read{how} ({reason_of(error)}).", remedy) from error
    return array.reshape(-1, *array.shape[-2:])


def _unpacked(dataset: Any) -> np.ndarray:
    """The stored values by GDCM, from a copy without the rescaling that it would apply."""
    import SimpleITK as sitk
    from pydicom import Dataset

    bare = Dataset()
    for element in dataset.group_dataset(0x0028):
        if not element.keyword.startswith("Rescale"):
            bare.add(element)
    for keyword in ("SOPClassUID", "SOPInstanceUID", "PixelData"):
        bare[keyword] = dataset[keyword]
    bare.file_meta = dataset.file_meta
    with run_folder() as folder:
        file = folder / "pixels.dcm"
        bare.save_as(file, enforce_file_format=True)
        return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(file), imageIO="GDCMImageIO")))
