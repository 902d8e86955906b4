"""A run that is reported to stop stops, with exit code 130 and nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def start(environment: dict[str, str], model: Path, case: Path, out: Path, *extra: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "BrainTumorSegLib.cli", "segment", case, "-o", out, "--model", model]
    command += ["--progress", "json", *extra]
    return subprocess.Popen(
        list(map(str, command)), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for_windows(process: subprocess.Popen[str]) -> None:
    """Until the network runs."""
    assert process.stdout is not None
    for line in process.stdout:
        if '"predict"' in line:
            return
    raise AssertionError("the run ended before its first window")


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.05)


def test_the_cancel_file(environment: dict[str, str], slow_model: Path, case_folder: Path, tmp_path: Path) -> None:
    cancel = tmp_path / "cancel"
    process = start(environment, slow_model, case_folder, tmp_path / "out" / "o.nii.gz", "--cancel-file", cancel)
    wait_for_windows(process)
    cancel.touch()
    _, reported = process.communicate(timeout=20)
    assert process.returncode == 130 and "Cancelled" in reported
    assert not (tmp_path / "out").exists()


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals(
    environment: dict[str, str], slow_model: Path, case_folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process = start(environment, slow_model, case_folder, tmp_path / "out" / "o.nii.gz")
    wait_for_windows(process)
    process.send_signal(number)
    _, reported = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in reported
    assert not (tmp_path / "out").exists()


@posix
def test_the_death_of_the_parent(
    environment: dict[str, str], slow_model: Path, case_folder: Path, tmp_path: Path
) -> None:
    out, sign = tmp_path / "out" / "o.nii.gz", tmp_path / "pid"
    code = (
        "import subprocess, sys, pathlib, time; child = subprocess.Popen(sys.argv[2:]);"
        "pathlib.Path(sys.argv[1]).write_text(str(child.pid)); time.sleep(600)"
    )
    command = [sys.executable, "-m", "BrainTumorSegLib.cli", "segment", case_folder, "-o", out, "--model", slow_model]
    parent = subprocess.Popen([sys.executable, "-c", code, sign, *map(str, command)], env=environment)
    wait_until(lambda: sign.exists() and sign.read_text() != "", 60)
    child = int(sign.read_text())
    wait_until(lambda: out.parent.exists(), 60)
    parent.kill()
    parent.wait()

    def gone() -> bool:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return True
        status = Path(f"/proc/{child}/stat")
        return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z"  # nobody reaps it here

    wait_until(gone, 20)
    assert not out.parent.exists()
