"""A file that says that a run lives: its owner holds a lock on it, which the system lets go of however the run ends.

So the next run can tell what a killed one left behind from what a living one still needs.
"""

from __future__ import annotations

import os
import platform
import re
import stat
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_OPEN = os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
# Of a shared disk, locks may be known to one machine alone: what another machine left is taken for dead after a day.
_FOREIGN_SECONDS = 24 * 3600
# More than the record of any commit; a foreign file of such a name is not read to its end.
_LONGEST = 1 << 20
_NAME = re.compile(r"\.bts-[0-9a-f]{8}-\d+-[0-9a-f]{8}\.run")

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        # Windows keeps others from reading what is locked, so that is a byte far behind the content.
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class RunMark:
    """A mark that this run holds.

    Attributes:
        path: the file, ``.bts-MACHINE-PROCESS-NUMBER.run``.
    """

    _descriptor: int | None = None

    def __init__(self, path: Path, descriptor: int) -> None:
        self._descriptor = descriptor
        self.path = path

    @classmethod
    def make(cls, folder: Path) -> RunMark:
        """A new mark in a folder. On a disk that knows no locks it has none, and whoever finds it leaves it alone.

        Raises:
            OSError: it cannot be made.
        """
        while True:
            path = folder / f".bts-{_machine()}-{os.getpid()}-{os.urandom(4).hex()}.run"
            mark = cls(path, os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, 0o600))
            try:
                _lock(mark._file())
                if mark._is_there():
                    return mark
            except (BlockingIOError, PermissionError):  # a run that clears up looks at it right now, and removes it
                mark.remove()
            except OSError:
                return mark
            except MemoryError:
                mark.remove()
                raise

    @classmethod
    def take_over(cls, path: Path) -> RunMark | None:
        """The mark of a run that ended without removing it; None where the run lives, or nobody can tell."""
        try:
            mark = cls(path, os.open(path, _OPEN)) if _NAME.fullmatch(path.name) else None
        except (OSError, ValueError):
            mark = None
        if mark is None:
            return None
        with suppress(OSError):
            _lock(mark._file())
            if mark._is_there() and mark._may_be_dead():
                return mark
        mark.close()
        return None

    def _is_there(self) -> bool:
        """Whether the file has still its name: another run may have been quicker to clear up."""
        try:
            return os.path.samestat(os.fstat(self._file()), os.lstat(self.path))
        except FileNotFoundError:
            return False

    def _may_be_dead(self) -> bool:
        facts, ours = os.fstat(self._file()), self.path.name.startswith(f".bts-{_machine()}-")
        return stat.S_ISREG(facts.st_mode) and (ours or time.time() - facts.st_mtime > _FOREIGN_SECONDS)

    def _file(self) -> int:
        if self._descriptor is None:
            raise ValueError(f"{self.path} was given back")
        return self._descriptor

    def read(self) -> bytes:
        """Its content."""
        os.lseek(self._file(), 0, os.SEEK_SET)
        return os.read(self._file(), min(os.fstat(self._file()).st_size, _LONGEST))  # memory may be what ran out

    def write(self, content: bytes) -> None:
        """Replace its content.

        Raises:
            OSError: the disk refused.
        """
        os.ftruncate(self._file(), 0)
        os.lseek(self._file(), 0, os.SEEK_SET)
        if content and os.write(self._file(), content) != len(content):
            raise OSError(f"{self.path} cannot be written whole")

    def close(self) -> None:
        """Give the lock back; the file stays."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    __del__ = close

    def remove(self) -> None:
        """Remove the file, then give the lock back: in between nobody can take it for a dead run's."""
        if sys.platform == "win32":  # which removes no open file
            self.close()
        self.path.unlink(missing_ok=True)
        self.close()


def abandoned(folder: Path) -> Iterator[RunMark]:
    """Marks in a folder of runs that ended without removing them, each taken over."""
    try:
        names = [entry.name for entry in os.scandir(folder) if _NAME.fullmatch(entry.name)]
    except OSError:
        return
    for name in names:
        if mark := RunMark.take_over(folder / name):
            yield mark


def _machine() -> str:
    return f"{zlib.crc32(os.fsencode(platform.node())):08x}"
