"""One run of the engine at a time, whichever part of the panel asks for it: two would share memory and cores."""

from __future__ import annotations

from typing import Protocol


class Part(Protocol):
    """A part of the panel that runs the engine."""

    @property
    def under_way(self) -> str:
        """What it runs, as a sentence for the user; empty while it runs nothing."""

    def refresh(self) -> None:
        """Enable its buttons, or say why not."""


class Turns:
    """The parts that take turns."""

    def __init__(self) -> None:
        self._parts: list[Part] = []

    def join(self, part: Part) -> None:
        """Take part."""
        self._parts.append(part)

    @property
    def under_way(self) -> str:
        """What any of the parts runs; empty if a run can begin."""
        return next((part.under_way for part in self._parts if part.under_way), "")

    def changed(self) -> None:
        """A run began or ended."""
        for part in self._parts:
            part.refresh()
