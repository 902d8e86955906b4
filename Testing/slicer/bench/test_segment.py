"""From images to segments by clicking, in the real child process."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from BrainTumorSegLib.domain.labels import REGIONS, to_regions
from BrainTumorSegLib.io.registry import read_volume
from Testing import samples
from Testing.offline import python_path
from Testing.slicer.harness.module import ROOT

from .driving import Panel, Traces, mask, only_message, remove, segment_names, snapshot

SAMPLE = "BRAINTUMORSEG_SAMPLE"


def command_line(case: Path, model: str | Path, output: Path) -> dict[str, np.ndarray]:
    """Masks of the regions as ``braintumorseg segment`` writes them."""
    command = [sys.executable, "-m", "BrainTumorSegLib.cli", "segment", str(case), "-o", str(output)]
    environment = {**os.environ, "PYTHONPATH": python_path(ROOT)}
    subprocess.run([*command, "--model", str(model), "--device", "cpu"], env=environment, check=True, timeout=300)
    return to_regions(read_volume(output).array)


def assert_same_voxels(node: Any, reference: Any, expected: dict[str, np.ndarray]) -> None:
    assert set(segment_names(node)) == set(expected)
    for name, voxels in expected.items():
        np.testing.assert_array_equal(mask(node, name, reference), voxels, err_msg=name)


def test_two_clicks_after_loading(panel: Panel, case: Path, patient: samples.Patient, tmp_path: Path) -> None:
    """Load, assign, segment; then the segments, their look and place, the table and the CSV file."""
    import slicer

    nodes = {
        name: slicer.util.loadVolume(str(next(case.glob(f"*{suffix}.nii.gz"))))
        for name, suffix in samples.STYLES["brats2023"].items()
        if name != "seg"
    }
    assert not panel.ui.applyButton.enabled
    assert "Choose T1, T1ce, T2, FLAIR" in panel.ui.applyButton.toolTip
    panel.click("assignButton")
    assert {name: getattr(panel.ui, f"{name}Selector").currentNode() for name in nodes} == nodes
    node = panel.segment()

    assert_same_voxels(node, nodes["t1ce"], to_regions(patient.labels.array))
    segmentation = node.GetSegmentation()
    for name, region in REGIONS.items():
        segment = segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName(name))
        np.testing.assert_allclose(np.multiply(segment.GetColor(), 255), region.colour, atol=0.5)
        parts = segment.GetTerminology().split("~")
        assert len(parts) == 7
        assert parts[0] == "BrainTumorSeg"
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert node.GetNodeReference(role) is nodes["t1ce"]
    assert node.GetDisplayNode() is not None
    assert node.GetDisplayNode().GetVisibility()
    assert node.GetAttribute("BrainTumorSeg.model") == "exact"
    assert len(node.GetAttribute("BrainTumorSeg.modelSha256")) == 64

    volumes = {name: voxels.sum() / 1000 for name, voxels in to_regions(patient.labels.array).items()}
    table = panel.table("resultsTable")
    assert [row[0] for row in table[1:]] == list(volumes)
    assert f"WT {volumes['WT']:.1f} mL (expected Dice " in panel.ui.logText.plainText, "the model is calibrated for WT"
    assert panel.ui.logText.plainText.count("expected Dice") == 1
    assert [row[6] != "–" for row in table[1:]] == [False, False, True]
    assert panel.ui.statusLabel.text.startswith("Done in ")
    assert [float(row[1]) for row in table[1:]] == pytest.approx(list(volumes.values()), abs=0.006)
    panel.desk.answer(str(tmp_path / "table.csv"))
    panel.click("exportTableButton")
    with (tmp_path / "table.csv").open() as file:
        rows = {row["region"]: row for row in csv.DictReader(file)}
    assert {name: float(row["volume_ml"]) for name, row in rows.items()} == pytest.approx(volumes)
    panel.desk.take()


def test_equals_the_command_line_with_a_shipped_model(panel: Panel, tmp_path: Path) -> None:
    """A synthetic patient of anisotropic voxels, the slice-wise model that is included, region for region."""
    from BrainTumorSegLib.phantom import make_phantom

    phantom = make_phantom(shape=(40, 60, 60))
    case = samples.write_patient(tmp_path, samples.Patient(dict(phantom.case.images), phantom.labels))
    nodes = panel.load(case)
    panel.choose_model("brats-unet2d")
    node = panel.segment()
    expected = command_line(case, "brats-unet2d", tmp_path / "cli.nii.gz")
    assert expected["WT"].sum() > 100
    assert_same_voxels(node, nodes["t1ce"], expected)
    panel.desk.take()


@pytest.mark.real_data
@pytest.mark.parametrize("model", ["brats-segresnet", "brats-unet2d"])
def test_equals_the_command_line_on_a_real_patient(panel: Panel, tmp_path: Path, model: str) -> None:
    """BraTS-GLI-00001-000, the public sample: two clicks after loading, as BRAINTUMORSEG_SAMPLE says where it lies."""
    if not os.environ.get(SAMPLE):
        pytest.skip(f"{SAMPLE} names no folder of a BraTS patient")
    folder = Path(os.environ[SAMPLE])
    panel.load(folder)
    panel.click("assignButton")
    panel.choose_model(model)
    node = panel.segment()
    reference = panel.ui.t1ceSelector.currentNode()
    assert_same_voxels(node, reference, command_line(folder, model, tmp_path / "expected.nii.gz"))


def test_a_second_run_replaces_an_untouched_result_only(panel: Panel, case: Path) -> None:
    """Two runs in a row; what was edited by hand is replaced when the user says so, and not otherwise."""
    import slicer

    nodes = panel.load(case)
    first = panel.segment()
    second = panel.segment()
    assert second is not first, "without an output node each run makes one"
    before = {name: mask(first, name, nodes["t1ce"]) for name in segment_names(first)}
    panel.ui.outputSelector.setCurrentNode(first)
    painted = before["ET"].copy()
    painted[:3, :3, :3] = True
    identifier = first.GetSegmentation().GetSegmentIdBySegmentName("ET")
    slicer.util.updateSegmentBinaryLabelmapFromArray(painted.astype(np.uint8), first, identifier, nodes["t1ce"])

    panel.desk.take()
    panel.desk.answer("Cancel")
    panel.click("applyButton")
    assert "edited" in only_message(panel.desk).text
    assert panel.ui.applyButton.enabled
    assert mask(first, "ET", nodes["t1ce"])[0, 0, 0]

    panel.desk.answer("Ok")
    assert panel.segment() is first
    np.testing.assert_array_equal(mask(first, "ET", nodes["t1ce"]), before["ET"])
    assert len(slicer.util.getNodesByClass("vtkMRMLSegmentationNode")) == 2
    panel.desk.take()


def test_content_and_probabilities(panel: Panel, case: Path, patient: samples.Patient) -> None:
    import slicer

    nodes = panel.load(case)
    panel.ui.contentSelector.currentIndex = 2
    panel.ui.probabilitiesCheckBox.checked = True
    panel.ui.surfacesCheckBox.checked = True
    before = set(snapshot())
    node = panel.segment()
    assert set(segment_names(node)) == {"ET", "TC", "WT", "NCR", "ED"}
    np.testing.assert_array_equal(mask(node, "NCR", nodes["t1ce"]), patient.labels.array == 1)
    np.testing.assert_array_equal(mask(node, "ED", nodes["t1ce"]), patient.labels.array == 2)
    added = [slicer.mrmlScene.GetNodeByID(identifier) for identifier in set(snapshot()) - before]
    volumes = {one.GetName().split()[-2]: one for one in added if one.IsA("vtkMRMLScalarVolumeNode")}
    assert set(volumes) == {"ET", "TC", "WT"}
    for name, expected in to_regions(patient.labels.array).items():
        np.testing.assert_array_equal(slicer.util.arrayFromVolume(volumes[name]) > 0.5, expected)
    assert node.GetSegmentation().ContainsRepresentation("Closed surface")
    assert panel.ui.show3DButton.checked
    panel.desk.take()


@pytest.mark.parametrize("hardened", [False, True])
def test_a_moved_volume_gets_its_result_where_it_is_shown(panel: Panel, case: Path, hardened: bool) -> None:
    """A rotation and a shift on all four; the segments lie on the images, in the world as well."""
    import slicer
    import vtk

    nodes = panel.load(case)
    original = panel.segment()
    expected = {name: mask(original, name, nodes["t1ce"]) for name in segment_names(original)}
    slicer.mrmlScene.RemoveNode(original)
    turn = vtk.vtkTransform()
    turn.Translate(30, -12, 5)
    turn.RotateZ(25)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    transform.SetMatrixTransformToParent(turn.GetMatrix())
    for volume in nodes.values():
        volume.SetAndObserveTransformNodeID(transform.GetID())
        if hardened:
            volume.HardenTransform()
    node = panel.segment()
    corner, centre = np.zeros(3), np.zeros(3)
    for name, voxels in expected.items():
        np.testing.assert_array_equal(mask(node, name, nodes["t1ce"]), voxels)
    identifier = node.GetSegmentation().GetSegmentIdBySegmentName("WT")
    centre = np.array(node.GetSegmentCenterRAS(identifier))  # of the world
    ijk = np.argwhere(expected["WT"]).mean(0)[::-1]
    matrix = vtk.vtkMatrix4x4()
    nodes["t1ce"].GetIJKToRASMatrix(matrix)
    corner = np.array(matrix.MultiplyPoint([*ijk, 1]))[:3]
    if not hardened:
        corner = np.array(turn.TransformPoint(corner))
    np.testing.assert_allclose(centre, corner, atol=1.5)
    panel.desk.take()


def test_the_result_lies_beside_its_reference(panel: Panel, case: Path) -> None:
    import slicer

    nodes = panel.load(case)
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = tree.CreateStudyItem(tree.CreateSubjectItem(tree.GetSceneItemID(), "Patient A"), "Day 1")
    for volume in nodes.values():
        tree.SetItemParent(tree.GetItemByDataNode(volume), study)
    node = panel.segment()
    assert tree.GetItemParent(tree.GetItemByDataNode(node)) == study
    panel.desk.take()


def test_runs_leave_nothing_behind(application: Traces, panel: Panel, case: Path) -> None:
    """Node for node the same after each of three runs whose results are removed."""
    import slicer

    panel.load(case)
    counts = []
    for _ in range(3):
        remove(panel.segment())
        counts.append(slicer.mrmlScene.GetNumberOfNodes())
        assert not application.left_files()
    assert len(set(counts)) == 1, counts
    panel.desk.take()
