"""NRRD, attached or with its voxels in a file beside it (teem.sourceforge.net/nrrd/format.html).

Read and written here, not by ITK: its reader trusts the header, and packed voxels whatever they are.
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np

from ..domain.errors import InputError
from ..domain.grid import LPS_TO_RAS
from ..domain.volume import Volume
from .evidence import check_memory, data_file, read_deflated, read_raw, shown, text_lines, voxel_bytes
from .formats import Pixels, deflated, has_right_angles, in_file_order, in_native_order, wrong_dimension

# Spellings of each type of voxels.
_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(
        ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"), "i8"
    ),
    **dict.fromkeys(
        ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"), "u8"
    ),
    "float": "f4",
    "double": "f8",
}  # fmt: skip
_WRITTEN = {"i1": "int8", "u1": "uint8", "i2": "int16", "u2": "uint16", "i4": "int32", "u4": "uint32", "i8": "int64",
            "u8": "uint64", "f4": "float", "f8": "double"}  # fmt: skip
# To RAS from each space that says where the patient is; others are taken for LPS, as ITK does.
_TO_RAS = {
    **dict.fromkeys(("ras", "right-anterior-superior"), (1.0, 1.0, 1.0)),
    **dict.fromkeys(("las", "left-anterior-superior"), (-1.0, 1.0, 1.0)),
    **dict.fromkeys(("lps", "left-posterior-superior"), (-1.0, -1.0, 1.0)),
}
_OTHER_SPACES = ("scanner-xyz", "3d-right-handed", "3d-left-handed")
_FIELDS = {
    "content", "number", "type", "blocksize", "dimension", "space", "spacedimension", "sizes", "spacings",
    "thicknesses", "axismins", "axismaxs", "spacedirections", "centers", "centerings", "kinds", "labels", "units",
    "min", "max", "oldmin", "oldmax", "datafile", "endian", "encoding", "lineskip", "byteskip", "sampleunits",
    "spaceunits", "spaceorigin", "measurementframe",
}  # fmt: skip
_ALONG_SPACE = ("domain", "space", "time", "none", "???")
_TEXT = ("ascii", "text", "txt")
_MOST_LINES = 10_000
_REMEDY = "Its header is damaged; export it again."


@dataclass(frozen=True)
class Header:
    """The text before the voxels.

    Attributes:
        path: of the file.
        fields: name in lower case without spaces → text.
        keys: what programs add (``key:=value``).
    """

    path: Path
    fields: Mapping[str, str]
    keys: Mapping[str, str]

    def refuse(self, what: str) -> InputError:
        """The error for a header that says what it cannot mean."""
        return InputError(f"{self.path} {what}.", _REMEDY)

    def get(self, name: str) -> str:
        """The text of a field that must be there."""
        if name not in self.fields:
            raise self.refuse(f"does not say its {name}")
        return self.fields[name]

    def whole(self, name: str, default: int) -> int:
        """A field that is a whole number."""
        text = self.fields.get(name, str(default))
        if not re.fullmatch(r"-?\d{1,18}", text):
            raise self.refuse(f"has {name} {shown(text)}")
        return int(text)

    def words(self, name: str, count: int) -> list[str]:
        """A field with a word an axis; empty where it is not there."""
        words = re.findall(r'\([^()]*\)|"[^"]*"|[^\s"()]+', self.fields.get(name, ""))
        if words and len(words) != count:
            raise self.refuse(f"has {len(words)} {name} for {count} axes")
        return words

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis, the fastest first."""
        dimension = self.whole("dimension", 0)
        if not 1 <= dimension <= 16:
            raise self.refuse(f"has {dimension} dimensions")
        sizes = self.get("sizes").split()
        if len(sizes) != dimension or not all(re.fullmatch(r"\d{1,18}", size) for size in sizes):
            raise self.refuse(f"has sizes {shown(self.fields['sizes'])} for {dimension} dimensions")
        return tuple(map(int, sizes))

    @property
    def dtype(self) -> np.dtype:
        """Type of the voxels as they are stored."""
        name = self.get("type").lower()
        if name not in _TYPES:
            raise self.refuse(f"has voxels of type {shown(name)}")
        order = self.fields.get("endian", "").lower()
        if _TYPES[name][1] != "1" and self.get("encoding").lower() not in _TEXT:
            order = self.get("endian").lower()
        if order not in ("", "little", "big"):
            raise self.refuse(f"has bytes in the order {shown(order)}")
        return np.dtype((">" if order == "big" else "<") + _TYPES[name])

    @property
    def vector(self) -> int | None:
        """The axis along which a voxel has several values; None where it has one.

        Raises:
            InputError: there are several such axes.
        """
        kinds = self.words("kinds", len(self.shape))
        across = [axis for axis, kind in enumerate(kinds) if kind.lower() not in _ALONG_SPACE]
        if len(across) > 1 or any(kinds[axis].lower() == "complex" for axis in across):
            raise self.refuse(f"has voxels of kind {shown(' '.join(kinds))}")
        return across[0] if across else None


