"""Output files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import threading
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..domain.errors import ExecutionError, OutputError
from ..domain.interruption import uninterrupted
from .outputs import check_derived, check_destination, check_mask, check_record
from .placement import Placement

# Held where files are moved or removed: whoever ends a run from another thread waits for it.
_moving = threading.RLock()
_open: weakref.WeakSet[Staging] = weakref.WeakSet()
# Those whose removal began and did not end, since memory ran out: kept until they are tried once more.
_left: set[Staging] = set()


class Staging:
    """Files of one run, written beside their destination and put in place together at the end.

    Args:
        inputs: files and folders that the run reads, over which nothing is written.
    """

    def __init__(self, inputs: Iterable[Path | str] = ()) -> None:
        self._inputs = [Path(path) for path in inputs]
        self._pending: dict[Path, Path] = {}
        self._made: list[Path] = []
        self._placement = Placement()
        _open.add(self)

    def path(self, destination: Path | str, *, record: bool = False) -> Path:
        """Where to write now what shall be ``destination``; its folder is made.

        The suffix is kept, since writers choose the format by it.

        Args:
            destination: file that the run makes.
            record: it gets the JSON record of a result, which replaces an earlier one, but no other JSON file.

        Raises:
            OutputError: the folder cannot be made or written to, or the destination is a folder, an input or another
                output of the run.
        """
        destination = Path(os.path.abspath(destination))  # noqa: PTH100 — resolve() would follow links
        check_destination(destination, self._inputs, self._pending.values(), record=record)
        if record:
            check_record(destination)
        try:
            with uninterrupted():
                self._make_folder(destination.parent)
                if os.path.lexists(destination) and destination.is_dir():  # the first refuses a name that is too long
                    raise OutputError(f"{destination} is a folder.", "Name the output file.")
                if not os.access(destination.parent, os.W_OK):
                    raise OutputError(
                        f"The output folder {destination.parent} cannot be written to.", "Choose another one."
                    )
                part = self._placement.part(destination, len(self._pending))
        except OSError as error:
            raise OutputError(f"{destination} cannot be made ({error.strerror}).", "Choose another place.") from error
        self._pending[part] = destination
        return part

    def derived(self, destination: Path | str, record: Path | str) -> Path:
        """As :meth:`path`, for a name that follows from another output's: what is there is replaced if it is ours.

        Args:
            destination: file that the run makes.
            record: JSON file beside that output; if it is a record of ours, so is what lies there.
        """
        check_derived(Path(destination), Path(record))
        return self.path(destination)

    def mask(self, destination: Path | str, record: Path | str) -> Path:
        """As :meth:`path`, for the mask of a 2D image, which replaces none that ``record`` does not know."""
        check_mask(Path(destination), Path(record))
        return self.path(destination)

    def _make_folder(self, folder: Path) -> None:
        """Make a folder and remember what was made, from the outside in: it may end half-way."""
        if folder.exists():
            if not folder.is_dir():
                raise FileExistsError(errno.EEXIST, f"{folder} is a file", str(folder))
            return
        if folder.parent != folder:  # a drive that is not there ends here
            self._make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        self._made.append(folder)

    def commit(self) -> None:
        """Put every file in its place; if one cannot be placed, all is as it was before.

        Raises:
            OutputError: a destination is in use or cannot be replaced.
        """
        with _moving, uninterrupted():
            try:
                self._placement.place(self._pending)
            except OSError as error:
                where = _destination(error, self._pending)
                self._placement.undo()
                raise OutputError(
                    f"{where} cannot be written ({error.strerror}).", "Close programs that have it open."
                ) from error
            self._clear()

    def explain(self, error: OSError) -> ExecutionError | None:
        """What kept an output from being written, under the name that it was to have; None where it was not that."""
        for part, destination in self._pending.items():
            if not destination.parent.is_dir():
                return ExecutionError(
                    f"The folder {destination.parent} was there when the run began, and is no longer.",
                    "Choose another place, or keep the folder until the run has ended.",
                )
            if error.filename == str(part):
                error.filename = str(destination)
        return None

    def discard(self) -> None:
        """Undo what was moved, remove what was written, and the folders that were made for it if they are empty."""
        with _moving, uninterrupted():
            _left.add(self)
            self._placement.undo()
            self._clear()
            for folder in sorted(self._made, key=lambda path: len(path.parts), reverse=True):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()
            _left.discard(self)

    def _clear(self) -> None:
        self._placement.leave(self._pending)
        self._pending.clear()
        _open.discard(self)


def discard_all() -> None:
    """Remove what all runs of this process have written so far: for a process that ends without their doing."""
    with _moving:
        for staging in list(_open):
            staging.discard()


def discard_left() -> None:
    """Remove what a run had no memory to remove when it failed: for where its arrays are gone."""
    with _moving:
        for staging in list(_left):
            staging.discard()


def _destination(error: OSError, pending: Mapping[Path, Path]) -> Path | str:
    """Which output an error is about, by the name that it was to have."""
    for part, destination in pending.items():
        if error.filename in (str(part), str(destination)):
            return destination
    return error.filename or "The output"


@contextmanager
def staged(inputs: Iterable[Path | str] = ()) -> Iterator[Staging]:
    """Collect output files; they appear together when the block ends well, else none does.

    Args:
        inputs: files and folders that are read, over which nothing is written.
    """
    staging = Staging(inputs)
    try:
        yield staging
        staging.commit()
    except BaseException as error:  # also cancel and Ctrl-C: nothing half-written stays
        explained = staging.explain(error) if isinstance(error, OSError) else None
        staging.discard()
        if explained:
            raise explained from error
        raise


@contextmanager
def atomic(destination: Path | str, inputs: Iterable[Path | str] = ()) -> Iterator[Path]:
    """Write one file whole or not at all, and over none of the inputs."""
    with staged(inputs) as staging:
        yield staging.path(destination)
