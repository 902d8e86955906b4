"""The engine as a child process: a crash, a lack of memory or a cancel never takes the application down."""

from __future__ import annotations

import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeGuard

from .domain.errors import BrainTumorSegError, CancelledError, ExecutionError, error_of
from .domain.json_values import json_of
from .domain.result_record import ResultRecord
from .engine_process import EngineProcesses, processes

POLL_SECONDS = 0.1
_LOG_LINES = 200
# After a cancel the engine mostly ends by itself. One that is deep in foreign code, or busy with tearing itself down,
# is killed: what it writes lies in the run's own folder, which goes anyway.
_CANCEL_GRACE_SECONDS = 0.8


class EngineRun:
    """One run of the command line.

    Attributes:
        stage, progress, message: how far it is; ``progress`` goes from 0 to 1.
        log: its last lines that are no progress: warnings, and what went wrong.
        found: of many, where the images of each are, and what is none, as the command says it.
        cases: of many, what became of each that has ended, likewise.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        cancel_file: Path,
        engines: EngineProcesses | None = None,
        grace_seconds: float = _CANCEL_GRACE_SECONDS,
    ) -> None:
        """Start ``braintumorseg`` with these arguments; it is cancelled by ``cancel_file``, which must not exist.

        ``engines`` are the processes that it may run in, those of this program if not given; after a cancel it has
        ``grace_seconds`` to end by itself.

        It works in the folder of that file, so that no module of the current folder is taken for one of its own: files
        are named from the root on.

        Raises:
            ExecutionError: no process can be started.
        """
        self.stage, self.progress, self.message = "", 0.0, "Starting"
        self.log: deque[str] = deque(maxlen=_LOG_LINES)
        self.found: list[dict[str, Any]] = []
        self.cases: list[dict[str, Any]] = []
        self._answer: dict[str, Any] = {}
        self._predicting: tuple[float, float] | None = None
        self._cancel_file = cancel_file.absolute()
        self._cancelled = False
        # Right behind the command, since what follows an action of `models` belongs to that action.
        command, *rest = arguments
        self._engines, self._grace_seconds = engines or processes, grace_seconds
        self._start([command, "--progress", "json", "--cancel-file", str(self._cancel_file), *rest])

    def _start(self, arguments: list[str]) -> None:
        if not self._cancel_file.parent.is_dir():
            raise ExecutionError(f"There is no folder {self._cancel_file.parent}.", "Make room on the disk.")
        listeners = {"stdout": self._take, "stderr": self.log.append}
        self._job = self._engines.start(arguments, self._cancel_file, listeners)

    def _take(self, line: str) -> None:
        """One line of stdout: progress, the answer, or something for the log."""
        values = _object(line)
        if isinstance(values.get("result"), dict) or "error" in values:
            self._answer = values
            return
        for name, heard in (("found", self.found), ("case", self.cases)):
            if isinstance(values.get(name), dict):
                heard.append(values[name])
                return
        stage, fraction, message = (values.get(name) for name in ("stage", "fraction", "message"))
        if not (isinstance(stage, str) and isinstance(message, str) and _is_share(fraction)):
            self.log.append(line)
            return
        self.stage, self.progress, self.message = stage, float(fraction), message
        if stage == "predict" and self._predicting is None:
            self._predicting = (time.monotonic(), self.progress)

    @property
    def state(self) -> str:
        """``running``, ``done``, ``cancelled`` or ``failed``."""
        if self._is_alive():
            return "running"
        if self._cancelled:
            return "cancelled"
        ends: dict[int | None, str] = {0: "done", CancelledError.exit_code: "cancelled"}
        return ends.get(self._exit_code(), "failed")

    def _is_alive(self) -> bool:
        return not self._job.done.is_set()

    def _exit_code(self) -> int | None:
        return self._job.exit_code

    @property
    def pid(self) -> int:
        """Of the process that it runs in, which may have done other runs before."""
        assert self._job.process is not None
        return self._job.process.popen.pid

    @property
    def remaining_seconds(self) -> float | None:
        """An estimate, once the network has run for a while; None before."""
        if self._predicting is None:
            return None
        since, start = self._predicting
        done = self.progress - start
        if done <= 0.02:
            return None
        return (time.monotonic() - since) * (1 - self.progress) / done

    @property
    def error(self) -> BrainTumorSegError | None:
        """Why it did not end well; None while it runs and when it did."""
        state = self.state
        if state == "cancelled":
            return CancelledError("Cancelled.")
        if state != "failed":
            return None
        if "error" in self._answer:
            said = (str(self._answer.get(key, "")) for key in ("code", "error", "remedy", "option"))
            return error_of(*said)
        last = self.log[-1] if self.log else "it said nothing"
        return ExecutionError(
            f"The engine ended with exit code {self._exit_code()}: {last}.",
            "Close other programs if memory may have run out, or see the log.",
        )

    @property
    def has_died(self) -> bool:
        """Whether its process ended without a word, as one that was killed does."""
        return self.state == "failed" and "error" not in self._answer

    @property
    def cancelling(self) -> bool:
        """Whether it was asked to end."""
        return self._cancelled

    def cancel(self) -> None:
        """End it, within about a second: one that does not heed the cancel file is killed."""
        if self._cancelled or self.state != "running":
            return
        self._cancelled = True
        try:
            self._cancel_file.touch()
        except OSError:  # the disk is full, or the folder gone: there is no other way to say it
            self._job.kill()
            return
        timer = threading.Timer(self._grace_seconds, self._job.kill)
        timer.daemon = True
        timer.start()

    def stop(self) -> None:
        """Cancel it and wait until nothing of it runs."""
        self.cancel()
        while self.state == "running":
            self.pause()

    @staticmethod
    def pause() -> None:
        """Between two looks at :attr:`state`."""
        time.sleep(POLL_SECONDS)

    def wait(self, timeout: float | None = None) -> None:
        """Block until it has ended.

        Raises:
            subprocess.TimeoutExpired: it has not within ``timeout`` seconds.
        """
        if not self._job.done.wait(timeout):
            raise subprocess.TimeoutExpired("braintumorseg", timeout or 0.0)

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
            raise ExecutionError("The engine ended without a result.", "See the log.")
        return dict(self._answer["result"])

    def record(self) -> ResultRecord:
        """The record of the result, where the command was one that makes one.

        Raises:
            BrainTumorSegError: the run failed or was cancelled, or its answer is no record.
        """
        values = self.answer()
        return ResultRecord.of_json({name: value for name, value in values.items() if name != "output"}, "The answer")


def _object(line: str) -> dict[str, Any]:
    """What a line of JSON holds; nothing where it is none, or too deep or long to be one of ours."""
    try:
        values = json_of(line)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _is_share(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float) and 0 <= value <= 1