def read_header(file: BufferedReader, path: Path) -> Header:
    """The header of an open file, which stands at the voxels then.

    Raises:
        InputError: it is damaged.
    """
    lines = text_lines(file, path)
    if not re.fullmatch(r"NRRD\d{4}", next(lines, "")):
        raise InputError(f"{path} does not begin as a NRRD file.", _REMEDY)
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    for line in lines:
        if not line:
            break
        if line.startswith("#"):
            continue
        name, colon, text = line.partition(": ")
        name = name.lower().replace(" ", "")
        key, assign, value = line.partition(":=")
        if colon and name in _FIELDS:
            if name in fields:
                raise InputError(f"{path} states its {name} twice.", _REMEDY)
            fields[name] = text.strip()
        elif assign:
            keys[key] = re.sub(r"\\(n|\\)", lambda found: "\n" if found[1] == "n" else "\\", value)
        else:
            raise InputError(f"{path} has a line that is none of a NRRD header: {shown(line)}.", _REMEDY)
    return Header(path, fields, keys)


def read(path: Path) -> tuple[Pixels, Mapping[str, str]]:
    """Voxels and affine, several values of a voxel as channels; and the keys of the header.

    Raises:
        InputError: the header is damaged, or claims what is not there.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        header = read_header(file, path)
        shape, dtype = header.shape, header.dtype
        if (len(shape), header.vector is None) not in ((3, True), (4, True), (4, False)):
            raise wrong_dimension(path, len(shape) - (header.vector is not None))
        affine = _affine(header)
        name = header.fields.get("datafile", "")
        if name:
            with data_file(path, name).open("rb") as beside:
                array = _voxels(header, beside, shape, dtype)
        else:
            array = _voxels(header, file, shape, dtype)
    array = array.reshape(shape[::-1])
    if header.vector is not None:
        array = np.moveaxis(array, len(shape) - 1 - header.vector, 0)
    return Pixels(np.ascontiguousarray(array), affine), header.keys


def _voxels(header: Header, file: BufferedReader, shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """The values in one row."""
    path, size = header.path, voxel_bytes(shape, dtype.itemsize)
    encoding, skip, lines = header.get("encoding").lower(), header.whole("byteskip", 0), header.whole("lineskip", 0)
    if skip < -1 or (skip < 0 and encoding != "raw") or not 0 <= lines <= _MOST_LINES:
        raise header.refuse(f"skips {lines} lines and {skip} bytes")
    for _ in range(lines):
        file.readline()
    if encoding in _TEXT:
        return _numbers(header, file, math.prod(shape), dtype)
    if encoding == "hex":
        return in_native_order(_from_hex(header, file, size).view(dtype))
    if encoding in ("gzip", "gz"):
        return in_native_order(read_deflated(file, path, skip + size)[skip:].view(dtype))
    if encoding != "raw":
        raise header.refuse(f"has voxels in the encoding {shown(encoding)}, which is not read here")
    if skip == -1:  # whatever lies before them
        file.seek(max(file.seek(0, os.SEEK_END) - size, 0))
    else:
        file.seek(skip, os.SEEK_CUR)
    return in_native_order(read_raw(file, path, size).view(dtype))


def _numbers(header: Header, file: BufferedReader, count: int, dtype: np.dtype) -> np.ndarray:
    """Voxels that are written as text, with a line end behind the last one: without it, a digit may be lacking."""
    text = _rest(header, file, 2 * count, count * 8).replace(b",", b" ")
    wide = "f8" if dtype.kind == "f" else "u8" if dtype == np.uint64 else "i8"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy only warns of what is no number
            values = np.fromstring(text, wide, sep=" ")
    except (DeprecationWarning, ValueError) as error:
        raise header.refuse("has voxels that are no numbers") from error
    if not text[-1:].isspace():
        raise header.refuse("ends within a line of voxels, as a file that was cut off does")
    if len(values) != count:
        raise header.refuse(f"has {len(values)} numbers where {count} voxels are due")
    if dtype.kind != "f" and count and (values.min() < np.iinfo(dtype).min or values.max() > np.iinfo(dtype).max):
        raise header.refuse(f"has voxels that are no {header.get('type')}")
    return values.astype(dtype.newbyteorder("="))


def _from_hex(header: Header, file: BufferedReader, size: int) -> np.ndarray:
    try:
        content = bytes.fromhex(_rest(header, file, 2 * size, size).decode("ascii"))
    except ValueError as error:
        raise header.refuse("has voxels that are no hexadecimal numbers") from error
    if len(content) < size:
        raise header.refuse(f"has {len(content)} bytes of voxels where {size} are due")
    return np.frombuffer(bytearray(content[:size]), np.uint8)


def _rest(header: Header, file: BufferedReader, least: int, more: int) -> bytes:
    """What is left of a file, of ``least`` bytes at least, which becomes ``more`` bytes."""
    here = file.tell()
    held = file.seek(0, os.SEEK_END) - here
    if least > held:
        raise header.refuse(f"claims to hold {least} bytes of text, and {held} are there")
    check_memory(header.path, 2 * held + more)
    file.seek(here)
    return file.read()


def _affine(header: Header) -> np.ndarray:
    """To RAS millimetres, of the first three axes along space."""
    count = len(header.shape)
    along = [axis for axis in range(count) if axis != header.vector]
    to_ras, dimension = _space(header)
    if dimension and dimension != len(along):
        raise header.refuse(f"has {len(along)} axes in a space of {dimension} dimensions")
    affine = np.eye(4)
    if directions := header.words("spacedirections", count):
        columns = [_vector(header, directions[axis], dimension)[:3] for axis in along[:3]]
        affine[:3, :3] = np.column_stack(columns)
    spacings = [_number(header, word) for word in header.words("spacings", count)]
    if spacings and dimension:
        raise header.refuse("has spacings and a space, and does not say the directions of its axes")
    if spacings:
        lengths = np.array([1.0 if np.isnan(spacings[axis]) else spacings[axis] for axis in along[:3]])
        if not (lengths > 0).all():
            raise header.refuse(f"has spacings {shown(header.fields['spacings'])}")
        affine[:3, :3] = np.diag(lengths)
        affine[:3, 3] = _first_centre(header, along[:3], lengths)
    elif not dimension and ("axismins" in header.fields or "axismaxs" in header.fields):
        raise header.refuse("says where its axes begin and end, not its spacings")
    if "spaceorigin" in header.fields:
        affine[:3, 3] = _vector(header, header.fields["spaceorigin"], dimension)[:3]
    return np.diag([*to_ras, 1.0]) @ affine


def _space(header: Header) -> tuple[tuple[float, float, float], int]:
    """What turns the header's coordinates into RAS, and how many of them there are; 0 where it names no space."""
    name = header.fields.get("space", "").lower()
    if not name:
        dimension = header.whole("spacedimension", 0)
        return _TO_RAS["lps"], dimension
    timed = name.endswith("-time") or name in ("rast", "last", "lpst")
    plain = name.removesuffix("-time").removesuffix("t") if timed else name
    if plain not in _TO_RAS and plain not in _OTHER_SPACES:
        raise header.refuse(f"lies in the space {shown(name)}")
    return _TO_RAS.get(plain, _TO_RAS["lps"]), 3 + timed


