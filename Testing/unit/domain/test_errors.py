from __future__ import annotations

import inspect

import pytest

from BrainTumorSegLib.domain import errors
from BrainTumorSegLib.domain.errors import InputError
from BrainTumorSegLib.domain.shortage import is_shortage


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


@pytest.mark.parametrize(
    "words",
    [
        "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes.",
        "Exception thrown in SimpleITK: itkImportImageContainer.hxx:179:\nFailed to allocate memory for image.",
        "_SimpleITK.abi3.so: failed to map segment from shared object",
        "std::bad_alloc",
    ],
)
def test_a_shortage_is_known_by_the_words_of_libraries_also_behind_another_error(words: str) -> None:
    assert is_shortage(RuntimeError(words))
    try:
        try:
            raise RuntimeError(words)
        except RuntimeError as error:
            raise InputError("P_t1.nii.gz cannot be read.", "Its header is damaged.") from error
    except InputError as error:
        assert is_shortage(error)
    assert not is_shortage(InputError("P_t1.nii.gz is empty."))


def test_compiled_code_without_room_for_its_error() -> None:
    assert is_shortage(SystemError("error return without exception set"))
    assert is_shortage(SystemError("<built-in function x> returned NULL without setting an exception"))
    assert not is_shortage(SystemError("bad argument to internal function"))
