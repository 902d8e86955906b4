"""What a person does to the scene while a run goes on, and what becomes of it at the run's end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from BrainTumorSegLib.domain.errors import GeometryError
from BrainTumorSegLib.domain.labels import to_regions
from Testing import samples

from .driving import Panel, bend, mask, segment_names
from .test_editing import paint


def add_stroke(panel: Panel, node: Any) -> np.ndarray:
    """Paint a corner as ET by hand; the segment's voxels after it."""
    voxels = mask(node, "ET", panel.ui.t1ceSelector.currentNode())
    voxels[:3, :3, :3] = True
    paint(panel, node, "ET", voxels)
    return voxels


def test_an_output_that_is_edited_stays(panel: Panel, case: Path, patient: samples.Patient) -> None:
    """It was an untouched result when the run began: nothing was asked."""
    reference = panel.load(case)["t1ce"]
    first = panel.segment()
    panel.ui.outputSelector.setCurrentNode(first)
    panel.click("applyButton")
    stroke = add_stroke(panel, first)
    panel.wait_to_end()
    panel.desk.take()
    made = panel.ui.resultSelector.currentNode()
    assert made is not first
    np.testing.assert_array_equal(mask(first, "ET", reference), stroke)
    np.testing.assert_array_equal(mask(made, "ET", reference), to_regions(patient.labels.array)["ET"])
    assert f"{first.GetName()} was edited during the run and stays as it is" in panel.ui.resultInfoLabel.text
    assert first.GetDisplayNode().GetVisibility(), "nobody was asked whether it may be hidden"


def test_segments_that_are_added_to_an_empty_output_stay(
    panel: Panel, case: Path, models: dict[str, Path], patient: samples.Patient
) -> None:
    """Of a run that the console has begun."""
    import slicer

    nodes = panel.load(case)
    output = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "mine")
    run = panel.widget.logic.segment(
        **nodes, model=models["exact"], device="cpu", outputSegmentation=output, wait=False
    )
    output.GetSegmentation().AddEmptySegment("", "ET")
    made = run.result()
    assert made is not output and segment_names(output) == ["ET"]
    assert any("mine was edited" in line for line in run.warnings)


def test_a_former_result_that_is_edited_stays_shown(panel: Panel, case: Path) -> None:
    panel.load(case)
    first, second = panel.segment(), panel.segment()
    first.GetDisplayNode().SetVisibility(True)
    panel.click("applyButton")
    add_stroke(panel, first)
    panel.wait_to_end()
    assert panel.ui.resultSelector.currentNode() not in (first, second)
    assert first.GetDisplayNode().GetVisibility()
    assert not second.GetDisplayNode().GetVisibility(), "only the newest of those that nobody edited"
    panel.desk.take()


@pytest.mark.parametrize("change", ["cropped", "moved"])
def test_another_grid_of_the_reference(
    panel: Panel, case: Path, models: dict[str, Path], patient: samples.Patient, change: str
) -> None:
    """The result lies where the image was when it was segmented, and says so."""
    import slicer

    from BrainTumorSegLib.io import mrml

    nodes = panel.load(case)
    reference, before = nodes["t1ce"], mrml.affine_of(nodes["t1ce"])
    run = panel.widget.logic.segment(**nodes, model=models["exact"], device="cpu", probabilities=True, wait=False)
    if change == "cropped":
        part = slicer.util.addVolumeFromArray(slicer.util.arrayFromVolume(reference)[4:, 5:, 6:].copy())
        reference.SetAndObserveImageData(part.GetImageData())
    reference.SetOrigin(*np.add(reference.GetOrigin(), (30, -20, 10)))
    made = run.result()
    labels = mrml.labels_of(made)
    np.testing.assert_array_equal(labels.array, patient.labels.array)
    np.testing.assert_allclose(labels.affine, before, atol=1e-4)
    np.testing.assert_allclose(mrml.affine_of(run.probability_nodes["WT"]), before, atol=1e-4)
    assert any("lies where it was when the run began" in line for line in run.warnings)


def test_a_transform_of_the_reference_is_followed(
    panel: Panel, case: Path, models: dict[str, Path], patient: samples.Patient
) -> None:
    """By the segments, and by the volumes beside them."""
    import slicer

    from BrainTumorSegLib.io import mrml

    nodes = panel.load(case)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    run = panel.widget.logic.segment(**nodes, model=models["exact"], device="cpu", probabilities=True, wait=False)
    nodes["t1ce"].SetAndObserveTransformNodeID(transform.GetID())
    motion = np.eye(4)
    motion[:3, 3] = 10, 20, 30
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(motion))
    made = run.result()
    assert made.GetTransformNodeID() == transform.GetID()
    assert not any("when the run began" in line for line in run.warnings)
    np.testing.assert_array_equal(mask(made, "WT", nodes["t1ce"]), patient.labels.array > 0)
    np.testing.assert_allclose(mrml.affine_of(run.probability_nodes["WT"]), mrml.affine_of(nodes["t1ce"]), atol=1e-4)


@pytest.mark.parametrize("bent", ["reference", "output"])
def test_a_transform_that_is_not_linear_loses_no_result(
    panel: Panel, case: Path, models: dict[str, Path], patient: samples.Patient, bent: str
) -> None:
    """It lies where the image was, or in a new segmentation; an output that is under one is refused at once."""
    from BrainTumorSegLib.io import mrml

    nodes = panel.load(case)
    before, logic = mrml.affine_of(nodes["t1ce"]), panel.widget.logic
    asked = {**nodes, "model": models["exact"], "device": "cpu"}
    output = logic.segment(**asked, inProcess=True)
    run = logic.segment(**asked, outputSegmentation=output, wait=False)
    bend(nodes["t1ce"] if bent == "reference" else output)
    made = run.result()
    assert len(run.warnings) == 1
    labels = mrml.labels_of(made)
    np.testing.assert_array_equal(labels.array, patient.labels.array)
    np.testing.assert_allclose(labels.affine, before, atol=1e-4)
    if bent == "output":
        assert made is not output
        with pytest.raises(GeometryError, match="not linear"):
            logic.segment(**asked, outputSegmentation=output, wait=False)
