"""Runs that do not end well: one message, the scene as it was, nothing left behind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from BrainTumorSegLib import engine_process

from .driving import Panel, Traces, engines, only_message, snapshot


def start_slow(panel: Panel, case: Path) -> dict[str, Any]:
    """A run that takes minutes, in the midst of its work; the nodes."""
    nodes = panel.load(case)
    panel.choose_model("slow")
    panel.click("applyButton")
    panel.wait_for("Running the network")
    return nodes


def test_cancel_within_two_seconds(panel: Panel, case: Path) -> None:
    nodes = panel.load(case)
    before = snapshot()
    panel.choose_model("slow")
    panel.click("applyButton")
    assert not panel.ui.applyButton.enabled
    assert "running" in panel.ui.applyButton.toolTip
    panel.wait_for("Running the network")
    assert panel.ui.progressBar.value > 0
    started = time.monotonic()
    panel.click("cancelButton")
    panel.wait_to_end()
    assert time.monotonic() - started < 10
    assert snapshot() == before
    assert panel.ui.statusLabel.text == "Cancelled."
    assert panel.ui.applyButton.enabled
    assert not engines()
    assert nodes["t1"].GetScene() is not None


def test_a_killed_child_is_reported_once(panel: Panel, case: Path) -> None:
    start_slow(panel, case)
    before = snapshot()
    for process in engines():
        os.kill(process, signal.SIGKILL)
    panel.wait_to_end()
    assert "exit code -9" in only_message(panel.desk).text
    assert snapshot() == before
    assert panel.ui.applyButton.enabled


def test_an_input_deleted_during_the_run(panel: Panel, case: Path, models: dict[str, Path]) -> None:
    import slicer

    nodes = panel.load(case)
    panel.click("applyButton")
    slicer.mrmlScene.RemoveNode(nodes["t2"])
    before = snapshot()
    panel.wait_to_end()
    assert "T2 image was removed" in only_message(panel.desk).text
    assert snapshot() == before


def test_the_scene_is_closed_during_the_run(panel: Panel, case: Path) -> None:
    import slicer

    start_slow(panel, case)
    slicer.mrmlScene.Clear(0)
    panel.wait_to_end()
    panel.wait_until(lambda: not engines(), 5)
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert not panel.ui.applyButton.enabled
    assert panel.ui.t1Selector.currentNode() is None


@pytest.mark.parametrize("how", ["button", "scene"])
def test_a_run_is_cancelled_that_has_just_ended(panel: Panel, case: Path, application: Traces, how: str) -> None:
    """Before the panel has seen that: its result comes no more, and nothing is complained of."""
    import slicer

    panel.load(case)
    before = snapshot()
    panel.click("applyButton")
    panel.widget.segmenting._run._engine.wait()
    if how == "button":
        panel.click("cancelButton")
    else:
        slicer.mrmlScene.Clear(0)
    panel.wait_to_end()
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    assert how == "scene" or (panel.ui.statusLabel.text, snapshot()) == ("Cancelled.", before)
    assert not application.left_files()


def test_another_module_is_opened_during_the_run(panel: Panel, case: Path) -> None:
    """A run goes on; its result is there when the user comes back."""
    import slicer

    panel.load(case)
    panel.click("applyButton")
    slicer.util.selectModule("SegmentEditor")
    panel.wait_to_end()
    slicer.util.selectModule("BrainTumorSeg")
    assert panel.ui.resultSelector.currentNode() is not None
    assert len(panel.table("resultsTable")) == 4
    panel.desk.take()


def test_the_module_is_reloaded_during_the_run(panel: Panel, case: Path, application: Traces) -> None:
    start_slow(panel, case)
    before, old = snapshot(), panel.widget
    panel.widget.onReload()
    assert panel.widget is not old
    panel.wait_until(lambda: not engines(), 5)
    assert snapshot() == before
    assert not application.left_files()
    panel.choose_model("exact")
    assert panel.ui.t1Selector.currentNode() is not None, "the choices are in the scene"
    assert panel.segment() is not None
    panel.desk.take()


def test_the_application_ends_during_the_run(panel: Panel, case: Path, application: Traces) -> None:
    import slicer

    start_slow(panel, case)
    slicer.modules.braintumorseg.close()
    assert not engines()
    assert not application.left_files()


@pytest.mark.skipif(not Path("/dev/full").exists() or os.getuid() != 0, reason="needs a small file system")
def test_a_full_disk(panel: Panel, case: Path, application: Traces, monkeypatch: pytest.MonkeyPatch) -> None:
    """The images cannot be written for the child: the limit on a file's size stands for the disk's end."""
    import resource

    panel.load(case)
    before = snapshot()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        panel.click("applyButton")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    message = only_message(panel.desk)
    assert "cannot be written" in message.text
    assert "room on the disk" in message.text
    assert snapshot() == before
    assert not application.left_files()


def test_no_folder_for_temporary_files(
    panel: Panel, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel.load(case)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    panel.click("applyButton")
    assert "no place for temporary files" in only_message(panel.desk).text
    assert panel.ui.applyButton.enabled


def test_no_process_can_be_started(
    application: Traces, panel: Panel, case: Path, models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence, whatever was to be started; no folder stays."""
    panel.load(case)
    add_model = panel.ui.addModelButton.menu().actions()[0]
    panel.ui.cohortInputPath.currentPath = str(case.parent)
    panel.ui.cohortOutputPath.currentPath = str(case.parent.with_name("results"))
    for start in (lambda: panel.click("applyButton"), add_model.trigger, lambda: panel.click("cohortRunButton")):
        engine_process.processes.end_idle()
        if start == add_model.trigger:
            panel.desk.answer(str(models["exact"]))
        with monkeypatch.context() as patch:
            patch.setattr("sys.executable", str(case / "python"))
            start()
        assert "engine cannot be started" in panel.desk.take()[-1].text
        with monkeypatch.context() as patch:
            patch.setattr("tempfile.tempdir", str(case / "gone"))
            if start == add_model.trigger:
                panel.desk.answer(str(models["exact"]))
            start()
        assert "no place for temporary files" in panel.desk.take()[-1].text
        assert not application.left_files()


