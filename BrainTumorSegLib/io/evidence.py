"""What a file claims of its size, compared with the bytes that are there before any memory is taken; and those bytes.

A few bytes of a header can ask for any amount of memory, and a damaged or cut-off file can give other voxels than were
written. Both are seen here, for every format: claims by the file's length and a limit, damage by the checksums of
packed voxels.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader, FileIO
from pathlib import Path

import numpy as np

from ..domain.errors import InputError, RequestError

# Raises the limit. It is part of the environment and no option of each command, because images are read in many places
# (commands, scripts, training, 3D Slicer's panel), and child processes inherit it.
LIMIT = "BRAINTUMORSEG_MAX_IMAGE_GB"
DEFAULT_GB = 1.0

# A byte of a deflated stream stands for at most so many (zlib's technical details: "Maximum Compression Factor").
_DEFLATE_FACTOR = 1032
# Padding that files have behind their last voxel; more is not looked through.
_PADDING = 1 << 20
_CHUNK = 1 << 18
# Longer text headers describe no image.
_LONGEST_HEADER = 1 << 22

_CUT_OFF = "Copy it again; it was cut off, or its header is damaged."
_DAMAGED = "Its bytes changed since it was written; copy it again."


def check_file(path: Path) -> None:
    """Refuse what is no regular file that can be opened: a folder, a pipe, a loop of links, a name that none can have.

    Raises:
        InputError: with the reason.
    """
    with reachable(path):
        if path.is_dir():
            raise InputError(f"{path} is a folder, not a file.", "Give one file.")
        if not path.is_file():
            path.stat()  # says why: not there, a loop of links, no permission
            raise InputError(f"{path} is not a file.", "Check the path.")
        path.open("rb").close()


@contextmanager
def reachable(path: Path | str) -> Iterator[None]:
    """Errors of the way to a file as those of a request.

    Raises:
        InputError: nothing is there, links lead in a loop, a folder on the way may not be read, or no file can have
            such a name.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{error.filename or path} does not exist.", "Check the path.") from error
    except OSError as error:
        where = error.filename if isinstance(error.filename, (str, Path)) else path
        reason = error.strerror or str(error)
        raise InputError(f"{where} cannot be read ({reason}).", "Check the path and its permissions.") from error
    except (ValueError, RuntimeError) as error:  # a NUL in a name; a loop of links in Python 3.11 and 3.12
        if not (isinstance(error, UnicodeError) or "null" in str(error) or "loop" in str(error)):
            raise
        if "loop" in str(error):
            raise InputError(f"Links lead in a loop ({error}).", "Check the path.") from error
        raise InputError(f"{shown(str(path))} is no path ({error}).", "Check the path.") from error


def check_memory(path: Path, size: int) -> None:
    """Refuse voxels that take more memory than the limit allows.

    Args:
        path: for the message.
        size: bytes that the voxels take while they are read.

    Raises:
        InputError: with the way to raise the limit.
        RequestError: the limit in the environment is no number.
    """
    text = os.environ.get(LIMIT, "")
    try:
        limit = float(text) if text else DEFAULT_GB
    except ValueError:
        limit = math.nan
    if not limit > 0:
        raise RequestError(f"{LIMIT} is {text!r}.", "Set it to a number of gigabytes, such as 4, or leave it out.")
    if size > limit * 1e9:
        raise InputError(
            f"{path} claims to hold so many voxels that they take {size / 1e9:.3g} GB of memory; {limit:g} GB are "
            "allowed.",
            f"If the file is right, set {LIMIT}={math.ceil(min(size, 1e18) / 1e9)} and try again.",
        )


class BoundedFile(BufferedReader):
    """A file for libraries that read as many bytes as a header claims: memory is asked for no more than it holds."""

    def __init__(self, path: Path) -> None:
        super().__init__(FileIO(path))
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """As many bytes as asked for, or as there are."""
        return super().read(-1 if size is None or size < 0 else min(size, self._size))


def voxel_bytes(shape: Sequence[int], item: int) -> int:
    """Bytes of an array of any claimed shape, in whole numbers that do not overflow."""
    return math.prod(map(int, shape)) * item


def read_raw(file: BufferedReader, path: Path, size: int, more: int = 0) -> np.ndarray:
    """The next bytes of a file as they are, ``uint8``; padding behind them is left alone.

    Args:
        file: stands at the bytes.
        path: for messages.
        size: bytes that are needed.
        more: bytes that are made of them while they are in memory.

    Raises:
        InputError: there are fewer, or more than may be read.
    """
    held = _left(file)
    if size > held:
        raise InputError(f"{path} claims to hold {size} bytes of voxels, and {held} are there.", _CUT_OFF)
    check_memory(path, size + more)
    content = np.empty(size, np.uint8)
    if file.readinto(content.data) != size:
        raise InputError(f"{path} became shorter while it was read.", _CUT_OFF)
    return content


