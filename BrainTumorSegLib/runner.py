"""Runs of the engine, as the panel starts them: in a child process or in this one; and their end."""

from __future__ import annotations

import contextlib
import io
import os
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .domain.errors import ExecutionError
from .engine_run import POLL_SECONDS, EngineRun
from .io.run_folder import RunFolder

__all__ = ["POLL_SECONDS", "EngineRun", "LocalRun", "begin"]


class LocalRun(EngineRun):
    """The same in this process, done when it is made: for tests and debuggers."""

    def _start(self, arguments: list[str]) -> None:
        from . import cli

        output, notes = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(notes):
            self._code = cli.main(arguments)
        self.log.extend(notes.getvalue().splitlines())
        for line in output.getvalue().splitlines():
            self._take(line)

    def _is_alive(self) -> bool:
        return False

    def _exit_code(self) -> int | None:
        return self._code

    @property
    def pid(self) -> int:
        """This process."""
        return os.getpid()

    def wait(self, timeout: float | None = None) -> None:
        """It has ended already."""


def begin(
    owner: object,
    arguments: Callable[[Path], Sequence[str]],
    run: Callable[[Sequence[str], Path], EngineRun] = EngineRun,
) -> tuple[EngineRun, weakref.finalize[..., Any]]:
    """Start a run that has a folder for temporary files.

    Args:
        owner: for whom it runs: where it goes, run and folder go with it.
        arguments: gives the command line; takes the folder, where it may write files for the run.
        run: starts it; takes the command line and the cancel file.

    Returns:
        The run, and what ends it and removes the folder.

    Raises:
        BrainTumorSegError: there is no place for the folder, no process can be started, or that of ``arguments``.
    """
    try:
        folder = RunFolder.make()
    except OSError as error:
        raise ExecutionError(
            f"There is no place for temporary files ({error.strerror or error}).", "Make room on the disk."
        ) from error
    try:
        engine = run(arguments(folder.path), folder.path / "cancel")
    except BaseException:
        folder.remove()
        raise
    return engine, weakref.finalize(owner, _clean_up, engine, folder)


def _clean_up(engine: EngineRun, folder: RunFolder) -> None:
    engine.stop()
    folder.remove()