@pytest.mark.parametrize("faulty", ["image", "mask"])
def test_a_message_of_the_engine_names_the_node(panel: Panel, case: Path, bench: SimpleNamespace, faulty: str) -> None:
    """Not the temporary file that it was given."""
    import slicer

    from BrainTumorSegLib.io import mrml

    reference = panel.load(case)["t1ce"]
    voxels = slicer.util.arrayFromVolume(reference)
    if faulty == "image":
        voxels[:] = 7
        slicer.util.arrayFromVolumeModified(reference)
    else:
        empty = np.zeros(voxels.shape, np.uint8)
        affine = mrml.own_affine(reference)
        mask = slicer.util.addVolumeFromArray(empty, affine, "drawn", "vtkMRMLLabelMapVolumeNode")
        panel.ui.brainMaskSelector.setCurrentNode(mask)
    panel.segment()
    text = only_message(panel.desk).text
    assert (
        f"T1ce ({reference.GetName()}) has" in text if faulty == "image" else text.startswith("drawn is no brain mask")
    )
    assert bench.app.temporaryPath not in text and ".nii" not in text


@pytest.mark.parametrize("answer", ["Yes", "No"])
def test_gpu_memory_runs_out(
    panel: Panel, case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """The child of the first run says what torch says; the second runs on the CPU, if the user wants it.

    What is chosen meanwhile is for a later run.
    """
    from BrainTumorSegPanel.views import reference_volume

    out_of_memory = tmp_path / "python"
    sentence = (
        '{"error": "The GPU cuda:0 has not enough memory.", "code": "device_memory", "remedy": "Close other programs."}'
    )
    out_of_memory.write_text(f"#!/bin/sh\necho '{sentence}'\nexit 1\n")
    out_of_memory.chmod(0o755)
    first = panel.load(case)
    others = panel.load(case)
    for name, node in first.items():
        getattr(panel.ui, f"{name}Selector").setCurrentNode(node)
    before = snapshot()
    with monkeypatch.context() as patch:
        patch.setattr("sys.executable", str(out_of_memory))
        panel.desk.answer(answer)
        panel.click("applyButton")
        patch.undo()
        for name, node in others.items():
            getattr(panel.ui, f"{name}Selector").setCurrentNode(node)
        panel.choose_model("whole")
        panel.wait_to_end()
    question = panel.desk.take()[0]
    assert "memory" in question.text
    assert "CPU" in question.text
    if answer == "No":
        assert snapshot() == before
    else:
        made = panel.ui.resultSelector.currentNode()
        assert reference_volume(made) is first["t1ce"], "the same images, whatever is chosen by now"
        assert made.GetAttribute("BrainTumorSeg.model") == "exact"
        assert "Segmenting with exact on cpu" in panel.ui.logText.plainText
