"""MetaImage, with its voxels behind the header (``.mha``) or in a file beside it (``.mhd``).

Format: itk.org/Wiki/ITK/MetaIO/Documentation. Read and written here, not by ITK: its reader takes the name of the data
file for a format of printf, trusts every size, and packed voxels whatever they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np

from ..domain.errors import InputError
from ..domain.grid import LPS_TO_RAS
from ..domain.volume import Volume
from .evidence import data_file, read_deflated, read_raw, shown, text_lines, voxel_bytes
from .formats import Pixels, deflated, has_right_angles, in_file_order, in_native_order, wrong_dimension

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
_WRITTEN = {code: name for name, code in _TYPES.items() if name not in ("MET_LONG", "MET_ULONG")}
# Names of a field in files of different age; the first that is there counts.
_MATRIX = ("TransformMatrix", "Rotation", "Orientation")
_ORIGIN = ("Offset", "Position", "Origin")
_SPACING = ("ElementSpacing", "ElementSize")
_BIG = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
_LAST = "ElementDataFile"
_KNOWN = (
    *_MATRIX, *_ORIGIN, *_SPACING, *_BIG, "ObjectType", "NDims", "DimSize", "ElementType", "ElementNumberOfChannels",
    "BinaryData", "CompressedData", "CompressedDataSize", "HeaderSize",
)  # fmt: skip
_REMEDY = "Its header is damaged; export it again."


@dataclass(frozen=True)
class Header:
    """The text before the voxels: name → text, in the file that ``path`` names."""

    path: Path
    fields: Mapping[str, str]

    def refuse(self, what: str) -> InputError:
        """The error for a header that says what it cannot mean."""
        return InputError(f"{self.path} {what}.", _REMEDY)

    def whole(self, name: str, default: int | None = None) -> int:
        """A field that is a whole number."""
        text = self.fields.get(name, "" if default is None else str(default))
        if not re.fullmatch(r"-?\d{1,18}", text):
            raise self.refuse(f"has {name} {shown(text)}")
        return int(text)

    def true(self, *names: str) -> bool:
        """A field that is true or false, under any of its names."""
        text = next((self.fields[name] for name in names if name in self.fields), "False")
        if text.lower() not in ("true", "false", "1", "0"):
            raise self.refuse(f"has {names[0]} {shown(text)}")
        return text.lower() in ("true", "1")

    def numbers(self, names: tuple[str, ...], count: int) -> np.ndarray | None:
        """A field of so many numbers, under any of its names; None where it is not there."""
        name = next((name for name in names if name in self.fields), None)
        if name is None:
            return None
        try:
            values = np.array([float(word) for word in self.fields[name].split()])
        except ValueError:
            values = np.empty(0)
        if len(values) != count:
            raise self.refuse(f"has {name} {shown(self.fields[name])} where {count} numbers are due")
        return values

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis, the fastest first."""
        sizes = self.fields.get("DimSize", "").split()
        dimension = self.whole("NDims")
        if len(sizes) != dimension or not all(re.fullmatch(r"\d{1,18}", size) for size in sizes):
            raise self.refuse(f"has sizes {shown(' '.join(sizes))} for {dimension} dimensions")
        return tuple(map(int, sizes))

    @property
    def dtype(self) -> np.dtype:
        """Type of the voxels as they are stored."""
        name = self.fields.get("ElementType", "").removesuffix("_ARRAY")
        if name not in _TYPES:
            raise self.refuse(f"has voxels of type {shown(name)}")
        return np.dtype((">" if self.true(*_BIG) else "<") + _TYPES[name])


def read_header(file: BufferedReader, path: Path) -> Header:
    """The header of an open file, which stands behind it then.

    Raises:
        InputError: it is damaged.
    """
    fields: dict[str, str] = {}
    for line in text_lines(file, path):
        if not line.strip():
            continue
        name, *texts = (part.strip() for part in re.split("[=:]", line, maxsplit=1))
        if not name or not texts:
            raise InputError(f"{path} has a line that is none of a MetaImage header: {shown(line)}.", _REMEDY)
        if name in fields and name in _KNOWN:
            raise InputError(f"{path} states its {name} twice.", _REMEDY)
        fields[name] = texts[0]
        if name == _LAST:
            return Header(path, fields)
    raise InputError(f"{path} does not say where its voxels are ({_LAST}).", _REMEDY)


