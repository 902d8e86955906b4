"""Change since an earlier examination: what the panel and the console tell of it, on one phantom held in two ways."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from BrainTumorSegLib.domain.errors import GeometryError, RequestError
from BrainTumorSegLib.domain.labels import REGIONS
from BrainTumorSegLib.domain.measurements import measure
from BrainTumorSegLib.domain.volume import Volume

from .driving import Panel, mask, only_message, snapshot
from .examinations import MOVED, examination, phantom, smaller
from .test_inputs import add_volume


@pytest.fixture
def earlier(application: Any) -> tuple[Any, Any]:
    return examination("<earlier>", smaller(), "t1", MOVED, confidence={"WT": 0.5})


@pytest.fixture
def later(application: Any) -> tuple[Any, Any]:
    return examination("later", phantom().labels.array, "t1ce", np.eye(4), warnings=["Look."])


def size(labels: np.ndarray) -> float:
    return measure(Volume(labels, phantom().labels.affine))["WT"].volume_ml


def compare(panel: Panel) -> list[list[str]]:
    """Click, wait, and give the table."""
    panel.click("followUpButton")
    panel.wait_until(lambda: not panel.widget.followUp.under_way)
    return panel.table("followUpTable")


def test_the_change_is_told_and_its_page_saved(
    panel: Panel, earlier: tuple[Any, Any], later: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import qt

    opened: list[str] = []
    monkeypatch.setattr(qt.QDesktopServices, "openUrl", lambda url: opened.append(url.toLocalFile()))
    panel.ui.resultSelector.setCurrentNode(later[0])
    assert not panel.ui.followUpButton.enabled
    panel.ui.earlierSelector.setCurrentNode(earlier[0])
    assert panel.ui.earlierImageSelector.currentNode() is earlier[1]
    assert panel.ui.laterImageSelector.currentNode() is later[1]
    scene = snapshot()
    header, *rows = compare(panel)
    assert [row[0] for row in rows] == list(REGIONS)
    whole = dict(zip(header, rows[-1], strict=True))
    before, after = size(smaller()), size(phantom().labels.array)
    assert float(whole["Earlier (mL)"]) == pytest.approx(before, abs=0.006)
    assert float(whole["Later (mL)"]) == pytest.approx(after, abs=0.06)
    assert whole["Change (%)"] == f"+{100 * (after / before - 1):.0f}"
    assert (whole["New / gone"], whole["RANO (3D)"]) == ("0 / 0", "PD")
    told = panel.ui.followUpStatusLabel.text
    assert "The later result: Look." in told and "The earlier result: The expected Dice of WT" in told
    assert "unknown" not in told and str(tmp_path) not in told
    assert snapshot() == scene
    panel.click("earlierContoursButton")
    overlap = _dice_with_earlier(later[1])
    assert overlap == pytest.approx(1, abs=0.05)
    panel.click("earlierContoursButton")
    assert not _hidden()
    panel.desk.answer(str(tmp_path / "change"))
    panel.click("followUpReportButton")
    panel.desk.take()
    page = (tmp_path / "change.html").read_text("utf-8")
    assert opened == [str(tmp_path / "change.html")]
    assert "&lt;earlier&gt; result" in page and "<earlier>" not in page and "earlier_image.nii" not in page


def _hidden() -> list[Any]:
    """Segmentations that no list shows."""
    import slicer

    return [each for each in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if each.GetHideFromEditors()]


def _dice_with_earlier(scan: Any) -> float:
    """How well the contours over the later image show the tumour that was there, by Slicer's own reading."""
    (copy,) = _hidden()
    assert not copy.GetSaveWithScene() and not copy.GetDisplayNode().GetVisibility3D()
    found, truth = mask(copy, "WT", scan), smaller() > 0
    return 2 * float((found & truth).sum()) / float(found.sum() + truth.sum())


def test_a_comparison_is_forgotten_when_it_is_not_of_these_any_more(
    panel: Panel, earlier: tuple[Any, Any], later: tuple[Any, Any]
) -> None:
    import slicer

    panel.ui.resultSelector.setCurrentNode(later[0])
    panel.ui.earlierSelector.setCurrentNode(earlier[0])
    for box in (panel.ui.earlierImageSelector, panel.ui.laterImageSelector):
        box.setCurrentNode(None)
    _header, *rows = compare(panel)
    assert [row[4] for row in rows] == ["–"] * 3 and "No image is known" in panel.ui.followUpStatusLabel.text
    slicer.util.selectModule("SegmentEditor")
    slicer.util.selectModule("BrainTumorSeg")
    assert panel.ui.followUpTable.rowCount == 3
    panel.ui.daysSpinBox.value = 90
    assert panel.ui.followUpTable.rowCount == 0
    assert not panel.ui.followUpStatusLabel.text


