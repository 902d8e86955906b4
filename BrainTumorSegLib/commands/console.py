"""How a command speaks with its user: progress, result, error; and how a run is cancelled."""

from __future__ import annotations

import _thread
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..domain.errors import BrainTumorSegError
from ..domain.progress import Progress
from .streams import tolerant, write_line

POLL_SECONDS = 0.2
# A run looks for a cancel between windows; if it is busy elsewhere for longer than this, it is interrupted.
GRACE_SECONDS = 1.0


class Console:
    """Progress and results in one of the styles ``auto``, ``json`` and ``none``.

    ``auto`` draws a bar on a terminal and prints a line a stage elsewhere, both on stderr. ``json`` prints one
    object a line on stdout and nothing else.
    """

    def __init__(self, style: str = "auto") -> None:
        self.style = style
        self._bar: Any = None
        self._stage = ""

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
            self._bar.set_description_str(message, refresh=False)
            self._bar.update(100 * fraction - self._bar.n)

    def say(self, text: str) -> None:
        """Text for people, on stdout."""
        self.close()
        if self.style != "json":
            write_line(text, "stdout")

    def note(self, text: str) -> None:
        """What every style has to say, on stderr."""
        self.close()
        write_line(text, "stderr")

    def warn(self, text: str) -> None:
        """A warning, on stderr; in ``json`` it is part of the result."""
        self.close()
        if self.style != "json":
            write_line(f"warning: {text}", "stderr")

    def result(self, values: Mapping[str, Any]) -> None:
        """The last line of a ``json`` run that ended well."""
        if self.style == "json":
            self._json({"result": values})

    def error(self, error: BrainTumorSegError) -> None:
        """One sentence on stderr; in ``json`` also the last object on stdout."""
        self.close()
        if self.style == "json":
            self._json({"error": str(error), "code": error.code, "remedy": error.remedy})
        write_line(f"error: {error.sentence()}", "stderr")

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            with tolerant("stderr"):
                self._bar.close()
            self._bar = None

    @staticmethod
    def _json(values: Mapping[str, Any]) -> None:
        write_line(json.dumps(values, ensure_ascii=True, allow_nan=False), "stdout")


@contextmanager
def watched(progress: Progress, cancel_file: Path | None) -> Iterator[None]:
    """Cancel ``progress`` when the cancel file appears, the parent process dies or SIGTERM arrives.

    A run that shall outlive its parent (``nohup``: SIGHUP is ignored) or that has none to speak of is
    not ended with it.
    """
    done = threading.Event()
    parent_alive = _parent_watch()

    def watch() -> None:
        while not done.wait(POLL_SECONDS):
            if progress.cancelled.is_set() or (cancel_file and cancel_file.exists()) or not parent_alive():
                progress.cancelled.set()
                if not done.wait(GRACE_SECONDS):
                    _thread.interrupt_main()
                return

    previous = None
    if threading.current_thread() is threading.main_thread():
        previous = signal.signal(signal.SIGTERM, lambda *_: progress.cancelled.set())
    thread = threading.Thread(target=watch, name="cancel-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def _parent_watch() -> Callable[[], bool]:
    """A function that says whether the process that started this one still lives."""
    parent = os.getppid()
    if sys.platform == "win32":
        import ctypes

        synchronise, timeout = 0x00100000, 0x102
        handle = ctypes.windll.kernel32.OpenProcess(synchronise, False, parent)
        return lambda: not handle or ctypes.windll.kernel32.WaitForSingleObject(handle, 0) == timeout
    if parent <= 1 or signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return lambda: True
    return lambda: os.getppid() == parent
