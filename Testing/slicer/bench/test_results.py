"""What the panel tells of a segmentation, and what it lets one do with it. Runs are made in this process: fast."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from BrainTumorSegLib.domain.errors import InputError
from BrainTumorSegLib.domain.labels import to_regions
from BrainTumorSegLib.domain.measurements import measure
from Testing import samples

from .driving import Panel, only_message, segment_names

REGIONS = ("ET", "TC", "WT")


@pytest.fixture
def result(panel: Panel, case: Path, models: dict[str, Path]) -> Any:
    """A segmentation of the sample patient, shown in the panel."""
    nodes = panel.load(case)
    node = panel.widget.logic.segment(**nodes, model=models["exact"], device="cpu", inProcess=True)
    panel.ui.resultSelector.setCurrentNode(node)
    return node


@pytest.fixture
def truth(result: Any, case: Path) -> Any:
    """The reference segmentation as a label volume."""
    import slicer

    return slicer.util.loadLabelVolume(str(next(case.glob("*seg*"))), {"name": "truth"})


def test_table_copy_and_file_agree_with_the_library(
    panel: Panel, result: Any, patient: samples.Patient, tmp_path: Path
) -> None:
    import slicer

    expected = measure(patient.labels)
    rows = panel.table("resultsTable")
    assert [row[0] for row in rows[1:]] == list(REGIONS)
    for row in rows[1:]:
        sizes = expected[row[0]]
        shown = [f"{sizes.volume_ml:.2f}", f"{100 * sizes.share:.1f}", str(sizes.lesions)]
        shown += [f"{sizes.largest_diameter_mm:.1f}", f"{sizes.largest_axial_diameter_mm:.1f}"]
        expected_dice = "1.00" if row[0] == "WT" else "–"  # the model is calibrated for WT alone
        assert row[1:] == [*shown, expected_dice]
    panel.click("copyTableButton")
    assert slicer.app.clipboard().text() == "".join("\t".join(row) + "\n" for row in rows)
    panel.desk.answer(str(tmp_path / "sizes"))
    panel.click("exportTableButton")
    panel.desk.take()
    with (tmp_path / "sizes.csv").open() as file:
        written = list(csv.DictReader(file))
    assert [row["region"] for row in written] == list(REGIONS)
    assert float(written[0]["volume_ml"]) == pytest.approx(expected["ET"].volume_ml)
    assert written[0]["segmentation"] == result.GetName()
    assert [row["expected_dice"][:4] for row in written] == ["", "", "0.99"]


def test_no_table_is_replaced_unasked(
    panel: Panel, result: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dialogue has asked for the name that was typed, to which the suffix comes; names of nodes hold what may not
    be in one of a file."""
    import qt

    (tmp_path / "sizes.csv").write_text("of others")
    panel.desk.answer(str(tmp_path / "sizes"), "Cancel")
    panel.click("exportTableButton")
    assert "sizes.csv is there already" in panel.desk.texts()[-1]
    assert (tmp_path / "sizes.csv").read_text() == "of others"
    proposed: list[str] = []
    monkeypatch.setattr(qt.QFileDialog, "getSaveFileName", lambda *given: proposed.append(given[2]))
    result.SetName("3: T1/post tumour")
    panel.click("exportTableButton")
    assert proposed == ["3- T1-post tumour.csv"]