def test_a_comparison_is_forgotten_when_the_earlier_examination_is_edited_or_moved(
    panel: Panel, earlier: tuple[Any, Any], later: tuple[Any, Any]
) -> None:
    """Also while another module is open; a colour is no edit."""
    import slicer

    panel.ui.resultSelector.setCurrentNode(later[0])
    panel.ui.earlierSelector.setCurrentNode(earlier[0])
    compare(panel)
    panel.click("earlierContoursButton")
    segmentation = earlier[0].GetSegmentation()
    slicer.util.selectModule("SegmentEditor")
    segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName("WT")).SetColor(1, 0, 0)
    slicer.util.selectModule("BrainTumorSeg")
    assert panel.ui.followUpTable.rowCount == 3 and _hidden()
    move = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    move.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(MOVED))
    for node in earlier:
        node.SetAndObserveTransformNodeID(move.GetID())
    panel.wait_until(lambda: panel.ui.followUpTable.rowCount == 0, 10)
    assert not _hidden(), "the contours were where the motion of before had put them"
    for box in (panel.ui.earlierImageSelector, panel.ui.laterImageSelector):
        box.setCurrentNode(None)
    assert len(compare(panel)) == 4
    slicer.util.selectModule("SegmentEditor")
    segmentation.RemoveSegment(segmentation.GetSegmentIdBySegmentName("ET"))
    slicer.util.selectModule("BrainTumorSeg")
    assert panel.ui.followUpTable.rowCount == 0 and not panel.ui.followUpReportButton.visible


def test_what_cannot_be_compared_is_said_before(panel: Panel, earlier: tuple[Any, Any], later: tuple[Any, Any]) -> None:
    panel.ui.resultSelector.setCurrentNode(later[0])
    panel.ui.earlierSelector.setCurrentNode(later[0])
    assert "itself" in panel.ui.followUpButton.toolTip
    panel.ui.earlierSelector.setCurrentNode(earlier[0])
    panel.ui.earlierImageSelector.setCurrentNode(later[1])
    assert "same image" in panel.ui.followUpButton.toolTip
    assert not panel.ui.followUpButton.enabled


def test_dates_say_the_days_and_which_is_the_later_one(
    panel: Panel, earlier: tuple[Any, Any], later: tuple[Any, Any]
) -> None:
    _date(earlier[1], "P1", "20250110")
    _date(later[1], "P2", "20250412")
    panel.ui.resultSelector.setCurrentNode(later[0])
    panel.ui.earlierSelector.setCurrentNode(earlier[0])
    assert panel.ui.daysSpinBox.value == 92
    panel.ui.earlierImageSelector.setCurrentNode(None)
    assert panel.ui.daysSpinBox.value == 0, "it was of that image"
    panel.ui.earlierImageSelector.setCurrentNode(earlier[1])
    panel.desk.answer("Cancel")
    panel.click("followUpButton")
    assert "two patients (P1, P2)" in only_message(panel.desk).text
    for (node, _scan), patient in ((earlier, "P1"), (later, "P2")):
        _date(node, patient, "20250110")
    for box in (panel.ui.earlierImageSelector, panel.ui.laterImageSelector):
        box.setCurrentNode(None)
    panel.desk.answer("Cancel")
    panel.click("followUpButton")
    assert "two patients (P1, P2)" in only_message(panel.desk).text, "without images no heads can be compared"
    for box, (_node, scan) in ((panel.ui.earlierImageSelector, earlier), (panel.ui.laterImageSelector, later)):
        box.setCurrentNode(scan)
    assert panel.ui.followUpTable.rowCount == 0
    panel.ui.resultSelector.setCurrentNode(earlier[0])
    panel.ui.earlierSelector.setCurrentNode(later[0])
    assert "later date" in panel.ui.followUpButton.toolTip


def test_days_that_were_typed_are_of_the_examinations_that_were_chosen(
    panel: Panel, earlier: tuple[Any, Any], later: tuple[Any, Any]
) -> None:
    """They stay with another result of the same image, and not with another patient's."""
    import slicer

    box = panel.ui.daysSpinBox
    box.value = 90
    panel.ui.resultSelector.setCurrentNode(later[0])
    panel.ui.earlierSelector.setCurrentNode(earlier[0])
    other, _scan = examination("other", smaller(), "t1", np.eye(4))
    again = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "again")
    again.Copy(later[0])
    panel.ui.resultSelector.setCurrentNode(again)
    assert panel.widget.results.node is again and box.value == 90
    panel.ui.earlierSelector.setCurrentNode(other)
    assert box.value == 0
    box.value = 60
    panel.ui.resultSelector.setCurrentNode(earlier[0])
    assert box.value == 0


