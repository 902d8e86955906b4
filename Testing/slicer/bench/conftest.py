"""The module on its bench: real scene, real widgets, real child process. See :mod:`Testing.slicer.harness`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from Testing import samples
from Testing.offline import python_path
from Testing.slicer.harness.start import start

from .driving import Panel, Traces


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """The application's surroundings, with the module discovered; once per process."""
    held = start(tmp_path_factory.mktemp("application"))
    yield held
    held.module.close()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """``exact`` finds the tumour of the sample patient; ``slow`` takes minutes; others miss what their names say."""
    from BrainTumorSegLib.models.description import PostprocessingSpec, TilingSpec

    folder = tmp_path_factory.mktemp("checkpoints")
    made: dict[str, dict[str, Any]] = {
        "exact": {"postprocessing": PostprocessingSpec(temperatures={"WT": 1.0})},
        "slow": {"tiling": TilingSpec((8, 8, 8), 0.9)},
        "whole": {"outputs": "whole"},
        "flair-only": {"outputs": "whole", "modalities": ("flair",)},
        "terms": {"weights_licence": "CC-BY-NC-4.0", "data_licence": "only for research"},
    }
    return {
        name: samples.write_oracle(folder / f"{name}.safetensors", id=name, title=f"Model {name}", **fields)
        for name, fields in made.items()
    }


@pytest.fixture
def patient() -> samples.Patient:
    """As the one of all tests, a little larger."""
    return samples.make_patient((36, 48, 44), radii=(4.5, 7.0, 10.0))


@pytest.fixture
def case(tmp_path: Path, patient: samples.Patient) -> Path:
    """A case folder with BraTS 2023 names, and the segmentation."""
    return samples.write_patient(tmp_path, patient, style="brats2023")


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slicer's working folder is not the clone."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("PYTHONPATH", python_path())


@pytest.fixture
def application(bench: SimpleNamespace, home: Path, elsewhere: None) -> Iterator[Traces]:
    """An empty scene and empty settings; afterwards nothing may be left over."""
    import qt
    import slicer

    qt.QSettings().clear()
    slicer.mrmlScene.Clear(0)
    traces = Traces(Path(bench.app.temporaryPath))
    yield traces
    slicer.util.mainWindow().moduleSelector().selectModule("")
    bench.module.close()
    slicer.mrmlScene.Clear(0)
    traces.check()


@pytest.fixture
def panel(application: Traces, models: dict[str, Path], home: Path) -> Panel:
    """The module's panel, open, with the test's models installed and ``exact`` chosen."""
    import slicer

    folder = home / "models"
    folder.mkdir()
    for path in models.values():
        os.link(path, folder / path.name)
    slicer.util.selectModule("BrainTumorSeg")
    made = Panel(application.desk)
    made.wait_until(lambda: made.widget.models._probe is None)  # the devices are asked for once per process
    made.choose_model("exact")
    return made


@pytest.fixture
def logic(application: Traces) -> Any:
    """The module's logic, without a panel."""
    import BrainTumorSeg

    return BrainTumorSeg.BrainTumorSegLogic()
