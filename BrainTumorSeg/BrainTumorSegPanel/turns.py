"""One run of the engine at a time, whichever part of the panel asks for it: two would share memory and cores."""

from __future__ import annotations

from typing import Protocol


class Part(Protocol):
    """A part of the panel that runs the engine."""

    @property
    def running(self) -> bool:
        """Whether its run is under way."""

    def refresh(self) -> None:
        """Enable its buttons, or say why not."""


class Turns:
    """The parts that take turns."""

    def __init__(self) -> None:
        self._parts: list[Part] = []

    def join(self, part: Part) -> None:
        """Take part."""
        self._parts.append(part)

    def taken_from(self, part: Part) -> bool:
        """Whether another part has a run under way."""
        return any(other.running for other in self._parts if other is not part)

    def changed(self) -> None:
        """A run began or ended."""
        for part in self._parts:
            part.refresh()
