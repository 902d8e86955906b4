"""Temporary folders of runs: removed with their run, or, where it was killed, by the next one."""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..domain.interruption import uninterrupted
from .run_mark import RunMark, abandoned

PREFIX = "braintumorseg-"
# An older one without a mark was left by a run that was killed before it made one.
_UNMARKED_SECONDS = 3600


class RunFolder:
    """A temporary folder, beside a mark of the process that needs it.

    Attributes:
        path: the folder, empty at first; for this user alone.
    """

    def __init__(self, outer: Path, mark: RunMark) -> None:
        self._outer, self._mark = outer, mark
        self.path = outer / "files"

    @classmethod
    def make(cls) -> RunFolder:
        """A new one, after what killed runs left was removed.

        Raises:
            OSError: there is no place for it.
        """
        _sweep_once()
        with uninterrupted():
            outer = Path(tempfile.mkdtemp(prefix=PREFIX))
            try:
                made = cls(outer, RunMark.make(outer))
                made.path.mkdir()
            except OSError:
                shutil.rmtree(outer, ignore_errors=True)
                raise
        return made

    def remove(self) -> None:
        """Remove it with all that is in it; nothing happens when it is done again."""
        with uninterrupted():
            self._mark.close()  # Windows removes no open file
            shutil.rmtree(self._outer, ignore_errors=True)


@contextmanager
def run_folder() -> Iterator[Path]:
    """A temporary folder that goes when the block ends.

    Raises:
        OSError: there is no place for it.
    """
    folder = RunFolder.make()
    try:
        yield folder.path
    finally:
        folder.remove()


def sweep() -> None:
    """Remove the temporary folders of this user's runs that were killed; living ones keep theirs."""
    with suppress(OSError):
        for entry in list(os.scandir(tempfile.gettempdir())):
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False) and _is_ours(entry):
                _clear(Path(entry.path))


# Where there may be one folder a file: of commands, each sweeps before it begins.
_sweep_once = functools.cache(sweep)


def _is_ours(entry: os.DirEntry[str]) -> bool:
    return os.name == "nt" or entry.stat(follow_symlinks=False).st_uid == os.getuid()


def _clear(outer: Path) -> None:
    """Remove a folder whose run no longer lives."""
    for mark in abandoned(outer):
        RunFolder(outer, mark).remove()
        return
    with suppress(OSError):  # one that has a mark is not empty
        if time.time() - outer.stat().st_mtime > _UNMARKED_SECONDS:
            outer.rmdir()
