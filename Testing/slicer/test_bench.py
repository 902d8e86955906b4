"""Runs the tests of the folder ``bench``, each file in a process of its own: the harness changes Qt for the whole one.

Directly, for one file: ``python -m pytest Testing/slicer/bench/test_segment.py``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from Testing.offline import python_path
from Testing.slicer.harness.start import VARIABLE

ROOT = Path(__file__).resolve().parents[2]
BENCH = Path(__file__).parent / "bench"
FILES = sorted(path.name for path in BENCH.glob("test_*.py"))
# Two processes import what the tests need; what they lack is reported by the loader, not by Python.
PROBE = "import PySide6.QtWidgets, PySide6.QtUiTools, slicer"


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """Of the processes.

    Skips where the system lacks a library (Debian: libegl1, libgl1, libxkbcommon0, libfontconfig1, libdbus-1-3), but
    fails on GitHub's machines: they install these, and a bench that is skipped there would pass for one that ran.
    """
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": python_path(ROOT)}
    # What this run was asked for is not the bench's business: a --cov in there would erase and combine the coverage
    # files that all others are writing. The processes are covered as any other process is (pyproject.toml, patch).
    environment.pop("PYTEST_ADDOPTS", None)
    probe = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=False)
    if "cannot open shared object file" in probe.stderr:
        end = pytest.fail if os.environ.get("GITHUB_ACTIONS") == "true" else pytest.skip
        end(f"Qt or VTK lacks a library of the system: {probe.stderr.strip().splitlines()[-1]}")
    assert probe.returncode == 0, probe.stderr
    own = os.environ.get(VARIABLE)
    if own and not (Path(own) / "slicer" / "ScriptedLoadableModule.py").is_file():
        pytest.skip(f"{VARIABLE}={own} does not hold Slicer's own Python files")
    return environment


@pytest.fixture(scope="session")
def reports(
    request: pytest.FixtureRequest, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[subprocess.CompletedProcess[str]]]]:
    """Name of a file that is asked for → its report; two run side by side, as each waits for processes of its own."""

    def run(name: str, folder: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", str(BENCH / name), "-q", "--tb=short", "-p", "no:cacheprovider"]
        command += ["--no-header", f"--basetemp={folder / 'bench'}"]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=1150
        )

    asked = [name for name in FILES if any(item.name == f"test_bench[{name}]" for item in request.session.items)]
    pool = ThreadPoolExecutor(2)
    yield {name: pool.submit(run, name, tmp_path_factory.mktemp(name.removesuffix(".py"))) for name in asked}
    pool.shutdown(cancel_futures=True)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", FILES)
def test_bench(name: str, reports: dict[str, Future[subprocess.CompletedProcess[str]]]) -> None:
    """All tests of a file pass; else their own report is shown."""
    done = reports[name].result()
    if done.returncode != 0:
        pytest.fail(f"{' '.join(done.args[1:4])}\n{done.stdout}\n{done.stderr[-4000:]}", pytrace=False)
