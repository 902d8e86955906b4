"""What a file format offers, and what all of them have in common."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from ..domain.errors import InputError
from ..domain.volume import Place, Volume

# As much of a file as any format needs to be known by.
HEAD = 512
# Of compression: label maps and images get hardly smaller with more, and take longer.
_LEVEL = 2
DAMAGED = "The file is damaged or not an image; copy it again."


class Pixels(NamedTuple):
    """What a reader gives: voxels ``(Z, Y, X)`` or ``(C, Z, Y, X)``, affine to RAS mm, NIfTI's own words for it."""

    array: np.ndarray
    affine: np.ndarray
    place: Place | None = None


class Format(Protocol):
    """A file format of volumes.

    Attributes:
        name: for messages.
        suffixes: that a written file of this format may have; the first is the usual one.
        keeps_place: whether a written file keeps :class:`.Place`, and so lies over its image in every program.
    """

    name: str
    suffixes: tuple[str, ...]
    keeps_place: bool

    def matches(self, head: bytes) -> bool:
        """Whether a file that begins so is of this format; ``head`` is unpacked if the file is a gzip."""

    def read(self, path: Path) -> Pixels:
        """Read a whole file.

        Raises:
            OSError, ValueError, RuntimeError, …: as the library behind it; the registry makes errors of ours of them.
        """

    def write(self, volume: Volume, path: Path) -> None:
        """Write a file whose name ends in one of the suffixes.

        Raises:
            OSError: the disk refused.
        """

    def can_hold(self, affine: np.ndarray) -> bool:
        """Whether a grid of this affine fits into the format."""


def has_right_angles(affine: np.ndarray) -> bool:
    """Whether a grid is not sheared."""
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return bool(np.allclose(directions.T @ directions, np.eye(3), atol=1e-4))


def in_native_order(array: np.ndarray) -> np.ndarray:
    """The same values in this computer's byte order; the array's own memory is turned round."""
    return array if array.dtype.isnative else array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))


def in_file_order(array: np.ndarray) -> np.ndarray:
    """The same values in one piece, the least significant byte first."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def deflated(array: np.ndarray, *, gzip: bool = False) -> bytes:
    """An array packed as a zlib or gzip stream, both of which end with a checksum."""
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31 if gzip else 15)
    return packer.compress(array.data) + packer.flush()


def wrong_dimension(path: Path, count: int) -> InputError:
    """The error for a file that holds no 3D image."""
    return InputError(
        f"{path} has {count} dimensions where 3 are due.",
        "Give one 3D file a sequence; a Decathlon file with four channels goes in alone, as the case itself.",
    )


def reason_of(error: BaseException) -> str:
    """The last line of what a library says, without paths of its own files."""
    text = str(error).strip()
    return text.splitlines()[-1] if text else type(error).__name__


def unreadable(path: Path, error: BaseException, remedy: str = DAMAGED) -> InputError:
    """The error for a file that its reader gave up on."""
    return InputError(f"{path} cannot be read ({reason_of(error)}).", remedy)