def read_deflated(
    file: BufferedReader, path: Path, size: int, more: int = 0, *, packed: int | None = None
) -> np.ndarray:
    """The next bytes of a file unpacked, ``uint8``, to the stream's end, where its checksum is.

    Args:
        file: stands at the stream, of gzip (one after another are one) or zlib.
        path: for messages.
        size: bytes that are needed; padding behind them is unpacked for the checksum, and dropped.
        more: bytes that are made of them while they are in memory.
        packed: bytes that the stream takes in the file, where its header states that.

    Raises:
        InputError: there are fewer bytes, far more, or others than were written; or more than may be read.
    """
    held = _left(file) if packed is None else min(packed, _left(file))
    if packed not in (None, held):
        raise InputError(f"{path} claims to hold {packed} bytes of packed voxels, and {held} are there.", _CUT_OFF)
    if size > held * _DEFLATE_FACTOR:
        raise InputError(
            f"{path} claims to hold {size} bytes of voxels, more than {held} packed ones can stand for.", _CUT_OFF
        )
    check_memory(path, size + more)
    content = np.empty(size, np.uint8)
    done = 0
    for piece in inflate(file, path, held):
        kept = piece[: max(size - done, 0)]
        content[done : done + len(kept)] = np.frombuffer(kept, np.uint8)
        done += len(piece)
        if done > size + _PADDING:
            raise InputError(f"{path} holds far more bytes than the {size} that its header claims.", _DAMAGED)
    if done < size:
        raise InputError(f"{path} claims to hold {size} bytes of voxels, and {done} are there.", _CUT_OFF)
    return content


def inflate(file: BufferedReader, path: Path, held: int) -> Iterator[bytes]:
    """Pieces of a gzip or zlib stream; when the last one is given, its checksum and its length are verified.

    Raises:
        InputError: the stream is damaged or ends too early, or something else follows it.
    """
    unpacker = zlib.decompressobj(47)  # gzip or zlib, by how it begins
    rest, padding = b"", 0
    while True:
        if not rest:
            rest = file.read(min(_CHUNK, held))
            held = held - len(rest) if rest else 0
        if unpacker.eof:
            padding += len(rest)
            rest = rest.lstrip(b"\0")  # what some programs pad a file with
            padding -= len(rest)
            if padding > _PADDING:
                raise InputError(f"{path} goes on for long behind its packed voxels.", _DAMAGED)
            if rest:
                unpacker = zlib.decompressobj(31)
            elif held:
                continue
            else:
                return
        try:
            piece = unpacker.decompress(rest, _CHUNK)
        except zlib.error as error:
            raise InputError(f"{path} cannot be read: it is damaged ({error}).", _DAMAGED) from error
        rest = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
        if piece:
            yield piece
        elif not (rest or held or unpacker.eof):
            raise InputError(f"{path} cannot be read: it ends before its packed voxels do.", _CUT_OFF)


def text_lines(file: BufferedReader, path: Path) -> Iterator[str]:
    """Lines of a text header without their ends; bytes that are no UTF-8 are kept as file names keep them.

    Raises:
        InputError: the header has no end.
    """
    left = _LONGEST_HEADER
    while line := file.readline(left):
        left -= len(line)
        if left <= 0:
            raise InputError(f"{path} has a header that does not end.", "Its header is damaged; export it again.")
        yield line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")


def shown(text: str) -> str:
    """What a file says, for a message: short, and without characters that act on a terminal."""
    short = text[:40] + "…" if len(text) > 40 else text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in f"'{short}'")


def data_file(path: Path, name: str) -> Path:
    """The file of the voxels that a header names.

    Args:
        path: of the header.
        name: a plain name, in the same folder.

    Raises:
        InputError: it is none, or no regular file is called so.
    """
    plain = name.removeprefix("./")
    if not plain or plain in (".", "..") or any(character in "/\\%\0" for character in plain):
        raise InputError(
            f"{path} names its voxels by {shown(name)}, which is no plain name of one file beside it.",
            "Save it as one file (.nii.gz, .nrrd or .mha) in the program that wrote it.",
        )
    try:
        file = path.with_name(plain)
        if file.is_file():
            return file
    except (OSError, ValueError):  # a name that this system does not take
        pass
    raise InputError(f"{path} has its voxels in {shown(plain)}, which is no file beside it.", "Copy both files.")


def _left(file: BufferedReader) -> int:
    """Bytes from here to the end of a regular file."""
    return max(os.fstat(file.fileno()).st_size - file.tell(), 0)
