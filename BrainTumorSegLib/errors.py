"""Errors a user can act on: each says what is wrong, where, and what to do."""

from __future__ import annotations


class BrainTumorSegError(Exception):
    """Base class. ``str(error)`` is what is wrong; ``remedy`` is what to do about it."""

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy

    def sentence(self) -> str:
        """The message and its remedy on one line."""
        return " ".join(f"{self} {self.remedy}".split())


class RequestError(BrainTumorSegError):
    """The request cannot be carried out as it stands (command line: exit 2)."""

    exit_code = 2


class InputError(RequestError):
    """A file or an image is unusable: unreadable, of the wrong shape, not finite, empty."""


class GeometryError(RequestError):
    """Images have an unusable affine or do not share space."""


class ModalityError(RequestError):
    """A sequence is missing, given twice or not known."""


class CheckpointError(RequestError):
    """A weights file is damaged, foreign, too new or unknown."""


class DeviceError(RequestError):
    """The asked-for device is not there."""


class OutputError(RequestError):
    """The output cannot be placed where it was asked for."""


class ExecutionError(BrainTumorSegError):
    """Something failed while running (command line: exit 1)."""


class CancelledError(BrainTumorSegError):
    """The run was cancelled by its user or its parent (command line: exit 130)."""

    exit_code = 130
