"""What has to be there before the first run: packages, a fitting Slicer; what an earlier crash left."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from Testing.slicer.harness.module import FILE, ROOT

from .driving import Panel, Traces, only_message


@pytest.fixture
def first_run(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """As on a computer where monai is missing; what pip would be asked for."""
    import importlib.metadata

    from Testing.slicer.harness import packages

    if sys.modules["slicer.packaging"].pip_ensure is not packages.pip_ensure:
        pytest.skip("Slicer's own packaging would install")
    packages.installed.clear()
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "monai" and not packages.installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr("importlib.metadata.version", version)
    return packages.installed


def test_the_first_run_asks_and_installs(panel: Panel, case: Path, first_run: list[dict[str, Any]]) -> None:
    panel.load(case)
    panel.desk.answer("Ok")
    panel.click("applyButton")
    question = only_message(panel.desk).text
    assert "monai" in question
    assert "MB" in question
    panel.click("cancelButton")
    panel.wait_to_end()
    assert [one["missing"] for one in first_run] == [["monai>=1.5"]]
    held = first_run[0]["constraints"].splitlines()
    for name in ("numpy", "scipy", "torch", "SimpleITK"):
        assert any(line.lower().startswith(f"{name.lower()}==") for line in held), name
    assert not any(line.startswith("monai") for line in held)


def test_who_declines_gets_no_run(panel: Panel, case: Path, first_run: list[dict[str, Any]]) -> None:
    panel.load(case)
    panel.desk.answer("Cancel")
    panel.click("applyButton")
    assert "will be downloaded" in only_message(panel.desk).text, "and no message that it was declined"
    assert "not installed" in panel.ui.statusLabel.text
    assert panel.ui.applyButton.enabled
    assert not first_run


def test_torch_comes_through_its_extension(
    panel: Panel, case: Path, monkeypatch: pytest.MonkeyPatch, application: Traces
) -> None:
    """Without torch and without the extension PyTorch: one message that says what to install."""
    import importlib.util

    real = importlib.util.find_spec
    panel.load(case)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == "torch" else real(name, *rest))
    panel.click("applyButton")
    assert "extension PyTorch" in only_message(panel.desk).text
    asked: list[dict[str, Any]] = []
    extension = ModuleType("PyTorchUtils")
    logic = SimpleNamespace(installTorch=lambda **options: asked.append(options))
    extension.__dict__["PyTorchUtilsLogic"] = lambda: logic
    monkeypatch.setitem(sys.modules, "PyTorchUtils", extension)
    panel.click("applyButton")
    assert not panel.desk.take(), "declined: no error"
    assert "not installed" in panel.ui.statusLabel.text
    assert asked == [{"askConfirmation": True, "torchVersionRequirement": ">=2.8"}]


@pytest.fixture
def without_openvino(monkeypatch: pytest.MonkeyPatch, application: Traces) -> None:
    """As on a computer where OpenVINO is missing, and has not been declined."""
    import importlib.metadata

    from BrainTumorSegPanel import setup

    from Testing.slicer.harness import packages

    if sys.modules["slicer.packaging"].pip_ensure is not packages.pip_ensure:
        pytest.skip("Slicer's own packaging would install")
    real = importlib.metadata.version

    def version(name: str) -> str:
        if name == "openvino":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr("importlib.metadata.version", version)
    monkeypatch.setattr(setup, "_declined", set())


@pytest.mark.skipif(sys.platform == "darwin", reason="a Mac is not asked for OpenVINO")
def test_who_declines_what_is_optional_gets_a_run(panel: Panel, case: Path, without_openvino: None) -> None:
    """OpenVINO is offered with the rest; without it runs are slower, and it is not asked for again."""
    from BrainTumorSegPanel import setup

    assert "openvino" in setup.to_install()
    panel.load(case)
    panel.desk.answer("Cancel")
    assert panel.segment() is not None
    assert "openvino" in panel.desk.take()[0].text
    assert panel.segment() is not None
    assert not panel.desk.take()


def test_a_mac_is_not_asked_for_what_it_does_not_use(without_openvino: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO is for CPUs; a Mac computes on its GPU."""
    from BrainTumorSegPanel import setup

    monkeypatch.setattr("platform.machine", lambda: "arm64")
    for system, asked in (("linux", True), ("darwin", False)):
        monkeypatch.setattr("sys.platform", system)
        assert ("openvino" in setup.to_install()) is asked


