"""The command line as users start it: a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from BrainTumorSegLib.models.description import TilingSpec
from Testing.offline import python_path

from .making import CASES, Cli, make_model, write_case


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's folder of this test run."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def environment(home: Path) -> dict[str, str]:
    """Environment of the processes."""
    return {
        **os.environ,
        "BRAINTUMORSEG_HOME": str(home),
        "PYTHONPATH": python_path(Path(__file__).parents[2]),
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "Agg",
    }


@pytest.fixture(scope="session")
def cli(environment: dict[str, str]) -> Cli:
    """Run ``braintumorseg`` to its end."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "BrainTumorSegLib.cli", *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)

    return run


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volumetric model."""
    return make_model(tmp_path_factory.mktemp("models") / "tiny3d.safetensors")


@pytest.fixture(scope="session")
def slow_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes minutes: windows that overlap nearly wholly."""
    return make_model(tmp_path_factory.mktemp("models") / "slow.safetensors", tiling=TilingSpec((8, 8, 8), 0.9))


@pytest.fixture(scope="session")
def case_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case with BraTS 2021 names."""
    return write_case(tmp_path_factory.mktemp("cases") / "Patient_7")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort of four."""
    folder = tmp_path_factory.mktemp("cohort") / "patients"
    for name in CASES:
        write_case(folder / name)
    return folder
