"""Files that others made: JSON whose every value is asked for by its type, and archives unpacked within bounds."""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from ...domain.errors import BrainTumorSegError, CheckpointError
from ...domain.json_values import read_json
from ..limits import is_plain

LARGEST_JSON = 16 << 20
MOST_ENTRIES, MOST_BYTES = 20_000, 12 << 30
# Weights do not shrink; JSON does, ten times.
MOST_SHRUNK, ALWAYS_ALLOWED = 200, 1 << 20
_CHUNK = 1 << 20
# What a damaged archive makes of its reader.
_DAMAGES = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, ValueError)
_ITS_MAKER = "Export it again with the program that made it."


class Fields:
    """A JSON object of a file of which nothing is known to be right."""

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, dict):
            raise CheckpointError(f"{where} is no table of names and values.", _ITS_MAKER)
        self.values: dict[str, Any] = values
        self.where = where

    @classmethod
    def of(cls, file: Path) -> Fields:
        """Those of a file.

        Raises:
            CheckpointError: it cannot be read, is too large or no JSON object.
        """
        try:
            return cls(read_json(file, largest=LARGEST_JSON), str(file))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{file} cannot be read ({error}).", _ITS_MAKER) from error

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def wrong(self, key: str, wanted: str) -> CheckpointError:
        """The error for a value that is none."""
        value = self.values.get(key)
        shown = f"has no {key!r}" if value is None else f"has {str(value)[:60]!r} for {key!r}"
        return CheckpointError(f"{self.where} {shown}, where {wanted} should be.", _ITS_MAKER)

    def inner(self, key: str) -> Fields:
        """An object within."""
        if not isinstance(self.values.get(key), dict):
            raise self.wrong(key, "an object")
        return Fields(self.values[key], f"{self.where} ({key})")

    def text(self, key: str, default: str | None = None) -> str:
        """A short text of one line."""
        value = self.values.get(key, default)
        if not isinstance(value, str) or len(value) > 4000 or not is_plain(value):
            raise self.wrong(key, "a text")
        return value

    def flag(self, key: str, default: bool | None = None) -> bool:
        """True or false."""
        value = self.values.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A number."""
        value = self.values.get(key, default)
        if not _is_number(value):
            raise self.wrong(key, "a number")
        return float(value)  # type: ignore[arg-type]

    def list_of(self, key: str, kind: Callable[[Any], bool], wanted: str) -> list[Any]:
        """A list of at most 64 such values."""
        value = self.values.get(key)
        if not isinstance(value, list) or len(value) > 64 or not all(kind(item) for item in value):
            raise self.wrong(key, f"a list of {wanted}")
        return value

    def numbers(self, key: str) -> list[float]:
        """A list of numbers."""
        return [float(value) for value in self.list_of(key, _is_number, "numbers")]

    def counts(self, key: str) -> list[int]:
        """A list of whole numbers of at least 0."""
        return self.list_of(key, is_count, "whole numbers")


def is_count(value: Any) -> bool:
    """Whether it is a whole number of at least 0, and of a sound size."""
    return type(value) is int and 0 <= value < 1 << 31


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e12


@contextmanager
def _zip_errors(source: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGES as error:
        raise CheckpointError(f"{source} is damaged ({str(error)[:200]}).", "Download it again.") from error
    except OSError as error:
        raise CheckpointError(
            f"{source} cannot be unpacked ({error.strerror or error}).", "Download it again."
        ) from error


def names_in(archive: Path) -> list[str]:
    """Names of the files in an archive, checked.

    Raises:
        CheckpointError: it is none, or holds a name, link or size that no model has.
    """
    with _zip_errors(archive), zipfile.ZipFile(archive) as opened:
        return [entry.filename for entry in _checked(opened.infolist(), archive)]


def _inside(archive: Path, folder: Path) -> Path:
    """Where an archive is unpacked to; a model that its folder gives the name to is called as the archive."""
    return folder / "unpacked" / archive.stem


def as_given(text: str, archive: Path, folder: Path) -> str:
    """A text with the archive's name in place of the folder that it was unpacked to, which is gone when it is read."""
    return text.replace(str(_inside(archive, folder)), str(archive))


@contextmanager
def errors_as_given(archive: Path, folder: Path) -> Iterator[None]:
    """Errors about what was unpacked say where in the archive it lies; others, and those of folders, are as they are.

    Args:
        archive: file or folder that is taken over.
        folder: that it is unpacked below.
    """
    try:
        yield
    except BrainTumorSegError as error:
        texts = [as_given(text, archive, folder) for text in (str(error), error.remedy)]
        if texts == [str(error), error.remedy]:
            raise
        raise type(error)(*texts, option=error.option) from error


def unpack(archive: Path, folder: Path, wanted: re.Pattern[str]) -> Path:
    """Unpack the files of an archive whose names fit, below an empty folder.

    Returns:
        the folder that they lie in.

    Raises:
        CheckpointError: it is no archive, or holds a name that leads out of the folder, a link, an encrypted entry, or
            more than a model has.
    """
    inside = _inside(archive, folder)
    inside.mkdir(parents=True)
    with _zip_errors(archive), zipfile.ZipFile(archive) as opened:
        for entry in _checked(opened.infolist(), archive):
            if not wanted.search(entry.filename):
                continue
            target = inside.joinpath(*PurePosixPath(entry.filename).parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            left = entry.file_size
            with opened.open(entry) as content, target.open("xb") as file:
                while piece := content.read(_CHUNK):
                    left -= len(piece)
                    if left < 0:
                        raise CheckpointError(f"{archive} holds more than it says.", "Download it again.")
                    file.write(piece)
    return inside


def _checked(entries: Iterable[zipfile.ZipInfo], archive: Path) -> list[zipfile.ZipInfo]:
    """The files among the entries.

    Raises:
        CheckpointError: one is not as a model's.
    """
    found: list[zipfile.ZipInfo] = []
    seen: set[str] = set()
    total = 0
    for entry in entries:
        why = _wrong(entry)
        total += entry.file_size
        if not why and (len(seen) > MOST_ENTRIES or total > MOST_BYTES):
            why = f"more than {MOST_ENTRIES} files, or {MOST_BYTES >> 30} GB"
        if not why and entry.filename.casefold() in seen:
            why = f"{entry.filename[:80]!r} twice"
        if why:
            raise CheckpointError(f"{archive} holds {why}.", "It is no model; do not unpack it by hand either.")
        seen.add(entry.filename.casefold())
        if not entry.is_dir():
            found.append(entry)
    return found


def _wrong(entry: zipfile.ZipInfo) -> str:
    """What is wrong with an entry, in words; empty where nothing is."""
    name, shown = entry.filename, repr(entry.filename[:80])
    parts = PurePosixPath(name).parts
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if not name or len(name) > 1000 or not name.isprintable() or "\\" in name or ":" in name:
        return f"a name that is none, {shown}"
    if name.startswith("/") or ".." in parts:
        return f"a name that leads out of its folder, {shown}"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return f"a link or device, {shown}"
    if entry.flag_bits & 1:
        return f"an encrypted file, {shown}"
    if entry.file_size > max(MOST_SHRUNK * entry.compress_size, ALWAYS_ALLOWED):
        return f"a file that unpacks to {MOST_SHRUNK} times its size, {shown}"
    return ""
