"""Runs the tests of the folder ``bench``, each file in a process of its own: the harness changes Qt for the whole one.

Directly, for one file: ``python -m pytest Testing/slicer/bench/test_segment.py``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from Testing.slicer.harness.start import VARIABLE

ROOT = Path(__file__).resolve().parents[2]
BENCH = Path(__file__).parent / "bench"
FILES = sorted(path.name for path in BENCH.glob("test_*.py"))
# Two processes import what the tests need; what they lack is reported by the loader, not by Python.
PROBE = "import PySide6.QtWidgets, PySide6.QtUiTools, slicer"


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Of the processes.

    Skips where the system lacks a library (Debian: libegl1, libgl1, libxkbcommon0, libfontconfig1, libdbus-1-3).
    """
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT)}
    probe = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=False)
    if "cannot open shared object file" in probe.stderr:
        pytest.skip(f"Qt or VTK lacks a library of the system: {probe.stderr.strip().splitlines()[-1]}")
    assert probe.returncode == 0, probe.stderr
    own = os.environ.get(VARIABLE)
    if own and not (Path(own) / "slicer" / "ScriptedLoadableModule.py").is_file():
        pytest.skip(f"{VARIABLE}={own} does not hold Slicer's own Python files")
    return environment


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", FILES)
def test_bench(name: str, environment: dict[str, str], tmp_path: Path) -> None:
    """All tests of a file pass; else their own report is shown."""
    command = [sys.executable, "-m", "pytest", str(BENCH / name), "-q", "--tb=short", "-p", "no:cacheprovider"]
    command += ["--no-header", f"--basetemp={tmp_path / 'bench'}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=1150)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command[1:4])}\n{done.stdout}\n{done.stderr[-4000:]}", pytrace=False)
