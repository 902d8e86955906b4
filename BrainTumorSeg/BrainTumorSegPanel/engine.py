"""The engine as a child process: a crash, a lack of memory or a cancel never takes the application down."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import BrainTumorSegLib
from BrainTumorSegLib.errors import BrainTumorSegError, CancelledError, ExecutionError

_LOG_LINES = 200


def interpreter() -> str:
    """The Python that runs the engine: this one, or PythonSlicer where this one is the application itself.

    Raises:
        ExecutionError: there is none.
    """
    if sys.executable and "python" in Path(sys.executable).stem.lower():
        return sys.executable
    found = shutil.which("PythonSlicer")
    if found:
        return found
    raise ExecutionError("No Python was found to run the segmentation.", "Start 3D Slicer by its own launcher.")


def environment() -> dict[str, str]:
    """This process's environment, with the folder of the imported BrainTumorSegLib first on the path."""
    library = str(Path(BrainTumorSegLib.__file__).resolve().parents[1])
    paths = [library, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


class EngineRun:
    """One run of the command line.

    Attributes:
        stage, progress, message: how far it is; ``progress`` goes from 0 to 1.
        log: its last lines that are no progress: warnings, and what went wrong.
    """

    def __init__(self, arguments: Sequence[str], cancel_file: Path) -> None:
        """Start ``braintumorseg`` with these arguments; it is cancelled by ``cancel_file``, which must not exist."""
        self.stage, self.progress, self.message = "", 0.0, "Starting"
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        self._answer: dict[str, Any] = {}
        self._cancel_file = cancel_file
        options = ["--progress", "json", "--cancel-file", str(cancel_file)]
        self._process = subprocess.Popen(
            [interpreter(), "-m", "BrainTumorSegLib.cli", *arguments, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(),
            encoding="utf-8",
            errors="replace",
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows: no console flashes up
        )
        self._reader = threading.Thread(target=self._read, name="engine-output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._take(line.rstrip())

    def _take(self, line: str) -> None:
        """One line of output: progress, the answer, or something for the log."""
        try:
            values = json.loads(line)
        except ValueError:
            values = None
        if not isinstance(values, dict):
            self.log.append(line)
        elif "stage" in values:
            self.stage = str(values["stage"])
            self.progress = float(values["fraction"])
            self.message = str(values["message"])
        else:
            self._answer = values

    @property
    def state(self) -> str:
        """``running``, ``done``, ``cancelled`` or ``failed``."""
        if self._process.poll() is None or self._reader.is_alive():
            return "running"
        return {0: "done", CancelledError.exit_code: "cancelled"}.get(self._process.returncode, "failed")

    @property
    def error(self) -> BrainTumorSegError | None:
        """Why it did not end well; None while it runs and when it did."""
        state = self.state
        if state == "cancelled":
            return CancelledError("Cancelled.")
        if state != "failed":
            return None
        if "error" in self._answer:
            return ExecutionError(str(self._answer["error"]), str(self._answer.get("remedy", "")))
        last = self.log[-1] if self.log else "it said nothing"
        return ExecutionError(
            f"The segmentation ended with exit code {self._process.returncode}: {last}.",
            "Close other programs if memory may have run out, or see the log.",
        )

    def cancel(self) -> None:
        """Ask it to end; it does so within about a second."""
        self._cancel_file.touch()

    def wait(self, timeout: float | None = None) -> None:
        """Block until it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not within ``timeout`` seconds.
        """
        self._process.wait(timeout)
        self._reader.join()

    def answer(self) -> dict[str, Any]:
        """What the command line gave as its result.

        Raises:
            BrainTumorSegError: the run failed or was cancelled.
            RuntimeError: it still runs.
        """
        if self.error:
            raise self.error
        if self.state == "running":
            raise RuntimeError("the run has not ended yet")
        if "result" not in self._answer:
            raise ExecutionError("The segmentation ended without a result.", "See the log.")
        return dict(self._answer["result"])
