"""Segments that are edited: the numbers are those of the segments as they are, and what no longer holds is said."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .driving import Panel, mask


@pytest.fixture
def result(panel: Panel, case: Path, models: dict[str, Path]) -> Any:
    nodes = panel.load(case)
    node = panel.widget.logic.segment(**nodes, model=models["exact"], device="cpu", inProcess=True, content="both")
    panel.ui.resultSelector.setCurrentNode(node)
    return node


def paint(panel: Panel, node: Any, name: str, voxels: np.ndarray) -> None:
    """As the Segment Editor leaves a segment."""
    import slicer

    identifier = node.GetSegmentation().GetSegmentIdBySegmentName(name)
    reference = panel.ui.t1ceSelector.currentNode()
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels.astype(np.uint8), node, identifier, reference)


def volume(panel: Panel, name: str) -> float:
    return next(float(row[1]) for row in panel.table("resultsTable") if row[0] == name)


def test_every_segment_is_listed_with_its_colour(panel: Panel, result: Any) -> None:
    rows = panel.table("resultsTable")[1:]
    assert [row[0] for row in rows] == ["ET", "TC", "WT", "NCR", "ED"]
    segmentation = result.GetSegmentation()
    for index, row in enumerate(rows):
        picture = panel.ui.resultsTable.item(index, 0).icon().pixmap(8, 8).toImage()
        colour = segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName(row[0])).GetColor()
        np.testing.assert_allclose(picture.pixelColor(4, 4).getRgbF()[:3], colour, atol=0.01)


def test_a_stroke_is_measured_while_the_panel_is_open(panel: Panel, result: Any) -> None:
    """One that takes ET out of TC: TC is what its segment holds, not what ET would add to it."""
    reference = panel.ui.t1ceSelector.currentNode()
    assert panel.table("resultsTable")[0][-1] == "Dice (exp.)"
    core = mask(result, "TC", reference)
    assert volume(panel, "TC") == pytest.approx(core.sum() / 1000, abs=0.006)
    half = core.copy()
    half[:, :, half.shape[2] // 2 :] = False
    paint(panel, result, "TC", half)
    panel.wait_until(lambda: abs(volume(panel, "TC") - half.sum() / 1000) < 0.006, 10)
    assert panel.table("resultsTable")[0][-1] == "Axial (mm)", "what was expected of the result holds no more"
    assert "edited since the run" in panel.ui.resultInfoLabel.text


def test_regions_that_do_not_lie_within_each_other(panel: Panel, result: Any) -> None:
    """It is said, and one click mends it: the outer region takes in the inner one."""
    reference = panel.ui.t1ceSelector.currentNode()
    assert not panel.ui.nestButton.visible
    before = {name: mask(result, name, reference) for name in ("ET", "TC", "WT")}
    stroke = before["ET"].copy()
    stroke[:2, :3, :4] = True  # outside WT
    paint(panel, result, "ET", stroke)
    panel.wait_until(lambda: panel.ui.nestButton.visible or "outside" in panel.ui.resultInfoLabel.text, 10)
    assert "0.02 mL of ET lie outside TC." in panel.ui.resultInfoLabel.text
    panel.ui.resultsCollapsibleButton.collapsed = False
    panel.click("nestButton")
    for name in ("ET", "TC", "WT"):
        np.testing.assert_array_equal(mask(result, name, reference), before[name] | stroke, err_msg=name)
    assert "outside" not in panel.ui.resultInfoLabel.text
    assert not panel.ui.nestButton.visible
    assert volume(panel, "WT") == pytest.approx((before["WT"] | stroke).sum() / 1000, abs=0.006)
    assert mask(result, "ED", reference).any(), "others stay as they were"


def test_another_colour_is_seen(panel: Panel, result: Any) -> None:
    segmentation = result.GetSegmentation()
    segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName("ET")).SetColor(0, 0, 1)

    def blue() -> float:
        return float(panel.ui.resultsTable.item(0, 0).icon().pixmap(8, 8).toImage().pixelColor(4, 4).blueF())

    panel.wait_until(lambda: blue() > 0.99, 10)


def test_what_is_painted_in_another_module_is_measured_on_return(panel: Panel, result: Any) -> None:
    import slicer

    reference = panel.ui.t1ceSelector.currentNode()
    panel.click("editButton")
    grown, before = mask(result, "ED", reference), volume(panel, "ED")
    grown[:5] = True
    paint(panel, result, "ED", grown)
    until = time.monotonic() + 0.6
    panel.wait_until(lambda: time.monotonic() > until)
    assert volume(panel, "ED") == before, "the editor is not held up after each stroke"
    slicer.util.selectModule("BrainTumorSeg")
    assert volume(panel, "ED") == pytest.approx(grown.sum() / 1000, abs=0.006)


def test_measurements_of_the_console_are_those_of_the_table(panel: Panel, result: Any) -> None:
    sizes = panel.widget.logic.measurements(result)
    assert list(sizes) == [row[0] for row in panel.table("resultsTable")[1:]]
    for name, size in sizes.items():
        assert volume(panel, name) == pytest.approx(size.volume_ml, abs=0.006)


def test_warnings_stay_with_the_segmentation(panel: Panel, case: Path, models: dict[str, Path], tmp_path: Path) -> None:
    """Seen again when it is chosen again, and after the scene was loaded."""
    import slicer

    nodes = panel.load(case)
    first = panel.widget.logic.segment(**nodes, model=models["whole"], device="cpu", inProcess=True)
    second = panel.widget.logic.segment(**nodes, model=models["exact"], device="cpu", inProcess=True)
    panel.ui.resultSelector.setCurrentNode(first)
    said = panel.ui.resultInfoLabel.text
    assert "does not know" in said
    panel.ui.resultSelector.setCurrentNode(second)
    assert said not in panel.ui.resultInfoLabel.text
    panel.ui.resultSelector.setCurrentNode(first)
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    panel.raise_uncaught()
    assert panel.ui.resultInfoLabel.text == said


@pytest.mark.parametrize("regions", [("WT",), ()])
def test_regions_of_a_models_own_are_listed(panel: Panel, case: Path, regions: tuple[str, ...]) -> None:
    """A resection cavity beside the tumour, or alone."""
    import slicer

    from BrainTumorSegLib.domain.labels import own_region
    from BrainTumorSegLib.io import mrml

    reference = panel.load(case)["t1ce"]
    labels = np.zeros(slicer.util.arrayFromVolume(reference).shape, np.uint8)
    labels[5:9, 5:9, 5:9], labels[6:8, 6:8, 6:8] = (2 if regions else 0), 5
    cavity = own_region("Cavity", [5], 0, (10, 200, 30))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "result")
    styles = mrml.segment_styles(regions, regions=True, classes=False, own=[cavity])
    mrml.write_segments(node, labels, styles, mrml.Place(mrml.affine_of(reference), reference))
    mrml.write_provenance(node, {}, regions)
    panel.ui.resultSelector.setCurrentNode(node)
    rows = {row[0]: row[1] for row in panel.table("resultsTable")[1:]}
    assert list(rows) == [*regions, "Cavity"]
    assert float(rows["Cavity"]) == pytest.approx(8 / 1000, abs=0.006)
    voxels = mask(node, "Cavity", reference)
    voxels[:2] = True
    paint(panel, node, "Cavity", voxels)
    panel.wait_until(lambda: abs(volume(panel, "Cavity") - voxels.sum() / 1000) < 0.006, 10)


def test_a_provenance_that_was_spoilt_is_none(panel: Panel, result: Any) -> None:
    for text in ("", "[]", "{", '{"warnings": 3, "confidence": []}', '{"confidence": {"ET": "high"}}'):
        result.SetAttribute("BrainTumorSeg.provenance", text)
        panel.ui.resultSelector.setCurrentNode(None)
        panel.ui.resultSelector.setCurrentNode(result)
        panel.raise_uncaught()
        assert not panel.desk.take()
        assert len(panel.table("resultsTable")) == 6


def test_noise_is_no_list_of_thousands(panel: Panel, result: Any) -> None:
    """The twenty largest by themselves, the others together; jumping goes to the former alone."""
    import slicer

    reference = panel.ui.t1ceSelector.currentNode()
    noise = mask(result, "WT", reference)
    pieces = np.zeros_like(noise)
    pieces[::3, ::3, ::3] = True
    paint(panel, result, "WT", noise | pieces)
    slicer.util.selectModule("SegmentEditor")
    slicer.util.selectModule("BrainTumorSeg")
    box = panel.ui.lesionSelector
    assert box.count == 21
    assert box.itemText(0).startswith("1: ")
    assert " more, together " in box.itemText(20)
    panel.ui.resultsCollapsibleButton.collapsed = False
    panel.click("jumpButton")
    box.currentIndex = 20
    assert not panel.ui.jumpButton.enabled