def test_an_edited_segment_is_measured_again(panel: Panel, result: Any) -> None:
    import slicer

    before = panel.table("resultsTable")
    reference = panel.ui.t1ceSelector.currentNode()
    identifier = result.GetSegmentation().GetSegmentIdBySegmentName("ET")
    half = slicer.util.arrayFromSegmentBinaryLabelmap(result, identifier, reference).copy()
    half[:, :, half.shape[2] // 2 :] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(half, result, identifier, reference)
    slicer.util.selectModule("SegmentEditor")
    slicer.util.selectModule("BrainTumorSeg")
    after = panel.table("resultsTable")
    assert float(after[1][1]) == pytest.approx(half.sum() / 1000, abs=0.006)
    assert after != before


def test_without_a_result_nothing_can_be_done(panel: Panel) -> None:
    buttons = ("copyTableButton", "exportTableButton", "editButton", "showSlicesButton", "show3DButton", "jumpButton")
    assert not [name for name in buttons if getattr(panel.ui, name).enabled]
    assert panel.ui.resultsTable.rowCount == 0


def test_slice_views_show_the_reference_with_contours(panel: Panel, result: Any) -> None:
    import slicer

    panel.click("showSlicesButton")
    reference = panel.ui.t1ceSelector.currentNode()
    widgets = [slicer.app.layoutManager().sliceWidget(name) for name in ("Red", "Yellow", "Green")]
    assert {w.mrmlSliceCompositeNode().GetBackgroundVolumeID() for w in widgets} == {reference.GetID()}
    display = result.GetDisplayNode()
    assert (display.GetVisibility2DOutline(), display.GetVisibility2DFill()) == (1, 0)


def test_surfaces_are_switched_on_and_off(panel: Panel, result: Any) -> None:
    import slicer

    view = slicer.app.layoutManager().threeDWidget(0).threeDView()
    resets = view.resets
    panel.click("show3DButton")
    segmentation = result.GetSegmentation()
    for name in REGIONS:
        surface = segmentation.GetSegment(segmentation.GetSegmentIdBySegmentName(name))
        assert surface.GetRepresentation("Closed surface").GetNumberOfPoints() > 100
    assert result.GetDisplayNode().GetVisibility3D()
    assert view.resets == resets + 1
    panel.click("show3DButton")
    assert not segmentation.ContainsRepresentation("Closed surface")


def test_jump_to_a_lesion(panel: Panel, result: Any, patient: samples.Patient) -> None:
    import slicer

    assert panel.ui.lesionSelector.count == 1
    slices = [slicer.app.layoutManager().sliceWidget(name).mrmlSliceNode() for name in ("Red", "Yellow", "Green")]
    for node in slices:
        node.SetSliceOffset(-400)
    panel.click("jumpButton")
    voxel = np.argwhere(patient.labels.array > 0).mean(0)[::-1]
    place = (patient.labels.affine @ [*voxel, 1])[:3]
    for node, axis in zip(slices, (2, 0, 1), strict=True):  # axial, sagittal, coronal
        assert node.GetSliceToRAS().GetElement(axis, 3) == pytest.approx(place[axis], abs=1.5)


def test_on_to_the_segment_editor(panel: Panel, result: Any) -> None:
    import slicer

    module = slicer.modules.segmenteditor
    opened = module.opened
    panel.click("editButton")
    assert module.opened == opened + 1
    assert module.editor.segmentation is result
    assert module.editor.volume is panel.ui.t1ceSelector.currentNode()
    choices = module.editor.mrmlSegmentEditorNode()
    assert choices.GetOverwriteMode() == choices.OverwriteNone, "ET is painted over TC and WT, not instead of them"
    slicer.util.selectModule("BrainTumorSeg")


def test_comparison_with_a_reference(panel: Panel, result: Any, truth: Any) -> None:
    assert not panel.ui.compareButton.enabled
    panel.ui.referenceSelector.setCurrentNode(truth)
    panel.click("compareButton")
    header, *rows = panel.table("comparisonTable")
    assert [row[0] for row in rows] == list(REGIONS)
    column = next(index for index, title in enumerate(header) if title.lower().startswith("dice"))
    assert [row[column] for row in rows] == ["1.000"] * 3


def test_a_comparison_stays_until_it_is_not_of_these_two(panel: Panel, result: Any, truth: Any) -> None:
    """Parameters may change, here and elsewhere; an edit or another one of either empties it."""
    import slicer

    panel.ui.referenceSelector.setCurrentNode(truth)
    panel.click("compareButton")
    panel.ui.probabilitiesCheckBox.checked = True
    panel.ui.t1Selector.setCurrentNode(None)
    panel.widget.logic.getParameterNode().surfaces = True
    slicer.util.selectModule("SegmentEditor")
    slicer.util.selectModule("BrainTumorSeg")
    assert panel.ui.comparisonTable.rowCount == 3
    identifier = result.GetSegmentation().GetSegmentIdBySegmentName("ET")
    reference = panel.ui.t1ceSelector.currentNode()
    voxels = slicer.util.arrayFromSegmentBinaryLabelmap(result, identifier, reference).copy()
    voxels[:, :, : voxels.shape[2] // 2] = 0
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, result, identifier, reference)
    panel.wait_until(lambda: panel.ui.comparisonTable.rowCount == 0, 10)
    panel.click("compareButton")
    assert panel.ui.comparisonTable.rowCount == 3
    slicer.util.updateVolumeFromArray(truth, np.ascontiguousarray(slicer.util.arrayFromVolume(truth)[::-1]))
    panel.wait_until(lambda: panel.ui.comparisonTable.rowCount == 0, 10)
    panel.click("compareButton")
    assert panel.ui.comparisonTable.rowCount == 3
    panel.ui.referenceSelector.setCurrentNode(None)
    assert panel.ui.comparisonTable.rowCount == 0


def test_comparison_across_grids(panel: Panel, result: Any, truth: Any, patient: samples.Patient) -> None:
    """The reference on a grid shifted by whole voxels gives the same Dice as arrays shifted by hand."""
    import slicer

    matrix = np.eye(4)
    matrix[2, 3] = 2
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    truth.SetAndObserveTransformNodeID(transform.GetID())
    measures = panel.widget.logic.compare(result, truth)
    for name, first in to_regions(patient.labels.array).items():
        second = np.roll(first, 2, axis=0)
        dice = 2 * (first & second).sum() / (first.sum() + second.sum())
        assert measures[name]["dice"] == pytest.approx(dice)


@pytest.mark.parametrize("value", [1, 255])
def test_a_mask_of_the_whole_tumour_as_a_reference(
    panel: Panel, result: Any, truth: Any, models: dict[str, Path], value: int
) -> None:
    """It tells all of a result that is the whole tumour alone, and nothing of the regions of another one."""
    import slicer

    slicer.util.updateVolumeFromArray(truth, (slicer.util.arrayFromVolume(truth) > 0).astype(np.uint8) * value)
    panel.ui.referenceSelector.setCurrentNode(truth)
    panel.click("compareButton")
    assert "truth holds labels" in (text := only_message(panel.desk).text)
    assert "convention" not in text, "it cannot be named here"
    assert not panel.ui.comparisonTable.visible
    with pytest.raises(InputError, match="truth holds labels"):
        panel.widget.logic.measurements(truth)
    flair = panel.ui.flairSelector.currentNode()
    whole = panel.widget.logic.segment(flair=flair, model=models["flair-only"], device="cpu", inProcess=True)
    assert {name: measures["dice"] for name, measures in panel.widget.logic.compare(whole, truth).items()} == {"WT": 1}


def test_a_segmentation_is_no_reference_for_itself(panel: Panel, result: Any) -> None:
    panel.ui.referenceSelector.setCurrentNode(result)
    if panel.ui.compareButton.enabled:
        panel.click("compareButton")
        assert "itself" in only_message(panel.desk).text
    else:
        assert "itself" in panel.ui.compareButton.toolTip


def test_any_segmentation_with_known_names_can_be_shown(panel: Panel, truth: Any) -> None:
    """Made by other software: the table comes from its segments; without known names it stays empty."""
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "foreign")
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(truth, node)
    panel.ui.resultSelector.setCurrentNode(node)
    assert panel.ui.resultsTable.rowCount == 0
    for name, label in zip(("NCR", "ED", "ET"), list(segment_names(node)), strict=True):
        identifier = node.GetSegmentation().GetSegmentIdBySegmentName(label)
        node.GetSegmentation().GetSegment(identifier).SetName(name)
    slicer.util.selectModule("SegmentEditor")
    slicer.util.selectModule("BrainTumorSeg")
    assert [row[0] for row in panel.table("resultsTable")[1:]] == ["ET", "TC", "WT", "NCR", "ED"]