def test_a_node_that_gets_the_result_of_another_image(
    panel: Panel, earlier: tuple[Any, Any], later: tuple[Any, Any]
) -> None:
    """As a run into a chosen output does: its image goes with it."""
    panel.ui.resultSelector.setCurrentNode(later[0])
    panel.ui.earlierSelector.setCurrentNode(earlier[0])
    _other, scan = examination("other", smaller(), "t1", np.eye(4))
    later[0].SetReferenceImageGeometryParameterFromVolumeNode(scan)
    panel.widget.results.measure()
    assert panel.ui.laterImageSelector.currentNode() is scan
    assert panel.ui.earlierImageSelector.currentNode() is earlier[1]


def _date(volume: Any, patient: str, day: str) -> None:
    """Put a volume under a patient and a study of a day."""
    import slicer
    from BrainTumorSegPanel.sources import STUDY_DATE

    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    owner = tree.CreateHierarchyItem(tree.GetSceneItemID(), patient, "Patient")
    study = tree.CreateHierarchyItem(owner, day, "Study")
    tree.SetItemAttribute(study, STUDY_DATE, day)
    tree.SetItemParent(tree.GetItemByDataNode(volume) or tree.CreateItem(study, volume), study)


def test_a_comparison_can_be_cancelled(panel: Panel, earlier: tuple[Any, Any], later: tuple[Any, Any]) -> None:
    panel.ui.resultSelector.setCurrentNode(later[0])
    panel.ui.earlierSelector.setCurrentNode(earlier[0])
    panel.click("followUpButton")
    assert "compared" in panel.ui.applyButton.toolTip and not panel.ui.applyButton.enabled
    panel.click("cancelFollowUpButton")
    panel.wait_until(lambda: not panel.widget.followUp.under_way)
    assert panel.ui.followUpStatusLabel.text == "Cancelled."
    assert panel.ui.followUpTable.rowCount == 0 and panel.ui.followUpButton.enabled


def test_closing_the_scene_ends_a_comparison(panel: Panel, earlier: tuple[Any, Any], later: tuple[Any, Any]) -> None:
    import slicer

    panel.ui.resultSelector.setCurrentNode(later[0])
    panel.ui.earlierSelector.setCurrentNode(earlier[0])
    panel.click("followUpButton")
    slicer.mrmlScene.Clear(0)
    panel.wait_until(lambda: not panel.widget.followUp.under_way)
    assert not panel.ui.followUpButton.enabled and panel.ui.followUpTable.rowCount == 0


def test_the_console_tells_the_same(logic: Any, earlier: tuple[Any, Any], later: tuple[Any, Any]) -> None:
    found = logic.followUp("<earlier> result", later[0], days=92, inProcess=True)
    assert found["days"] == 92 and (found["earlier"]["case"], found["later"]["image"]) == (
        "<earlier> result",
        "later scan",
    )
    assert found["registration"]["angle_deg"] == pytest.approx(15.7, abs=1.0)
    grown = (phantom().labels.array > 0) & (smaller() == 0)
    voxel = phantom().labels.voxel_volume / 1000
    assert found["regions"]["WT"]["new_ml"] == pytest.approx(np.count_nonzero(grown) * voxel, rel=0.1)


def test_two_people_are_refused_by_their_names(logic: Any, earlier: tuple[Any, Any], later: tuple[Any, Any]) -> None:
    import slicer

    slicer.util.updateVolumeFromArray(later[1], np.ascontiguousarray(slicer.util.arrayFromVolume(later[1])[::-1]))
    with pytest.raises(GeometryError, match="<earlier> scan"):
        logic.followUp(earlier[0], later[0], inProcess=True)
    with pytest.raises(RequestError, match="given twice"):
        logic.followUp(later[0], later[0])
    with pytest.raises(RequestError, match="later scan"):
        logic.followUp(earlier[0], later[0], earlierImage="later scan")


def test_results_of_other_programs_are_compared_with_the_images_that_are_named(
    logic: Any, later: tuple[Any, Any]
) -> None:
    """A label volume, and a model that knows the whole tumour alone."""
    import slicer

    from BrainTumorSegLib.io import mrml

    image = phantom().case.images["t2"]
    scan = slicer.util.addVolumeFromArray(image.array, MOVED @ image.affine, "T2")
    mask = (smaller() > 0).astype(np.uint8)
    labels = slicer.util.addVolumeFromArray(mask, MOVED @ image.affine, "mask", "vtkMRMLLabelMapVolumeNode")
    mrml.write_provenance(later[0], {"model": {"id": "m", "version": "1"}}, ("WT",))
    found = logic.followUp(labels, later[0], earlierImage=scan, inProcess=True)
    assert set(found["regions"]) == {"WT"} and found["regions"]["WT"]["lesions"] == {"kept": 1, "new": 0, "gone": 0}
    assert any("a program unknown here and of m 1" in text for text in found["warnings"])
    add_volume("other")
    with pytest.raises(RequestError, match="no segmentation"):
        logic.followUp("other", later[0])
