"""Signals that ask the command to end: heard from its first line to its last, and answered with exit 130.

The first one asks: the run ends at the next report of its progress, never inside an import or where files are put in
place. A second one, or the watch over a run that does not heed the first, interrupts what runs.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

from ..domain.interruption import may_interrupt, uninterrupted

CANCELLED = 130
# Windows has no SIGHUP.
_NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Ending(threading.Event):
    """Set when a run shall end.

    Attributes:
        signals: how many of them asked for it; with more than one, it may have been interrupted anywhere.
    """

    signals = 0


@contextmanager
def heard() -> Iterator[Ending]:
    """Signals set the event that is given; those that were ignored before (``nohup``, ``&`` in a script) still are."""
    ending = Ending()

    def hear(number: int, frame: FrameType | None) -> None:
        again = ending.is_set()
        ending.set()
        ending.signals += 1
        if again and may_interrupt():
            raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        ignored = [number for number in _NUMBERS if signal.getsignal(number) in (signal.SIG_IGN, None)]
        before = {number: signal.signal(number, hear) for number in _NUMBERS if number not in ignored}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave(code: int, ending: threading.Event) -> NoReturn:
    """End the process at once: what Python would take down piece by piece no longer hears signals meanwhile."""
    import atexit

    with uninterrupted():
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            try:
                if stream is not None:
                    stream.flush()
            except (OSError, ValueError):  # nobody reads it any more
                pass
        os._exit(CANCELLED if ending.is_set() else code)
