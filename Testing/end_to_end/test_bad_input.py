"""Whatever is wrong: one sentence, the right exit code, and nothing half-written."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from BrainTumorSegLib.models.checkpoint_file import load_checkpoint
from BrainTumorSegLib.models.description import SCHEMA_VERSION

from .making import AFFINE, Cli, make_images, make_model, write_case
from .test_segment import flags


def save(path: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def four_dimensional(path: Path) -> None:
    save(path, np.ones((8, 8, 8, 3), np.int16))


def no_image(path: Path) -> None:
    path.write_text("this is a letter")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def not_finite(path: Path) -> None:
    array = make_images()["t1ce"].astype(np.float32)
    array[5, 5, 5] = np.nan
    save(path, array)


def all_zero(path: Path) -> None:
    save(path, np.zeros_like(make_images()["t1ce"]))


def zero_axis(path: Path) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[46:48] = (0).to_bytes(2, "little")  # dim[3] of the NIfTI header
    path.write_bytes(gzip.compress(bytes(content)))


def singular(path: Path) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[280:328] = bytes(48)  # the three rows of the sform
    content[252:254] = (0).to_bytes(2, "little")  # no qform to fall back on
    path.write_bytes(gzip.compress(bytes(content)))


def far_away(path: Path) -> None:
    moved = AFFINE.copy()
    moved[:3, 3] += 500
    save(path, make_images()["t1ce"], moved)


def missing_file(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (four_dimensional, "dimensions"),
        (no_image, "cannot be read"),
        (truncated, "cannot be read"),
        (not_finite, "NaN"),
        (all_zero, "zero everywhere"),
        (zero_axis, "zero"),
        (singular, "affine"),
        (far_away, "overlap"),
        (missing_file, "does not exist"),
    ],
)
def test_an_unusable_image(cli: Cli, model: Path, tmp_path: Path, spoil: Callable[[Path], None], word: str) -> None:
    folder = write_case(tmp_path / "case")
    spoil(folder / "case_t1ce.nii.gz")
    done = cli("segment", *flags(folder), "-o", tmp_path / "new" / "o.nii.gz", "--model", model, "--progress", "none")
    reported = done.stderr.strip()
    assert done.returncode == 2, reported
    assert word in reported and "t1ce" in reported
    assert "\n" not in reported and "Traceback" not in reported
    assert not (tmp_path / "new").exists()


def test_a_missing_modality_names_it_and_what_the_model_accepts(
    cli: Cli, model: Path, case_folder: Path, tmp_path: Path
) -> None:
    done = cli("segment", *flags(case_folder)[:6], "-o", tmp_path / "o.nii.gz", "--model", model, "--progress", "none")
    assert done.returncode == 2
    assert "FLAIR missing" in done.stderr and "T1, T1ce, T2, FLAIR" in done.stderr and "--flair FILE" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["{t1}"], "Decathlon"),
        (["{t1}", "--t2", "{t2}"], "as a case beside single sequences"),
        (["--t1", "{t1}", "--t1", "{t2}"], "Two files were given for T1"),
        (["--t1", "{t1}", "--t1ce", "{t1}"], "T1 and as T1ce"),
        ([], "No image was given"),
        (["{folder}", "--device", "cuda:99"], "cuda:99"),
        (["{folder}", "--device", "toaster"], "toaster"),
        (["{folder}", "--backend", "abacus"], "auto, torch"),
        (["{folder}", "--nonsense"], "--nonsense"),
        (["scan.png"], "2D"),
    ],
)
def test_an_impossible_request(
    cli: Cli, model: Path, case_folder: Path, tmp_path: Path, arguments: list[str], word: str
) -> None:
    paths = {
        "folder": case_folder,
        "t1": case_folder / "Patient_7_t1.nii.gz",
        "t2": case_folder / "Patient_7_t2.nii.gz",
    }
    given = [argument.format(**paths) for argument in arguments]
    done = cli("segment", *given, "-o", tmp_path / "o.nii.gz", "--model", model, "--progress", "none")
    assert done.returncode == 2 and word in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(["{folder}", "--nonsense"], "request"), (["nowhere"], "input"), (["{folder}", "--model", "x"], "checkpoint")],
)
def test_the_last_line_of_json_has_the_errors_code(
    cli: Cli, case_folder: Path, tmp_path: Path, arguments: list[str], code: str
) -> None:
    given = [argument.format(folder=case_folder) for argument in arguments]
    done = cli("segment", *given, "-o", tmp_path / "o.nii.gz", "--progress", "json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 2 and last["code"] == code and last["error"] and last["remedy"]


def test_a_folder_of_dicom_files_as_one_sequence(cli: Cli, model: Path, case_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "series").mkdir()
    (tmp_path / "series" / "IM0001").write_bytes(bytes(128) + b"DICM" + bytes(100))
    given = ["--t1", tmp_path / "series", *flags(case_folder)[2:]]
    done = cli("segment", *given, "-o", tmp_path / "o.nii.gz", "--model", model, "--progress", "none")
    assert done.returncode == 2 and "holds no DICOM images. IM0001" in done.stderr


def test_an_output_that_cannot_be_placed(cli: Cli, model: Path, case_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for out, word in (("file/o.nii.gz", "cannot be made"), ("o.jpg", "no format"), ("", "no format")):
        done = cli("segment", case_folder, "-o", tmp_path / out, "--model", model, "--progress", "none")
        assert done.returncode == 2 and word in done.stderr, (out, done.stderr)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on file sizes")
def test_a_disk_that_fills_half_way(
    environment: dict[str, str], model: Path, case_folder: Path, tmp_path: Path
) -> None:
    code = (
        "import resource, sys; from BrainTumorSegLib.cli import main;"
        "usual = resource.getrlimit(resource.RLIMIT_FSIZE);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (600, usual[1])); code = main(sys.argv[1:]);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, usual); sys.exit(code)"  # what measures coverage writes at the end
    )
    arguments = ["segment", case_folder, "-o", tmp_path / "out" / "o.nii.gz", "--model", model, "--progress", "none"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert "Make room" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    return content[:-100] + bytes([content[-100] ^ 1]) + content[-99:]


@pytest.mark.parametrize(("damage", "word"), [(half, "truncated"), (flip, "damaged")])
def test_a_damaged_checkpoint(
    cli: Cli, model: Path, case_folder: Path, tmp_path: Path, damage: Callable[[bytes], bytes], word: str
) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(damage(model.read_bytes()))
    done = cli("segment", case_folder, "-o", tmp_path / "o.nii.gz", "--model", bad, "--progress", "none")
    assert done.returncode == 2 and word in done.stderr and str(bad) in done.stderr
    assert not (tmp_path / "o.nii.gz").exists()


def test_a_pickle_is_refused_unopened(cli: Cli, case_folder: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "sprung",))  # type: ignore[return-value]

    torch.save({"weights": Trap()}, tmp_path / "model.pth")
    done = cli(
        "segment", case_folder, "-o", tmp_path / "o.nii.gz", "--model", tmp_path / "model.pth", "--progress", "none"
    )
    assert done.returncode == 2 and "pickled" in done.stderr
    assert not (tmp_path / "sprung").exists()


def test_foreign_and_newer_checkpoints(cli: Cli, model: Path, case_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    newer = tmp_path / "newer.safetensors"
    content = model.read_bytes()
    now = b'schema_version\\": %d' % SCHEMA_VERSION
    assert content.count(now) == 1
    newer.write_bytes(content.replace(now, b'schema_version\\": 7'))
    odd = make_model(tmp_path / "odd.safetensors")
    load_checkpoint(odd)
    odd.write_bytes(odd.read_bytes().replace(b'\\"unet\\"', b'\\"nnet\\"'))
    for file, word in (("foreign", "no description"), ("newer", "schema version 7"), ("odd", "damaged")):
        path = tmp_path / f"{file}.safetensors"
        done = cli("segment", case_folder, "-o", tmp_path / "o.nii.gz", "--model", path, "--progress", "none")
        assert done.returncode == 2 and word in done.stderr, done.stderr


def test_unexpected_errors_show_no_stack_unless_asked(
    environment: dict[str, str], case_folder: Path, tmp_path: Path
) -> None:
    code = (
        "import sys, BrainTumorSegLib.commands.segment as s; from BrainTumorSegLib.cli import main;"
        "s.load_accepted = lambda *names: 1 / 0; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["segment", str(case_folder), "-o", str(tmp_path / "o.nii.gz"), "--progress", "json"]
    for extra, traces in (([], 0), (["--debug"], 1)):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments, *extra],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stderr.count("Traceback") == traces
        assert "ZeroDivisionError" in json.loads(done.stdout.splitlines()[-1])["error"]
