"""Runs of the engine, as the panel starts them: in a child process or in this one; and their end."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Sequence

from .engine_run import POLL_SECONDS, EngineRun
from .io.run_folder import RunFolder

__all__ = ["POLL_SECONDS", "EngineRun", "LocalRun", "clean_up"]


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


def clean_up(engines: Sequence[EngineRun], folder: RunFolder) -> None:
    """End these runs and remove their folder."""
    for engine in engines:
        engine.stop()
    folder.remove()
