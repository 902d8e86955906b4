"""Whatever a terminal can show, and whoever stops reading: the run ends as well as it did."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .making import write_case

ENCODINGS = ("cp437", "cp932", "ascii", "utf-8", "latin-1")


def run(environment: dict[str, str], encoding: str, *arguments: object) -> subprocess.CompletedProcess[bytes]:
    command: list[bytes | str] = [sys.executable, "-m", "BrainTumorSegLib.cli"]
    command += [argument if isinstance(argument, bytes) else str(argument) for argument in arguments]
    changed = {**environment, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    return subprocess.run(command, env=changed, capture_output=True, timeout=240, check=False)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_names_that_a_terminal_cannot_show(
    environment: dict[str, str], model: Path, tmp_path: Path, encoding: str
) -> None:
    folder = write_case(tmp_path / "Çase × – … 患者 ☂")
    output = tmp_path / "øut × ☂.nii.gz"
    done = run(environment, encoding, "segment", folder, "-o", output, "--model", model)
    assert done.returncode == 0, done.stderr
    assert output.is_file() and b"Wrote" in done.stdout
    refused = run(environment, encoding, "segment", tmp_path / "☂ ×.nii.gz", "-o", output, "--model", model)
    assert refused.returncode == 2 and b"does not exist" in refused.stderr


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("arguments", [["models"], ["models", "info", "brats-segresnet"], ["evaluate", "--help"]])
def test_texts_with_signs_of_their_own(environment: dict[str, str], encoding: str, arguments: list[str]) -> None:
    done = run(environment, encoding, *arguments)
    assert done.returncode == 0 and done.stdout, done.stderr
    if encoding == "ascii":
        assert done.stdout.isascii() and b"\\u2026" not in done.stdout  # as plain signs where there are some


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are any bytes on Linux alone")
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_that_are_no_text_at_all(environment: dict[str, str], model: Path, tmp_path: Path, encoding: str) -> None:
    folder = os.fsencode(tmp_path) + b"/P\xe9"
    write_case(tmp_path / "P").rename(os.fsdecode(folder))
    output = os.fsencode(tmp_path) + b"/o\xe9.nii.gz"
    done = run(
        {**environment, "LC_ALL": "C.UTF-8"}, encoding, "segment", folder, "-o", output, "--model", model,
        "--report", tmp_path / "r.html",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert Path(os.fsdecode(output)).is_file() and (tmp_path / "r.html").is_file()
    record = json.loads(Path(os.fsdecode(os.fsencode(tmp_path) + b"/o\xe9.json")).read_text("utf-8"))
    assert os.fsencode(record["provenance"]["inputs"]["t1"]) == folder + b"/P_t1.nii.gz"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX shells")
def test_a_reader_that_leaves_early_fails_no_run(
    environment: dict[str, str], model: Path, case_folder: Path, tmp_path: Path
) -> None:
    def piped(arguments: str, reader: str) -> subprocess.CompletedProcess[str]:
        line = f"set -o pipefail; '{sys.executable}' -m BrainTumorSegLib.cli {arguments} | {reader}"
        return subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, check=False)

    for reader in ("head -1", "true"):
        listed = piped("models", reader)
        assert listed.returncode == 0 and "rror" not in listed.stderr, listed.stderr
    done = piped(f"segment '{case_folder}' -o '{tmp_path}/o.nii.gz' --model '{model}'", "true")
    assert done.returncode == 0 and (tmp_path / "o.nii.gz").is_file(), done.stderr
    as_json = piped(f"segment '{case_folder}' -o '{tmp_path}/j.nii.gz' --model '{model}' --progress json", "head -1")
    assert as_json.returncode == 0 and (tmp_path / "j.nii.gz").is_file(), as_json.stderr
    closed = subprocess.run(
        ["bash", "-c", f"'{sys.executable}' -m BrainTumorSegLib.cli models >&- 2>&-"], env=environment, check=False
    )
    assert closed.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX terminals")
def test_the_bar_of_a_terminal_without_its_signs(environment: dict[str, str], model: Path, tmp_path: Path) -> None:
    import pty
    import termios

    folder = write_case(tmp_path / "P × ☂")
    main, child = pty.openpty()
    termios.tcsetwinsize(child, (24, 80))
    command = [sys.executable, "-m", "BrainTumorSegLib.cli", "segment", folder, "-o", tmp_path / "o.nii.gz"]
    changed = {**environment, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    with subprocess.Popen(
        [*map(str, command), "--model", str(model)], env=changed, stdout=subprocess.PIPE, stderr=child
    ) as process:
        os.close(child)
        seen = b""
        while True:
            try:
                part = os.read(main, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            seen += part
        assert process.stdout is not None and b"Wrote" in process.stdout.read()
    os.close(main)
    assert process.returncode == 0, seen
    assert b"%" in seen and b"Traceback" not in seen
