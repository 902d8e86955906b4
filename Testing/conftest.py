"""Fixtures that all tests share; the patients and checkpoints behind them are in :mod:`Testing.samples`."""

from __future__ import annotations

import os
import signal
import sys

# Before numpy and torch start their threads; child processes inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"
# Converting each tiny network for OpenVINO would take longer than running it; tests of that backend name it.
os.environ["BRAINTUMORSEG_BACKEND"] = "torch"

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from Testing import samples
from Testing.offline import FOLDER, python_path
from Testing.offline.sitecustomize import RECORD  # from here on nothing reaches the internet

sys.path.append(str(FOLDER))  # what runs HD-BET hands this on
os.environ["PYTHONPATH"] = python_path(*filter(None, [os.environ.get("PYTHONPATH")]))


@pytest.fixture(autouse=True, scope="session")
def network_record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file that tells what tests and their processes wanted of other machines."""
    file = tmp_path_factory.mktemp("network") / "tried.txt"
    before, os.environ[RECORD] = os.environ.get(RECORD), str(file)
    yield file
    os.environ.pop(RECORD)
    if before is not None:
        os.environ[RECORD] = before


@pytest.fixture(autouse=True)
def no_network(network_record: Path) -> Iterator[None]:
    """A test fails that wanted to reach another machine, also where a library swallowed the error."""
    network_record.unlink(missing_ok=True)
    yield
    if network_record.exists():
        pytest.fail(f"No test reaches the internet: {network_record.read_text('utf-8')}", pytrace=False)


@pytest.fixture(autouse=True, scope="session")
def signals_as_on_a_terminal() -> Iterator[None]:
    """Started by ``nohup`` or in the background, tests and their processes would inherit ignored signals."""
    before: dict[str, Any] = {}
    for name, action in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
        if hasattr(signal, name):  # Windows has no SIGHUP
            before[name] = signal.signal(getattr(signal, name), action)
    yield
    for name, handler in before.items():
        signal.signal(getattr(signal, name), handler)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user folder: no test sees or changes the models of whoever runs it."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("BRAINTUMORSEG_HOME", str(folder))
    return folder


@pytest.fixture
def patient() -> samples.Patient:
    """Four sequences of 20 × 28 × 24 voxels (z, y, x) and their labels, the same at every call."""
    return samples.make_patient()


@pytest.fixture
def write_case(tmp_path: Path) -> Callable[..., Path]:
    """``write_case(patient=None, style="brats2021"|"brats2023", case_id=…, modalities=…, labels=…)`` → case folder."""
    return lambda patient=None, **options: samples.write_patient(tmp_path / "cases", patient, **options)


@pytest.fixture
def tiny_checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """``tiny_checkpoint(dimensions=3|2, outputs="regions"|"classes"|"whole", **fields of the description)`` → file.

    A one-level U-Net of some 10,000 weights that finds the tumour of :func:`samples.make_patient` exactly.
    """

    def write(dimensions: int = 3, name: str | None = None, **changes: object) -> Path:
        return samples.write_oracle(tmp_path / (name or f"tiny-{dimensions}d.safetensors"), dimensions, **changes)

    return write
