"""Outputs that are in place are a success, whatever happens to standard output and error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .making import make_model, write_case

if sys.platform != "linux":
    pytest.skip("/dev/full, and names of any bytes", allow_module_level=True)

# What a shell says of the streams, without standard input.
LOST = {
    "full": ">/dev/full 2>/dev/full",
    "out full": ">/dev/full",
    "out closed": ">&-",
    "err closed": "2>&-",
    "both closed": ">&- 2>&-",
    "out unread": "| true",
    "both unread": "2>&1 | true",
}
# No character beyond ASCII can be written, and one that cannot is an error; nor is a name of a file more than bytes.
PLAIN = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii:strict"}


def run(environment: dict[str, str], streams: str, *arguments: object) -> subprocess.CompletedProcess[bytes]:
    """The exit code is the command's own, not that of who reads its output."""
    line = f'"$@" {streams}; exit ${{PIPESTATUS[0]}}'
    command = ["bash", "-c", line, "bash", sys.executable, "-m", "BrainTumorSegLib.cli", *map(str, arguments)]
    return subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=240, check=False
    )


@pytest.mark.parametrize(
    ("style", "streams"), [*(("auto", lost) for lost in LOST), ("json", "full"), ("json", "out unread")]
)
def test_a_segmentation(
    environment: dict[str, str], model: Path, case_folder: Path, tmp_path: Path, streams: str, style: str
) -> None:
    output = tmp_path / "o.nii.gz"
    arguments = ("segment", case_folder, "-o", output, "--model", model, "--progress", style)
    done = run(environment, LOST[streams], *arguments)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"o.nii.gz", "o.json"} and b"Traceback" not in done.stderr


@pytest.fixture(scope="module")
def labels(environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    from Testing.samples import make_patient, write_patient

    return next(write_patient(tmp_path_factory.mktemp("labels"), make_patient()).glob("*_seg.nii.gz"))


@pytest.mark.parametrize("streams", ["full", "both closed", "both unread"])
def test_other_commands_that_write(environment: dict[str, str], labels: Path, tmp_path: Path, streams: str) -> None:
    here = {**environment, "BRAINTUMORSEG_HOME": str(tmp_path / "home")}
    added = make_model(tmp_path / "mine.safetensors")
    table, page = tmp_path / "t.csv", tmp_path / "r.html"
    for arguments, written in (
        (("evaluate", labels, labels, "-o", table, "--report", page), [table, page]),
        (("models", "add", added), [tmp_path / "home" / "models" / "mine.safetensors"]),
    ):
        done = run(here, LOST[streams], *arguments)
        assert done.returncode == 0 and all(path.is_file() for path in written), done.stderr
    assert run(here, LOST[streams], "models", "remove", "mine").returncode == 0
    assert not (tmp_path / "home" / "models" / "mine.safetensors").exists()


@pytest.mark.parametrize("streams", ["full", "both closed", "both unread"])
@pytest.mark.parametrize("debug", [[], ["--debug"]])
def test_a_refusal_stays_one(environment: dict[str, str], streams: str, debug: list[str]) -> None:
    done = run(environment, LOST[streams], "models", *debug, "info", "no-such-model")
    assert done.returncode == 2


def test_what_was_to_be_printed_and_was_not_is_a_failure_where_it_was_all(environment: dict[str, str]) -> None:
    done = run(environment, LOST["out full"], "models")
    assert done.returncode == 1 and b"Standard output cannot be written" in done.stderr


@pytest.mark.parametrize("style", ["auto", "json"])
def test_names_that_stdout_cannot_hold(environment: dict[str, str], model: Path, tmp_path: Path, style: str) -> None:
    case = write_case(tmp_path / "Ç患者").rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xe6"))
    output = tmp_path / "øut" / "☂.nii.gz"
    done = run({**environment, **PLAIN}, "", "segment", case, "-o", output, "--model", model, "--progress", style)
    assert done.returncode == 0 and output.is_file() and done.stdout.isascii(), done.stderr


def test_transforms_of_names_that_are_no_text(environment: dict[str, str], tmp_path: Path) -> None:
    """ITK ends the process over such a name."""
    case = write_case(tmp_path / "P").rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xe6"))
    for more in ({}, PLAIN):
        done = run({**environment, **more}, "", "preprocess", case, "-o", tmp_path / f"ø{len(more)}")
        assert done.returncode == 0, done.stderr
        assert len(list((tmp_path / f"ø{len(more)}").glob("*.tfm"))) == 3