def test_an_intel_mac_is_told_when_the_panel_opens(panel: Panel, case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import slicer

    panel.load(case)
    assert not panel.ui.setupLabel.visible
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    slicer.util.selectModule("SegmentEditor")
    slicer.util.selectModule("BrainTumorSeg")
    assert panel.ui.setupLabel.visible
    for word in ("PyTorch", "Intel", "arm64", "another computer"):
        assert word in panel.ui.setupLabel.text
    assert not panel.ui.applyButton.enabled
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    slicer.util.selectModule("SegmentEditor")
    slicer.util.selectModule("BrainTumorSeg")
    assert not panel.ui.setupLabel.visible and panel.ui.applyButton.enabled


def test_what_is_missing_is_said_before_apply(panel: Panel, case: Path, first_run: list[dict[str, Any]]) -> None:
    import slicer

    panel.load(case)
    slicer.util.selectModule("SegmentEditor")
    slicer.util.selectModule("BrainTumorSeg")
    assert "Packages are missing (monai): Apply asks" in panel.ui.forecastLabel.text


def test_what_a_crash_left_goes_at_the_next_start(application: Traces) -> None:
    """Folders of runs whose process is gone; those of living ones stay."""
    import tempfile

    import slicer

    from BrainTumorSegLib.io.run_folder import PREFIX, RunFolder

    program = (
        "import os, tempfile; from BrainTumorSegLib.io.run_folder import RunFolder\n"
        f"tempfile.tempdir = {tempfile.gettempdir()!r}; folder = RunFolder.make()\n"
        "(folder.path / 'scan.nii').write_bytes(bytes(1000)); os._exit(9)\n"
    )
    living = RunFolder.make()  # first: the first one of a process clears up after others by itself
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False, timeout=120)
    left = [path for path in Path(tempfile.gettempdir()).iterdir() if path.name.startswith(PREFIX)]
    assert len(left) == 2
    slicer.app.startupCompleted.emit()
    assert [path.is_dir() for path in sorted(left)].count(True) == 1 and living.path.is_dir()
    living.remove()


def test_a_slicer_of_an_older_python_is_told_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its Python reads the whole file, and comes to that before it imports anything that it may lack."""
    source = FILE.read_text("utf-8")
    ast.parse(source, feature_version=(3, 9))
    monkeypatch.setattr("sys.version_info", (3, 9, 10, "final", 0))
    monkeypatch.setitem(sys.modules, "slicer", None)
    with pytest.raises(RuntimeError, match=r"needs 3D Slicer 5\.12 or newer"):
        exec(compile(source, FILE, "exec"), {"__name__": "BrainTumorSeg", "__file__": str(FILE)})


def test_nothing_is_imported_that_slicer_lacks() -> None:
    """The module is imported while the application starts, when torch and nibabel may not be there yet."""
    program = (
        "import sys, tempfile; from pathlib import Path\n"
        "for name in ('torch', 'monai', 'nibabel', 'safetensors'): sys.modules[name] = None\n"
        "from Testing.slicer.harness.start import start\n"
        "held = start(Path(tempfile.mkdtemp()))\n"
        "import slicer; slicer.util.selectModule('BrainTumorSeg')\n"
        "from Testing.slicer.harness.dialogs import DESK; assert not DESK.uncaught, DESK.uncaught\n"
        "held.module.close(); print('opened')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert "opened" in done.stdout, done.stderr
