from __future__ import annotations

import inspect

import pytest

from BrainTumorSegLib.domain import errors


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
        ("BrainExtractionError", 1),
        ("CancelledError", 130),
    ],
)
def test_exit_codes(kind: str, code: int) -> None:
    error = getattr(errors, kind)("What.", "Do.")
    assert isinstance(error, errors.BrainTumorSegError)
    assert (error.exit_code, str(error), error.remedy) == (code, "What.", "Do.")


@pytest.mark.parametrize("kind", [kind for kind in vars(errors).values() if inspect.isclass(kind)])
def test_an_error_comes_back_from_its_code(kind: type[errors.BrainTumorSegError]) -> None:
    reported = errors.error_of(kind.code, "What.", "Do.")
    assert (reported.code, reported.exit_code, str(reported), reported.remedy) == (
        kind.code,
        kind.exit_code,
        "What.",
        "Do.",
    )
    if kind is not errors.BrainTumorSegError:
        assert type(reported) is kind


def test_a_code_of_a_newer_version_is_a_failed_run() -> None:
    assert type(errors.error_of("moon", "What.")) is errors.ExecutionError
