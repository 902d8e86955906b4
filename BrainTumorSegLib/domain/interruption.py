"""Steps of a run that an interrupt waits for: putting files in place, clearing up, the last words."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class _Held(threading.local):
    depth = 0


_held = _Held()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A step that is carried to its end: what would interrupt this thread asks :func:`may_interrupt` first."""
    _held.depth += 1
    try:
        yield
    finally:
        _held.depth -= 1


def may_interrupt() -> bool:
    """Whether this thread may be interrupted where it stands."""
    return not _held.depth
