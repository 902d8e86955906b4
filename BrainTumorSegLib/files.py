"""Output files that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError


class Staging:
    """Files of one run, written beside their destination and put in place together at the end."""

    def __init__(self) -> None:
        self._pending: dict[Path, Path] = {}
        self._made: list[Path] = []

    def path(self, destination: Path | str) -> Path:
        """Where to write now what shall be ``destination``; its folder is made.

        The suffix is kept, since writers choose the format by it.

        Raises:
            OutputError: the folder cannot be made or written to, or the destination is a folder.
        """
        destination = Path(os.path.abspath(destination))
        if destination.is_dir():
            raise OutputError(f"{destination} is a folder.", "Name the output file.")
        self._make_folder(destination.parent)
        part = destination.with_name(f".{os.getpid()}-{len(self._pending)}.part-{destination.name}")
        self._pending[part] = destination
        return part

    def _make_folder(self, folder: Path) -> None:
        missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"The output folder {folder} cannot be made ({error.strerror}).", "Choose another one.") from error
        self._made += missing
        if not os.access(folder, os.W_OK):
            raise OutputError(f"The output folder {folder} cannot be written to.", "Choose another one.")

    def commit(self) -> None:
        """Put every file in its place."""
        for part, destination in self._pending.items():
            os.replace(part, destination)
        self._pending.clear()

    def discard(self) -> None:
        """Remove what was written, and the folders that were made for it if they are empty."""
        for part in self._pending:
            part.unlink(missing_ok=True)
        for folder in self._made:
            if folder.is_dir() and not any(folder.iterdir()):
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def staged() -> Iterator[Staging]:
    """Collect output files; they appear together when the block ends well, else none does."""
    staging = Staging()
    try:
        yield staging
        staging.commit()
    except BaseException:  # also cancel and Ctrl-C: nothing half-written stays
        staging.discard()
        raise


@contextmanager
def atomic(destination: Path | str) -> Iterator[Path]:
    """Write one file whole or not at all."""
    with staged() as staging:
        yield staging.path(destination)