def test_segments_that_cannot_be_measured_are_said_once(panel: Panel) -> None:
    """Contours, without the extension that makes label maps of them: a message, no table, and nothing uncaught."""
    import slicer
    import vtk

    node, segment = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "plan"), slicer.vtkSegment()
    segment.SetName("WT")
    segment.AddRepresentation("Planar contour", vtk.vtkPolyData())
    node.GetSegmentation().SetSourceRepresentationName("Planar contour")
    node.GetSegmentation().AddSegment(segment)
    panel.ui.resultSelector.setCurrentNode(node)
    assert "The segments of plan cannot be made label maps" in only_message(panel.desk).text
    slicer.util.selectModule("SegmentEditor")
    slicer.util.selectModule("BrainTumorSeg")
    panel.raise_uncaught()
    assert "cannot be made label maps" in only_message(panel.desk).text
    assert panel.ui.resultsTable.rowCount == 0


def test_the_log_can_be_copied(panel: Panel, result: Any) -> None:
    import slicer

    panel.click("copyDiagnosticsButton")
    text = slicer.app.clipboard().text()
    for word in ("BrainTumorSeg", "torch", "3D Slicer 5.12", "model exact"):
        assert word in text


def test_downloads_and_caches_are_cleared_when_confirmed(panel: Panel, home: Path) -> None:
    cache = home / "cache"
    cache.mkdir()
    (cache / "file").write_bytes(bytes(2_000_000))
    panel.desk.answer("Cancel")
    panel.click("clearCachesButton")
    assert cache.exists()
    panel.desk.answer("Ok")
    panel.click("clearCachesButton")
    assert not cache.exists()
    assert (home / "models" / "exact.safetensors").exists()
    assert "Freed 2.0 MB" in panel.ui.logText.plainText
    panel.desk.take()
