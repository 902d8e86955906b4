"""What is saved with the scene and comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .driving import Panel, mask, segment_names

pytestmark = pytest.mark.timeout(300)


def facts(node: Any, reference: Any) -> dict[str, Any]:
    """What a result must keep, whatever it is saved in."""
    segmentation = node.GetSegmentation()
    found: dict[str, Any] = {}
    for name in segment_names(node):
        segment = segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName(name))
        colour = tuple(round(255 * part) for part in segment.GetColor())
        identifier = segmentation.GetSegmentIdBySegmentName(name)
        voxels = mask(node, name, reference).tobytes()
        found[name] = (segment.GetTerminology(), colour, voxels, node.GetSegmentCenterRAS(identifier))
    return found


@pytest.fixture
def result(panel: Panel, case: Path, models: dict[str, Path]) -> Any:
    nodes = panel.load(case)
    node = panel.widget.logic.segment(**nodes, model=models["exact"], device="cpu", inProcess=True, content="both")
    panel.ui.resultSelector.setCurrentNode(node)
    panel.ui.contentSelector.currentIndex = 1
    panel.ui.probabilitiesCheckBox.checked = True
    return node


def test_segmentation_file(result: Any, panel: Panel, tmp_path: Path) -> None:
    """``.seg.nrrd``: overlapping segments, names, colours, codes and place."""
    import slicer

    reference = panel.ui.t1ceSelector.currentNode()
    expected = facts(result, reference)
    assert set(expected) == {"ET", "TC", "WT", "NCR", "ED"}
    file = tmp_path / "result.seg.nrrd"
    assert slicer.util.saveNode(result, str(file))
    slicer.mrmlScene.RemoveNode(result)
    loaded = slicer.util.loadSegmentation(str(file))
    assert facts(loaded, reference) == expected
    assert (mask(loaded, "WT", reference) >= mask(loaded, "TC", reference)).all()


def test_bundle(result: Any, panel: Panel, tmp_path: Path) -> None:
    """``.mrb``: also the choices of the panel, the reference and how the result came about."""
    import slicer

    expected, table = facts(result, panel.ui.t1ceSelector.currentNode()), panel.table("resultsTable")
    chosen = {
        name: getattr(panel.ui, f"{name}Selector").currentNode().GetName() for name in ("t1", "t1ce", "t2", "flair")
    }
    provenance = result.GetAttribute("BrainTumorSeg.provenance")
    name = result.GetName()
    bundle = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(bundle)
    slicer.mrmlScene.Clear(0)
    assert panel.ui.resultSelector.currentNode() is None
    assert panel.ui.resultsTable.rowCount == 0
    slicer.util.loadScene(bundle)
    loaded = slicer.util.getNode(name)
    assert loaded.GetAttribute("BrainTumorSeg.provenance") == provenance
    panel.wait_until(lambda: panel.ui.t1ceSelector.currentNode() is not None, 5)
    again = {one: getattr(panel.ui, f"{one}Selector").currentNode().GetName() for one in chosen}
    assert again == chosen
    assert facts(loaded, panel.ui.t1ceSelector.currentNode()) == expected
    assert panel.ui.resultSelector.currentNode() is loaded
    assert panel.ui.contentSelector.currentIndex == 1
    assert panel.ui.probabilitiesCheckBox.checked
    assert panel.table("resultsTable") == table
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    assert loaded.GetNodeReference(role) is panel.ui.t1ceSelector.currentNode()


def test_a_reloaded_result_is_still_untouched(result: Any, panel: Panel, tmp_path: Path) -> None:
    """The next run into it does not ask: nothing was edited by hand."""
    import slicer

    from BrainTumorSegLib.io import mrml

    bundle = str(tmp_path / "scene.mrb")
    name = result.GetName()
    slicer.util.saveScene(bundle)
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(bundle)
    assert not mrml.holds_other_work(slicer.util.getNode(name))
