"""Other people's programs that run beside this one: each with all that it started, and none of it outlives its run.

A program may be a script that starts another one, which would go on alone. Each has a session of its own, so that all
of it can be ended at once; a Ctrl-C in the terminal does not reach it there, so whoever starts one has to end it.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

from ..domain.interruption import uninterrupted

_started: list[subprocess.Popen[bytes]] = []


def start(
    command: Sequence[str], output: IO[bytes], environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a program; an open stdin tells it that this process lives. To be ended by :func:`end` in any case.

    Args:
        command: the program and its arguments.
        output: gets what it prints.
        environment: of the program; this process's without it.

    Raises:
        OSError: it cannot be started.
    """
    with uninterrupted():
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            start_new_session=True,
        )
        _started.append(process)
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """End a program and all that it started, also where it ended by itself and left something behind.

    On Windows what is left behind lives on: there only a program that still runs tells what it started.
    """
    with uninterrupted():
        if sys.platform == "win32":
            if process.poll() is None:
                command = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
                with suppress(OSError):
                    subprocess.run(command, capture_output=True, creationflags=subprocess.CREATE_NO_WINDOW)
        else:
            with suppress(ProcessLookupError, PermissionError):  # nothing of it is left
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        with suppress(ValueError):  # ended twice
            _started.remove(process)


def end_all() -> None:
    """End what still runs, where this process ends without coming back to those who started it."""
    for process in list(_started):
        end(process)


atexit.register(end_all)
