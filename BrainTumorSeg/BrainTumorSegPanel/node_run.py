"""A run of the engine on nodes of the scene: files stand for them, and the engine's sentences name them again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.errors import BrainTumorSegError, ExecutionError, error_of
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io import mrml
from BrainTumorSegLib.runner import EngineRun, LocalRun, begin


class NodeRun:
    """A run that was started; it is done when :attr:`state` says so."""

    def __init__(self, arguments: Callable[[Path], Sequence[str]], *, in_process: bool = False) -> None:
        """Start the engine.

        Args:
            arguments: gives the command line; takes the run's folder, where it writes the nodes by :meth:`write`.
            in_process: run in this process instead of a child: for tests and debuggers.

        Raises:
            BrainTumorSegError: that of ``arguments``, or no process can be started.
        """
        self._names: dict[str, str] = {}  # file that the engine is given → name of its node
        self._problem: BrainTumorSegError | None = None
        # Also where nobody asks for the result, nothing stays behind.
        self._engine, self._end = begin(self, arguments, LocalRun if in_process else EngineRun)

    def write(self, volume: Volume, file: Path) -> None:
        """Write the image of a node for the engine.

        Raises:
            ExecutionError: the disk refused.
        """
        try:
            mrml.write_image(volume, file)
        except OSError as error:
            raise ExecutionError(
                _("{name} cannot be written to {folder} ({reason}).").format(
                    name=volume.source, folder=file.parent, reason=error.strerror or error
                ),
                _("Make room on the disk."),
            ) from error
        self._names[str(file)] = volume.source

    def in_names(self, text: str, quote: Callable[[str], str] = str) -> str:
        """A text of the engine, with the names of nodes in place of their files'; ``quote`` makes a name fit for it."""
        for file, name in self._names.items():
            text = text.replace(file, quote(name))
        return text

    @property
    def state(self) -> str:
        """``running``, ``done``, ``cancelled`` or ``failed``."""
        return "failed" if self._problem else self._engine.state

    @property
    def stage(self) -> str:
        """The part of the work that is done now."""
        return self._engine.stage

    @property
    def progress(self) -> float:
        """0 to 1."""
        return self._engine.progress

    @property
    def message(self) -> str:
        """What it is doing, in words."""
        return self._engine.message

    @property
    def remaining_seconds(self) -> float | None:
        """An estimate, once there is one."""
        return self._engine.remaining_seconds

    @property
    def log(self) -> list[str]:
        """The engine's last lines."""
        return list(self._engine.log)

    @property
    def error(self) -> BrainTumorSegError | None:
        """Why it did not end well; None while it runs and when it did."""
        error = self._problem or self._engine.error
        return error and error_of(error.code, self.in_names(str(error)), self.in_names(error.remedy))

    def cancel(self) -> None:
        """Ask it to end, which takes two seconds at most; the scene stays as it was."""
        self._engine.cancel()

    @property
    def cancelling(self) -> bool:
        """Whether it was asked to end."""
        return self._engine.cancelling

    def wait(self, timeout: float | None = None) -> None:
        """Block until it has ended, or for ``timeout`` seconds; the application goes on drawing itself."""
        until = None if timeout is None else time.monotonic() + timeout
        while self.state == "running" and (until is None or time.monotonic() < until):
            slicer.app.processEvents()
            self._engine.pause()
        if self.state in ("cancelled", "failed"):  # nothing of it is needed any more
            self._end()

    def finish(self) -> None:
        """Wait for its end.

        Raises:
            BrainTumorSegError: it failed or was cancelled; its files are gone then.
        """
        self.wait()
        if self.error:
            self.close()
            raise self.error

    def close(self) -> None:
        """End it if it runs, and remove its files; its error and log can still be asked for."""
        self._end()
