"""Progress and cancellation of a run, for whoever listens."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from .errors import CancelledError

Listener = Callable[[str, float, str], None]


@dataclass
class Progress:
    """Passed down a run: stages report to it, and it ends the run when asked to.

    Attributes:
        listener: called with stage, fraction of the whole run (0 to 1, never falling) and a message.
        cancelled: set from any thread to end the run at the next report.
    """

    listener: Listener | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    _fraction: float = 0.0

    def report(self, stage: str, fraction: float, message: str = "") -> None:
        """Tell how far the run is.

        Raises:
            CancelledError: the run was cancelled.
        """
        if self.cancelled.is_set():
            raise CancelledError("Cancelled.")
        self._fraction = max(self._fraction, min(fraction, 1.0))
        if self.listener:
            self.listener(stage, self._fraction, message)

    def part(self, start: float, end: float) -> Progress:
        """Progress of a part of this run: its 0 to 1 is ``start`` to ``end`` here; both are cancelled together."""
        if not 0 <= start <= end <= 1:
            raise ValueError(f"a part from {start} to {end} is none")
        return Progress(
            lambda stage, fraction, message: self.report(stage, start + fraction * (end - start), message),
            self.cancelled,
        )
