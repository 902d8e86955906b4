from __future__ import annotations

import inspect

import pytest

from BrainTumorSegLib import errors


def test_sentence_is_one_line_with_the_remedy() -> None:
    error = errors.InputError("a.nii cannot\nbe read.", "Copy it\tagain.")
    assert error.sentence() == "a.nii cannot be read. Copy it again."
    assert errors.InputError("No remedy.").sentence() == "No remedy."


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("RequestError", 2),
        ("InputError", 2),
        ("GeometryError", 2),
        ("ModalityError", 2),
        ("CheckpointError", 2),
        ("DeviceError", 2),
        ("OutputError", 2),
        ("ExecutionError", 1),
        ("CancelledError", 130),
    ],
)
def test_exit_codes(kind: str, code: int) -> None:
    error = getattr(errors, kind)("What.", "Do.")
    assert isinstance(error, errors.BrainTumorSegError)
    assert (error.exit_code, str(error), error.remedy) == (code, "What.", "Do.")


def test_every_error_has_one_base() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]
    assert len(kinds) == 10
    assert all(issubclass(kind, errors.BrainTumorSegError) for kind in kinds)
