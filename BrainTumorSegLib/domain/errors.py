"""Errors a user can act on: each says what is wrong, where, and what to do."""

from __future__ import annotations


class BrainTumorSegError(Exception):
    """Base class. ``str(error)`` is what is wrong; ``remedy`` is what to do about it.

    ``code`` tells the kind in one word, for programs: it travels in the JSON of a run, and :func:`error_of` makes the
    same kind of error of it on the other side. ``option`` is the option of the command that would answer it, where one
    does.
    """

    code = "failed"
    exit_code = 1

    def __init__(self, message: str, remedy: str = "", *, option: str = "") -> None:
        super().__init__(message)
        self.remedy, self.option = remedy, option

    def sentence(self) -> str:
        """The message and its remedy on one line."""
        return " ".join(f"{self} {self.remedy}".split())


class RequestError(BrainTumorSegError):
    """The request cannot be carried out as it stands (command line: exit 2)."""

    code = "request"
    exit_code = 2


class InputError(RequestError):
    """A file or an image is unusable: unreadable, of the wrong shape, not finite, empty."""

    code = "input"


class GeometryError(RequestError):
    """Images have an unusable affine or do not share space."""

    code = "geometry"


class ModalityError(RequestError):
    """A sequence is missing, given twice or not known."""

    code = "modality"


class CheckpointError(RequestError):
    """A weights file is damaged, foreign, too new or unknown."""

    code = "checkpoint"


class DeviceError(RequestError):
    """The asked-for device is not there."""

    code = "device"


class OutputError(RequestError):
    """The output cannot be placed where it was asked for."""

    code = "output"


class ExecutionError(BrainTumorSegError):
    """Something failed while running (command line: exit 1)."""

    code = "failed"


class ShortageError(ExecutionError):
    """Memory ran out."""

    code = "memory"


class DeviceShortageError(ShortageError):
    """The memory of a GPU ran out: the CPU may have more."""

    code = "device_memory"


class BrainExtractionError(ExecutionError):
    """A program for brain extraction is there but does not work."""

    code = "brain_extraction"


class CancelledError(BrainTumorSegError):
    """The run was cancelled by its user or its parent (command line: exit 130)."""

    code = "cancelled"
    exit_code = 130


_KINDS: dict[str, type[BrainTumorSegError]] = {
    kind.code: kind
    for kind in (
        RequestError, InputError, GeometryError, ModalityError, CheckpointError, DeviceError, OutputError,
        ExecutionError, ShortageError, DeviceShortageError, BrainExtractionError, CancelledError,
    )
}  # fmt: skip


def error_of(code: str, message: str, remedy: str = "", option: str = "") -> BrainTumorSegError:
    """The error that another process reported; of an unknown kind, an :class:`ExecutionError`."""
    return _KINDS.get(code, ExecutionError)(message, remedy, option=option)
