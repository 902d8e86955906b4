"""How a command speaks with its user: progress, result, error; and how a run is cancelled."""

from __future__ import annotations

import _thread
import functools
import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..domain.errors import BrainTumorSegError, CancelledError, ExecutionError
from ..domain.interruption import uninterrupted
from .signals import CANCELLED
from .streams import harmless, tolerant, write_line

POLL_SECONDS = 0.2
# A run looks for a cancel between windows; if it is busy elsewhere for longer than this, it is interrupted.
GRACE_SECONDS = 1.0
# Foreign code may swallow an interrupt, and one that never comes back to Python hears none.
ATTEMPTS = 10


class Console:
    """Progress and results in one of the styles ``auto``, ``json`` and ``none``.

    ``auto`` draws a bar on a terminal and prints a line a stage elsewhere, both on stderr. ``json`` prints one
    object a line on stdout and nothing else.
    """

    def __init__(self, style: str = "auto") -> None:
        self.style = style
        self._bar: Any = None
        self._stage = ""
        self._placed = False
        self._lost: OSError | None = None

    def progress(self, stage: str, fraction: float, message: str) -> None:
        """Listener for :class:`Progress`."""
        if self.style == "json":
            self._json({"stage": stage, "fraction": round(fraction, 4), "message": message})
        elif self.style == "auto" and sys.stderr is not None and sys.stderr.isatty():
            self._draw(fraction, message)
        elif self.style == "auto" and stage != self._stage:
            write_line(message, "stderr")
        self._stage = stage

    def _draw(self, fraction: float, message: str) -> None:
        from tqdm import tqdm

        with tolerant("stderr"):
            if self._bar is None:
                self._bar = tqdm(
                    total=100, bar_format="{desc} {bar} {percentage:3.0f} % [{elapsed}<{remaining}]", leave=False
                )
            self._bar.set_description_str(harmless(message), refresh=False)
            self._bar.update(100 * fraction - self._bar.n)

    def placed(self) -> None:
        """The outputs are in their places: the run has done what it was asked for, whoever still listens."""
        self._placed = True

    def say(self, text: str) -> None:
        """Text for people, on stdout."""
        self.close()
        if self.style != "json":
            self._print(text)

    def note(self, text: str) -> None:
        """What every style has to say, on stderr."""
        self.close()
        write_line(text, "stderr")

    def warn(self, text: str) -> None:
        """A warning, on stderr; in ``json`` it is part of the result."""
        self.close()
        if self.style != "json":
            write_line(f"warning: {text}", "stderr")

    def found(self, values: Mapping[str, Any]) -> None:
        """One of many cases that are to be run, or what is none, for ``json``."""
        if self.style == "json":
            self._json({"found": values})

    def case(self, values: Mapping[str, Any]) -> None:
        """What became of one case of many, for ``json``."""
        if self.style == "json":
            self._json({"case": values})

    def result(self, values: Mapping[str, Any]) -> None:
        """The last line of a ``json`` run that ended well."""
        if self.style == "json":
            self._json({"result": values})

    def end(self, failure: BrainTumorSegError | None) -> int:
        """The last words of a run, and its exit code; what broke when the outputs were in place is no failure."""
        if failure and self._placed and not isinstance(failure, CancelledError):
            self.note(f"warning: the outputs are written, but then: {failure.sentence()}")
            failure = None
        if self._lost and not self._placed and not failure:  # what was printed is all there is
            reason = self._lost.strerror or self._lost
            failure = ExecutionError(f"Standard output cannot be written ({reason}).", "Make room on the disk.")
        if failure:
            self.error(failure)
        self.close()
        return failure.exit_code if failure else 0

    def error(self, error: BrainTumorSegError) -> None:
        """One sentence on stderr; in ``json`` also the last object on stdout."""
        self.close()
        written = " What was to be written was in place by then." if self._placed else ""
        if self.style == "json":
            option = {"option": error.option} if error.option else {}
            self._json({"error": f"{error}{written}", "code": error.code, "remedy": error.remedy} | option)
        write_line(f"error: {error.sentence()}{written}", "stderr")

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            with tolerant("stderr"):
                self._bar.close()
            self._bar = None

    def _json(self, values: Mapping[str, Any]) -> None:
        self._print(json.dumps(values, ensure_ascii=True, allow_nan=False))

    def _print(self, text: str) -> None:
        self._lost = write_line(text, "stdout") or self._lost


@contextmanager
def watched(ending: threading.Event, cancel_file: Path | None, *, alone: bool) -> Iterator[None]:
    """Set ``ending`` when the cancel file appears or the parent process dies, and see to it that the run does end.

    A run that shall outlive its parent (``nohup``: SIGHUP is ignored) or that has none to speak of is
    not ended with it.

    Args:
        ending: asks the run to end.
        cancel_file: that may appear.
        alone: whether this process is the command's own, and may be ended where nothing else helps.
    """
    done = threading.Event()
    parent_alive = parent_watch()
    hears = threading.current_thread() is threading.main_thread()  # interrupts, see :mod:`.signals`

    def watch() -> None:
        while not done.wait(POLL_SECONDS):
            if ending.is_set() or (cancel_file and cancel_file.exists()) or not parent_alive():
                ending.set()
                break
        for _ in range(ATTEMPTS):
            if done.wait(GRACE_SECONDS):
                return
            if hears:
                _thread.interrupt_main(signal.SIGTERM)
        if alone and not done.wait(GRACE_SECONDS):
            _end_from_outside()

    thread = threading.Thread(target=watch, name="cancel-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        with uninterrupted():
            done.set()
            thread.join()


def _end_from_outside() -> None:
    """End a process whose main thread is deep in foreign code, which hears nothing."""
    from ..io.programs import end_all
    from ..io.staging import discard_all

    discard_all()
    end_all()
    for process in multiprocessing.active_children():
        process.kill()
    os._exit(CANCELLED)


@functools.cache
def _handle_of(process: int) -> int:
    """Of another process, on Windows; kept, since a process has one parent only."""
    import ctypes

    synchronise = 0x00100000
    return int(ctypes.windll.kernel32.OpenProcess(synchronise, False, process))  # type: ignore[attr-defined]


def parent_watch() -> Callable[[], bool]:
    """A function that says whether the process that started this one still lives."""
    parent = os.getppid()
    if sys.platform == "win32":
        import ctypes

        timeout, handle = 0x102, _handle_of(parent)
        return lambda: not handle or ctypes.windll.kernel32.WaitForSingleObject(handle, 0) == timeout
    if parent <= 1 or signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return lambda: True
    return lambda: os.getppid() == parent
