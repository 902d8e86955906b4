"""Several files put in their places together: all of them, or none, however and whenever the run ends.

Each folder that gets a file has a mark of the run (:mod:`.run_mark`). Before the first file is moved the marks hold
what is to be moved; emptying the mark of the first folder is the moment from which on the new files are the result.
What happens before it, up to the loss of the process, is undone: by the run itself, or by the next one in the folder.
The disk holds each file before it gets its name, so that a power cut leaves no name without its content.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ..domain.json_values import json_of
from .run_mark import RunMark, abandoned

_CANNOT_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES, errno.EPERM)


class _Move(NamedTuple):
    """One file's way, by plain names inside one folder.

    Attributes:
        part: where it was written.
        destination: where it goes.
        replaces: whether there is a file already, which is kept beside until all are in place.
        stamp: size and time of the new file.
    """

    part: str
    destination: str
    replaces: bool
    stamp: str

    @property
    def old(self) -> str:
        return f"{self.part}.old"


class _Record(NamedTuple):
    """What a mark says of a commit under way: all marks of it, the deciding one first, and the moves in its folder."""

    marks: tuple[str, ...]
    moves: tuple[_Move, ...]


class Placement:
    """The folders that one run writes to."""

    def __init__(self) -> None:
        self._marks: dict[Path, RunMark] = {}
        self._has_begun = False

    def part(self, destination: Path, number: int) -> Path:
        """Where to write what shall be ``destination``, in a folder that is there; cleared up after killed runs first.

        Raises:
            OSError: nothing can be made in the folder.
        """
        folder = destination.parent
        if folder not in self._marks:
            clear_up(folder)
            self._marks[folder] = RunMark.make(folder)
        # The end of the name is enough for writers, which choose the format by it, and the disk limits its length.
        return folder / f"{self._marks[folder].path.stem}-{number}.part-{destination.name[-40:]}"

    def place(self, pending: Mapping[Path, Path]) -> None:
        """Move every part to its destination.

        Raises:
            OSError: one cannot be moved; the others may have been, until :meth:`undo`.
        """
        for part in pending:
            _flush(part)
        if len(pending) < 2:  # one rename is whole by itself
            for part, destination in pending.items():
                part.replace(destination)
                with suppress(OSError):  # it is in its place, and the file of before gone: no failure any more
                    _flush(destination.parent)
            return
        moves: dict[Path, list[_Move]] = {folder: [] for folder in self._marks}
        for part, destination in pending.items():
            if destination.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(destination))
            move = _Move(part.name, destination.name, os.path.lexists(destination), _stamp(part))
            moves[part.parent].append(move)
        marks = tuple(str(mark.path) for mark in self._marks.values())
        self._has_begun = True
        for folder, mark in reversed(self._marks.items()):  # the deciding one last
            mark.write(json.dumps(_Record(marks, tuple(moves[folder]))).encode())
            _flush(mark.path)
        for folder, ours in moves.items():
            for move in ours:
                if move.replaces:
                    (folder / move.destination).replace(folder / move.old)
                (folder / move.part).replace(folder / move.destination)
        for folder in moves:
            _flush(folder)
        deciding = next(iter(self._marks.values()))
        deciding.write(b"")
        with suppress(OSError):  # all are in their places; a power cut now may bring back the mark, which undoes all
            _flush(deciding.path)

    def undo(self) -> None:
        """Put back what was moved, if not all was; nothing happens when it is done again."""
        if self._has_begun:  # else nothing was, and this must not fail for want of memory
            _undo(list(self._marks.values()))

    def leave(self, pending: Mapping[Path, Path]) -> None:
        """Remove what is left of the parts, and the marks."""
        for part in pending:
            for path in (part, part.with_name(f"{part.name}.old")):
                path.unlink(missing_ok=True)
        for folder, mark in reversed(list(self._marks.items())):
            mark.remove()
            del self._marks[folder]


def clear_up(folder: Path) -> None:
    """Undo the commits that killed runs began in a folder, and remove their parts; what living runs need stays."""
    for mark in abandoned(folder):
        marks = [mark]
        try:
            if record := _record(mark):
                if len(record.marks) > 1 and str(mark.path) not in record.marks:
                    continue  # the folder was moved, and nobody can tell where the others are
                marks = _of_commit(mark, record)
                if marks[0].path.name == Path(record.marks[0]).name:
                    _undo(marks)
            for found in reversed(marks):
                for path in list(found.path.parent.iterdir()):
                    if path.name.startswith(f"{found.path.stem}-"):
                        path.unlink()
                found.remove()
        except OSError:  # of another user, or on a disk that is full: it stays for another run
            pass
        finally:
            for found in marks:
                found.close()


def _of_commit(mark: RunMark, record: _Record) -> list[RunMark]:
    """The marks of a commit that are there still; a record may name none but those that say the same."""
    found = []
    for path in map(Path, record.marks):
        other = mark if path.name == mark.path.name else RunMark.take_over(path)
        if other is None:
            continue
        theirs = _record(other)
        if theirs is None or theirs.marks == record.marks:
            found.append(other)
        else:
            other.close()
    return found


def _undo(marks: Sequence[RunMark]) -> None:
    """Put back what was moved in the folders of these marks, unless the first says that all had been moved."""
    if not marks or _record(marks[0]) is None:
        return
    for mark in marks:
        folder, record = mark.path.parent, _record(mark)
        for move in record.moves if record else ():
            destination, old = folder / move.destination, folder / move.old
            if move.replaces:
                if os.path.lexists(old):
                    old.replace(destination)
            elif not os.path.lexists(folder / move.part) and _stamp(destination) == move.stamp:
                destination.unlink(missing_ok=True)
    marks[0].write(b"")


def _record(mark: RunMark) -> _Record | None:
    """What a mark says; None where nothing was moved, or all was, or it is no record of ours."""
    try:
        marks, moves = json_of(mark.read())
        found = _Record(tuple(map(str, marks)), tuple(_Move(*move) for move in moves))
    except (ValueError, TypeError):
        return None
    plain = all(Path(name).name == name != "" for move in found.moves for name in (move.part, move.destination))
    own = mark.path.name in map(os.path.basename, found.marks)
    own = own and all(move.part.startswith(f"{mark.path.stem}-") for move in found.moves)
    return found if plain and own else None


def _flush(path: Path) -> None:
    """Wait until the disk holds a file, or the names in a folder.

    Raises:
        OSError: it cannot; a disk that knows no such request, or keeps a folder from being read, is taken as it is.
    """
    if os.name == "nt" and path.is_dir():  # Windows has no such request for folders, and wants a file open for writing
        return
    try:
        descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0) if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            error.filename = str(path)
            raise


def _stamp(path: Path) -> str:
    """By which a file is known again where it was moved to; empty where it is not."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return ""
    return f"{facts.st_size}-{facts.st_mtime_ns}"
