"""What the views show after a run: nothing of it while another module is open, and one result at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .driving import Panel, mask, only_message
from .test_alignment import layers
from .test_editing import paint


def shown(node: Any) -> bool:
    return bool(node.GetDisplayNode().GetVisibility())


def places() -> list[float]:
    """Where the slice views lie."""
    import slicer

    manager = slicer.app.layoutManager()
    return [manager.sliceWidget(name).mrmlSliceNode().GetSliceOffset() for name in manager.sliceViewNames()]


def test_a_run_that_ends_elsewhere_changes_no_view(panel: Panel, case: Path) -> None:
    """It is seen when one comes back."""
    import slicer

    from .test_inputs import add_volume

    nodes = panel.load(case)
    panel.click("applyButton")
    slicer.util.selectModule("SegmentEditor")
    slicer.util.setSliceViewerLayers(background=add_volume("another"))
    before = (layers(), places())
    panel.wait_to_end()
    made = panel.widget.results.node
    assert (layers(), places()) == before
    assert not shown(made)
    slicer.util.selectModule("BrainTumorSeg")
    assert shown(made)
    assert layers()[0][0] == nodes["t1ce"].GetID()
    slicer.util.setSliceViewerLayers(background=nodes["t1"])
    slicer.util.selectModule("SegmentEditor")
    slicer.util.selectModule("BrainTumorSeg")
    assert layers()[0][0] == nodes["t1"].GetID(), "once, not whenever the module is opened"


def test_an_untouched_predecessor_is_hidden(panel: Panel, case: Path) -> None:
    panel.load(case)
    first = panel.segment()
    second = panel.segment()
    assert first is not second
    assert (shown(first), shown(second)) == (False, True)
    assert not panel.desk.take(), "nobody was asked"


@pytest.mark.parametrize("answer", ["Yes", "No"])
def test_one_that_was_edited_is_asked_about(panel: Panel, case: Path, answer: str) -> None:
    nodes = panel.load(case)
    first = panel.segment()
    voxels = mask(first, "WT", nodes["t1ce"])
    voxels[:2] = True
    paint(panel, first, "WT", voxels)
    panel.desk.answer(answer)
    second = panel.segment()
    assert "was edited by hand" in only_message(panel.desk).text
    assert (shown(first), shown(second)) == (answer == "No", True)
    np.testing.assert_array_equal(mask(first, "WT", nodes["t1ce"]), voxels)


def test_results_on_other_images_stay(panel: Panel, case: Path, models: dict[str, Path]) -> None:
    """Another patient's, and segmentations of other programs."""
    import slicer

    other = panel.load(case)
    first = panel.segment()
    foreign = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "by hand")
    foreign.CreateDefaultDisplayNodes()
    foreign.SetReferenceImageGeometryParameterFromVolumeNode(other["t1ce"])
    panel.load(case)
    second = panel.segment()
    assert shown(first) and shown(second) and shown(foreign)
    panel.desk.take()


def test_show_3d_is_slicers_own_button(panel: Panel, case: Path, models: dict[str, Path]) -> None:
    import slicer

    assert type(panel.ui.show3DButton) is slicer.qMRMLSegmentationShow3DButton
    nodes = panel.load(case)
    node = panel.widget.logic.segment(**nodes, model=models["exact"], device="cpu", inProcess=True)
    panel.ui.resultSelector.setCurrentNode(node)
    assert panel.ui.show3DButton.segmentationNode() is node
    panel.click("show3DButton")
    assert node.GetSegmentation().ContainsRepresentation("Closed surface")
    panel.ui.resultSelector.setCurrentNode(None)
    assert panel.ui.show3DButton.segmentationNode() is None
    assert not panel.ui.show3DButton.enabled
