"""The engine's process for one run after another: ``python -P -m BrainTumorSegLib.worker SECONDS``.

A line of JSON on stdin is a run: ``{"job": MARK, "arguments": […], "cancel_file": FILE}``, the arguments those of the
command line. What comes back on stdout is what the command line prints there, between ``{"job": MARK, "pid": …}`` and
``{"job": MARK, "exit": CODE, "stays": …}``; stderr gets that last line, too, so that whoever reads both knows when
both are complete. What is imported, and the model of the last run, are there when the next one begins.

It ends when stdin closes or its parent dies, after so many seconds without a run, when a signal asks for it, and after
a run that failed while running: what memory or a graphics card are like then, nobody knows.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
import warnings
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

from .cli import carry_out
from .commands.console import parent_watch
from .commands.signals import heard, leave
from .domain.errors import CancelledError, RequestError
from .models.kept import keep_models

POLL_SECONDS = 1.0
# Exit codes after which all is as it should be, if no signal was heard.
_SOUND = (0, RequestError.exit_code, CancelledError.exit_code)


def main(idle_seconds: float) -> None:
    """Carry out runs until there is a reason to end."""
    jobs: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
    incoming, parent_alive, folder = _own_streams(), parent_watch(), Path.cwd()
    keep_models()
    with heard() as ending:
        threading.Thread(target=_read, args=(incoming, jobs), name="jobs", daemon=True).start()
        stays = True
        while stays and (job := _next(jobs, idle_seconds, lambda: parent_alive() and not ending.is_set())):
            stays = _carry_out(job, folder, parent_alive)
        leave(0, ending)


def _own_streams() -> FileIO:
    """Keep stdin and stdout for the one who gives the runs; what is given back reads stdin.

    Libraries and the programs that they start read nothing, and what they print past Python goes to stderr.
    """
    # Unbuffered: a buffer has a lock, which Python waits for when it ends.
    incoming = os.fdopen(os.dup(0), "rb", buffering=0)
    sys.stdout = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return incoming


def _read(incoming: FileIO, jobs: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    for line in incoming:
        jobs.put(json.loads(line))
    jobs.put(None)


def _next(
    jobs: queue.SimpleQueue[dict[str, Any] | None], idle_seconds: float, is_needed: Callable[[], bool]
) -> dict[str, Any] | None:
    """The next run; None where this process shall end."""
    since, tidy = time.monotonic(), False
    while is_needed():
        left = since + idle_seconds - time.monotonic()
        try:
            return jobs.get(timeout=max(min(left, POLL_SECONDS), 0))
        except queue.Empty:
            if left <= 0:
                break
        if not tidy:  # not where one run follows at the other's heels
            _give_back_memory()
            tidy = True
    return None


def _carry_out(job: dict[str, Any], folder: Path, parent_alive: Callable[[], bool]) -> bool:
    """One run; whether this process may take another one, for which it waits in ``folder``."""
    mark, cancel_file = {"job": job["job"]}, Path(job["cancel_file"])
    _say({**mark, "pid": os.getpid()}, sys.stdout)  # a launcher may stand between this process and its parent
    os.chdir(cancel_file.parent)
    with heard() as ending:
        try:
            code = carry_out(job["arguments"], ending, alone=True)
        except SystemExit as end:  # --help
            code = end.code if isinstance(end.code, int) else 0
    # No folder is held: Windows removes none that is somebody's current one.
    os.chdir(folder)
    # Python remembers which warnings were shown: entering this forgets it, and the next run's log has them again.
    with warnings.catch_warnings():
        pass
    # A run that heeded its cancel file stopped where it can. One that a signal ended, or the watch over it, may have
    # been interrupted anywhere.
    stays = code in _SOUND and not ending.signals and parent_alive()
    for stream in (sys.stderr, sys.stdout):
        _say({**mark, "exit": code, "stays": stays}, stream)
    return stays


def _say(values: dict[str, Any], stream: Any) -> None:
    stream.write(f"{json.dumps(values)}\n")  # at once: what a library prints meanwhile comes before or after it
    stream.flush()


def _give_back_memory() -> None:
    """What the last run has left over goes back to the system, as far as Python, torch and the C library know how."""
    import gc

    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    elif torch is not None and torch.backends.mps.is_available():
        torch.mps.empty_cache()
    if sys.platform.startswith("linux"):
        import ctypes

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
        if trim is not None:
            trim(0)


if __name__ == "__main__":
    main(float(sys.argv[1]))