def _first_centre(header: Header, axes: Sequence[int], lengths: np.ndarray) -> np.ndarray:
    """Where the first voxel's centre lies, by where the axes begin: at its edge, or at its centre (``node``)."""
    name = "centers" if "centers" in header.fields else "centerings"
    starts = [_number(header, word) for word in header.words("axismins", len(header.shape))]
    centres = header.words(name, len(header.shape))
    offsets = [0.0 if centres and centres[axis].lower() == "node" else 0.5 for axis in axes]
    if not starts:
        return np.zeros(3)
    return np.nan_to_num([starts[axis] for axis in axes]) + np.array(offsets) * lengths


def _vector(header: Header, text: str, count: int) -> list[float]:
    parts = text[1:-1].split(",") if text.startswith("(") and text.endswith(")") else []
    if not parts or len(parts) != count:
        raise header.refuse(f"has a vector {shown(text)} in a space of {count} dimensions")
    return [_number(header, part) for part in parts]


def _number(header: Header, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise header.refuse(f"has {shown(text)} where a number is due") from error


class Nrrd:
    """See :class:`.formats.Format`."""

    name: str = "NRRD"
    suffixes: tuple[str, ...] = (".nrrd",)
    keeps_place: bool = False

    def matches(self, head: bytes) -> bool:
        """By the text that its header begins with."""
        return head.startswith(b"NRRD")

    def read(self, path: Path) -> Pixels:
        """Voxels and affine, several values of a voxel as channels."""
        return read(path)[0]

    def write(self, volume: Volume, path: Path) -> None:
        """Packed by gzip, whose checksum every reader of ours verifies."""
        affine = LPS_TO_RAS @ volume.affine
        rows = [f"({','.join(map(repr, column))})" for column in affine[:3].T.tolist()]
        array = in_file_order(volume.array)
        lines = (
            "NRRD0004",
            f"type: {_WRITTEN[array.dtype.str[1:]]}",
            "dimension: 3",
            "space: left-posterior-superior",
            f"sizes: {' '.join(map(str, volume.shape[::-1]))}",
            f"space directions: {' '.join(rows[:3])}",
            "kinds: domain domain domain",
            "endian: little",
            "encoding: gzip",
            f"space origin: {rows[3]}",
        )
        path.write_bytes("\n".join((*lines, "\n")).encode() + deflated(array, gzip=True))

    def can_hold(self, affine: np.ndarray) -> bool:
        """Axes must be at right angles: other programs read no others."""
        return has_right_angles(affine)
