"""The logic without a panel, and the examples of the documentation."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from BrainTumorSegLib.domain.errors import BrainTumorSegError, RequestError
from BrainTumorSegLib.domain.labels import to_regions
from Testing import samples
from Testing.slicer.harness.module import ROOT

from .driving import Traces, engines, mask, segment_names, snapshot

EXAMPLES = re.findall(
    r"^```python run\n(.*?)^```", (ROOT / "docs" / "how-to" / "script-slicer.md").read_text("utf-8"), re.M | re.S
)


@pytest.fixture
def volumes(application: Traces, case: Path) -> dict[str, Any]:
    import slicer

    return {
        name: slicer.util.loadVolume(str(next(case.glob(f"*{suffix}.nii.gz"))))
        for name, suffix in samples.STYLES["brats2023"].items()
        if name != "seg"
    }


def test_examples_of_the_documentation(
    application: Traces, case: Path, tmp_path: Path, models: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """All of docs/how-to/script-slicer.md in its order, in one console."""
    import slicer

    assert len(EXAMPLES) > 8
    patients = tmp_path / "patients"
    for name in ("A", "B"):
        shutil.copytree(case, patients / name)
    (native,) = (patients / "B").glob("*-t1n.nii.gz")
    native.with_name(native.name.replace("t1n", "t1")).write_bytes(b"")  # two for T1: reported, and the rest goes on
    output = tmp_path / "results"
    console = {"case": case, "patients": patients, "output": output, "model": models["exact"]}
    for number, example in enumerate(EXAMPLES):
        exec(compile(example, f"docs/how-to/script-slicer.md, example {number}", "exec"), console)
    assert (output / "A.nii.gz").is_file()
    assert not (output / "B.nii.gz").exists()
    assert (output / "A.seg.nrrd").is_file()
    said = capsys.readouterr().out
    assert "A done" in said
    assert "B failed" in said
    assert said.count("Give each image once") == 1
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 4


@pytest.mark.parametrize("in_process", [True, False])
def test_nodes_names_and_files_give_the_same(
    logic: Any, volumes: dict[str, Any], case: Path, models: dict[str, Path], patient: samples.Patient, in_process: bool
) -> None:
    given = {
        "t1": volumes["t1"],
        "t1ce": volumes["t1ce"].GetName(),
        "t2": str(next(case.glob("*t2w*"))),
        "flair": next(case.glob("*t2f*")),
    }
    node = logic.segment(**given, model=str(models["exact"]), device="cpu", inProcess=in_process)
    for name, expected in to_regions(patient.labels.array).items():
        np.testing.assert_array_equal(mask(node, name, volumes["t1ce"]), expected)


def test_files_may_be_named_from_the_current_folder(
    logic: Any,
    case: Path,
    volumes: dict[str, Any],
    models: dict[str, Path],
    patient: samples.Patient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(case)
    given = {name: next(Path().glob(f"*{samples.STYLES['brats2023'][name]}*")) for name in volumes}
    node = logic.segment(**given, model=os.path.relpath(models["exact"]), device="cpu")
    np.testing.assert_array_equal(mask(node, "WT", volumes["t1ce"]), patient.labels.array > 0)


def test_files_alone_need_no_volume_in_the_scene(logic: Any, case: Path, models: dict[str, Path]) -> None:
    given = {
        name: next(case.glob(f"*{suffix}.nii.gz"))
        for name, suffix in samples.STYLES["brats2023"].items()
        if name != "seg"
    }
    before = snapshot()
    node = logic.segment(**given, model=models["exact"], device="cpu", inProcess=True)
    added = {value[0] for key, value in snapshot().items() if key not in before}
    assert added <= {"vtkMRMLSegmentationNode", "vtkMRMLSegmentationDisplayNode"}
    assert logic.measurements(node)["WT"].volume_ml > 0


def test_a_run_that_nobody_asks_for_its_result(
    logic: Any, volumes: dict[str, Any], models: dict[str, Path], application: Traces
) -> None:
    """Nothing stays behind when the caller forgets it."""
    run = logic.segment(**volumes, model=models["slow"], device="cpu", wait=False)
    assert run.state == "running"
    assert engines()
    del run
    assert not engines()
    assert not application.left_files()


def test_a_cancelled_run_says_so(logic: Any, volumes: dict[str, Any], models: dict[str, Path]) -> None:
    before = snapshot()
    run = logic.segment(**volumes, model=models["slow"], device="cpu", wait=False)
    run.cancel()
    run.wait()
    assert run.state == "cancelled"
    with pytest.raises(BrainTumorSegError, match="Cancelled"):
        run.result()
    assert snapshot() == before


def test_other_segments_of_the_output_stay(
    logic: Any, volumes: dict[str, Any], models: dict[str, Path], patient: samples.Patient
) -> None:
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumes["t1ce"])
    identifier = node.GetSegmentation().AddEmptySegment("", "ventricle")
    own = np.zeros(patient.labels.array.shape, np.uint8)
    own[2:6, 3:9, 4:8] = 1
    volumes["t2"].SetName("mine")  # came first, and is no segmentation
    slicer.util.updateSegmentBinaryLabelmapFromArray(own, node, identifier, volumes["t1ce"])
    given = logic.segment(**volumes, model=models["exact"], device="cpu", outputSegmentation="mine", inProcess=True)
    assert given is node
    assert set(segment_names(node)) == {"ventricle", "ET", "TC", "WT"}
    np.testing.assert_array_equal(mask(node, "ventricle", volumes["t1ce"]), own > 0)


def test_a_model_of_one_region(logic: Any, volumes: dict[str, Any], models: dict[str, Path]) -> None:
    """A model that knows only WT makes no empty ET and TC."""
    node = logic.segment(flair=volumes["flair"], model=models["flair-only"], device="cpu", inProcess=True)
    assert segment_names(node) == ["WT"]
    assert set(logic.measurements(node)) == {"WT"}


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({}, "No image was given"),
        ({"t1": "nowhere"}, "neither a node nor a file"),
        ({"flair": "x", "model": "no-such-model"}, "no model 'no-such-model'"),
        ({"flair": "x", "content": "everything"}, "Unknown content"),
        ({"flair": "x", "outputSegmentation": "none of them"}, "no segmentation called"),
        ({"flair": "x", "outputSegmentation": "x"}, "no segmentation called x"),
        ({"flair": "x", "device": "tpu"}, "tpu"),
    ],
)
def test_wrong_requests(
    logic: Any, models: dict[str, Path], request_: dict[str, str], words: str, application: Traces
) -> None:
    import slicer

    volume = slicer.util.addVolumeFromArray(np.arange(5832, dtype=np.float32).reshape(18, 18, 18), name="x")
    assert volume is not None
    before = snapshot()
    with pytest.raises(BrainTumorSegError, match=words) as caught:
        logic.segment(**{"model": str(models["flair-only"]), "inProcess": True, **request_})
    assert caught.value.remedy
    assert snapshot() == before
    assert not application.left_files()


def test_a_name_that_several_nodes_have(logic: Any, volumes: dict[str, Any], models: dict[str, Path]) -> None:
    """They may be two patients' images: none is taken by chance. A sequence node has the name of its volume."""
    import slicer

    name = volumes["flair"].GetName()
    asked = {"model": models["flair-only"], "device": "cpu", "inProcess": True}
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
    sequence.SetName(name)
    node = logic.segment(flair=name, **asked)
    volumes["t1"].SetName(name)
    with pytest.raises(RequestError, match="2 nodes are called") as caught:
        logic.segment(flair=name, **asked)
    assert volumes["flair"].GetID() in caught.value.remedy
    again = logic.segment(flair=volumes["flair"].GetID(), **asked)
    again.SetName(node.GetName())
    for use in (logic.measurements, lambda one: logic.compare(one, again)):
        with pytest.raises(RequestError, match="2 nodes are called"):
            use(node.GetName())
    with pytest.raises(RequestError, match="2 nodes are called"):
        logic.segment(flair=volumes["flair"], outputSegmentation=node.GetName(), **asked)
    assert logic.segment(flair=volumes["flair"], outputSegmentation=node.GetID(), **asked) is node


def test_nothing_is_no_segmentation(logic: Any) -> None:
    for use in (logic.measurements, lambda one: logic.compare(one, one)):
        with pytest.raises(RequestError, match="None is no segmentation"):
            use(None)
