"""Output files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ..domain.errors import OutputError


class Staging:
    """Files of one run, written beside their destination and put in place together at the end."""

    def __init__(self, inputs: Iterable[Path] = ()) -> None:
        """Begin; ``inputs`` are files that no output may replace, under whatever name."""
        self._pending: dict[Path, Path] = {}
        self._made: list[Path] = []
        self._inputs = {key for file in inputs for key in _keys(file)}
        self._outputs: set[object] = set()

    def path(self, destination: Path | str) -> Path:
        """Where to write now what shall be ``destination``; its folder is made.

        The suffix is kept, since writers choose the format by it.

        Raises:
            OutputError: the folder cannot be made or written to, or the destination is a folder, an input or another
                output.
        """
        destination = Path(os.path.abspath(destination))  # noqa: PTH100 — resolve() would follow links
        self._refuse_twice(destination)
        try:
            self._make_folder(destination.parent)
            taken = destination.is_dir()
        except OSError as error:
            raise OutputError(f"{destination} cannot be made ({error.strerror}).", "Choose another place.") from error
        if taken:
            raise OutputError(f"{destination} is a folder.", "Name the output file.")
        if not os.access(destination.parent, os.W_OK):
            raise OutputError(f"The output folder {destination.parent} cannot be written to.", "Choose another one.")
        part = destination.with_name(f".{os.getpid()}-{len(self._pending)}.part-{destination.name}")
        self._pending[part] = destination
        return part

    def _refuse_twice(self, destination: Path) -> None:
        """Refuse an input or another output, also by way of a link or in other letters where the disk does not care."""
        keys = _keys(destination)
        if keys & self._inputs:
            raise OutputError(f"{destination} is an input of this run.", "Name another output.")
        if keys & self._outputs:
            raise OutputError(f"{destination} would be written twice.", "Give each output a name of its own.")
        self._outputs |= keys

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
        kept: list[Path] = []
        last = next(reversed(self._pending), None)
        with ExitStack() as undo:
            for part, destination in self._pending.items():
                try:
                    if part == last:  # nothing can fail after it, so there is nothing to undo
                        part.replace(destination)
                    elif destination.is_file():
                        kept.append(part.with_name(f"{part.name}.old"))
                        destination.replace(kept[-1])
                        undo.callback(kept[-1].replace, destination)
                        part.replace(destination)
                    else:
                        part.replace(destination)
                        undo.callback(destination.unlink)
                except OSError as error:
                    raise OutputError(
                        f"{destination} cannot be written ({error.strerror}).", "Close programs that have it open."
                    ) from error
            undo.pop_all()
        for old in kept:
            old.unlink()
        self._pending.clear()

    def discard(self) -> None:
        """Remove what was written, and the folders that were made for it if they are empty."""
        for part in self._pending:
            part.unlink(missing_ok=True)
        for folder in sorted(self._made, key=lambda path: len(path.parts), reverse=True):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def _keys(path: Path) -> set[object]:
    """What a file is known by: its path with links followed, and where there is one, its place on the disk."""
    try:
        found: set[object] = {os.path.normcase(path.resolve())}
    except (OSError, RuntimeError):  # a loop of links
        return {os.path.normcase(path.absolute())}
    with suppress(OSError):
        status = path.stat()
        found.add((status.st_dev, status.st_ino))
    return found


@contextmanager
def staged(inputs: Iterable[Path] = ()) -> Iterator[Staging]:
    """Collect output files; they appear together when the block ends well, else none does.

    Args:
        inputs: files that no output may replace.
    """
    staging = Staging(inputs)
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