class MetaImage:
    """See :class:`.formats.Format`."""

    name: str = "MetaImage"
    suffixes: tuple[str, ...] = (".mha",)
    keeps_place: bool = False

    def matches(self, head: bytes) -> bool:
        """By the names that its header may begin with."""
        return head.lstrip().startswith((b"ObjectType", b"NDims", b"Comment", b"ID ", b"TransformType"))

    def read(self, path: Path) -> Pixels:
        """Voxels and affine, several values of a voxel as channels."""
        with path.open("rb") as file:
            header = read_header(file, path)
            shape, values = _checked(header)
            place = header.fields[_LAST]
            if place.upper() == "LOCAL":
                array = _voxels(header, file, (values, *shape), header.whole("HeaderSize", 0))
            else:
                with data_file(path, place).open("rb") as beside:
                    skip = header.whole("HeaderSize", 0)
                    beside.seek(max(skip, 0))
                    array = _voxels(header, beside, (values, *shape), min(skip, 0))
        array = array.reshape(*shape[::-1], values)
        return Pixels(
            np.ascontiguousarray(array[..., 0] if values == 1 else np.moveaxis(array, -1, 0)), _affine(header)
        )

    def write(self, volume: Volume, path: Path) -> None:
        """Packed by zlib, whose checksum every reader of ours verifies."""
        affine = LPS_TO_RAS @ volume.affine
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        array = in_file_order(volume.array)
        packed = deflated(array)
        lines = (
            "ObjectType = Image",
            "NDims = 3",
            "BinaryData = True",
            "BinaryDataByteOrderMSB = False",
            "CompressedData = True",
            f"CompressedDataSize = {len(packed)}",
            f"TransformMatrix = {_text((affine[:3, :3] / spacing).T)}",
            f"Offset = {_text(affine[:3, 3])}",
            f"ElementSpacing = {_text(spacing)}",
            f"DimSize = {' '.join(map(str, volume.shape[::-1]))}",
            f"ElementType = {_WRITTEN[array.dtype.str[1:]]}",
            f"{_LAST} = LOCAL\n",
        )
        path.write_bytes("\n".join(lines).encode() + packed)

    def can_hold(self, affine: np.ndarray) -> bool:
        """Axes must be at right angles: other programs read no others."""
        return has_right_angles(affine)


def _checked(header: Header) -> tuple[tuple[int, ...], int]:
    """Shape and values a voxel of what can be read here."""
    if header.fields.get("ObjectType", "Image") != "Image":
        raise header.refuse(f"is of the type {shown(header.fields['ObjectType'])}, not an image")
    if "BinaryData" in header.fields and not header.true("BinaryData"):
        raise header.refuse("has its voxels as text, which is not read here")
    shape, values = header.shape, header.whole("ElementNumberOfChannels", 1)
    if values < 1:
        raise header.refuse(f"has {values} values a voxel")
    if len(shape) not in (3, 4) or (len(shape) == 4 and values > 1):
        raise wrong_dimension(header.path, len(shape))
    return shape, values


def _voxels(header: Header, file: BufferedReader, shape: tuple[int, ...], skip: int) -> np.ndarray:
    """The values in one row, from here, or those at the file's end (``skip`` −1)."""
    size = voxel_bytes(shape, header.dtype.itemsize)
    if header.true("CompressedData"):
        packed = header.whole("CompressedDataSize") if "CompressedDataSize" in header.fields else None
        if skip:
            raise header.refuse(f"has HeaderSize {skip} before packed voxels")
        return in_native_order(read_deflated(file, header.path, size, packed=packed).view(header.dtype))
    if skip == -1:
        file.seek(max(file.seek(0, os.SEEK_END) - size, 0))
    elif skip:
        raise header.refuse(f"has HeaderSize {skip}")
    return in_native_order(read_raw(file, header.path, size).view(header.dtype))


def _affine(header: Header) -> np.ndarray:
    """To RAS millimetres, of the first three axes; the file's coordinates are LPS."""
    count = len(header.shape)
    spacing, origin = header.numbers(_SPACING, count), header.numbers(_ORIGIN, count)
    matrix = header.numbers(_MATRIX, count**2)
    affine = np.eye(4)
    if matrix is not None:
        affine[:3, :3] = matrix.reshape(count, count)[:3, :3].T  # a row of the file is an axis
    if spacing is not None:
        if not (spacing > 0).all():
            raise header.refuse(f"has the spacing {_text(spacing)}")
        affine[:3, :3] *= spacing[:3]
    if origin is not None:
        affine[:3, 3] = origin[:3]
    return np.asarray(LPS_TO_RAS @ affine)


def _text(numbers: np.ndarray) -> str:
    return " ".join(map(repr, numbers.ravel().tolist()))
