"""Check alignment: what it lays over the reference, and that it takes it away again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .driving import Panel, bend, snapshot
from .test_inputs import add_volume, choose


def layers() -> list[tuple[Any, ...]]:
    """Background, foreground and its opacity of every slice view."""
    import slicer

    manager = slicer.app.layoutManager()
    found = [manager.sliceWidget(name).mrmlSliceCompositeNode() for name in manager.sliceViewNames()]
    return [(one.GetBackgroundVolumeID(), one.GetForegroundVolumeID(), one.GetForegroundOpacity()) for one in found]


def over(panel: Panel, name: str) -> None:
    """Choose what is laid over the reference."""
    box = panel.ui.alignmentSelector
    box.currentIndex = [box.itemData(index) for index in range(box.count)].index(name)


def learn(panel: Panel, scan: Any, reference: Any, moved: np.ndarray) -> None:
    """As a run does that has registered a scan."""
    from BrainTumorSegPanel.alignment import Moved

    from BrainTumorSegLib.io import mrml

    place = Moved(mrml.affine_of(scan), mrml.affine_of(reference), moved)
    panel.widget.alignment.learn({(scan.GetID(), reference.GetID()): place})


def test_it_needs_two_images(panel: Panel) -> None:
    assert not panel.ui.alignmentButton.enabled
    choose(panel, t1ce=add_volume("a"))
    assert not panel.ui.alignmentButton.enabled
    choose(panel, flair=add_volume("b"))
    assert panel.ui.alignmentButton.enabled
    assert panel.ui.alignmentSelector.currentText == "FLAIR"


def test_a_second_click_restores_what_was_shown(panel: Panel) -> None:
    import slicer

    nodes = {name: add_volume(name) for name in ("t1ce", "t2", "flair")}
    shown, other = add_volume("shown before"), add_volume("over it")
    choose(panel, **nodes)
    slicer.util.setSliceViewerLayers(background=shown, foreground=other, foregroundOpacity=0.2)
    before, scene = layers(), snapshot()
    panel.click("alignmentButton")
    assert layers() == [(nodes["t1ce"].GetID(), nodes["t2"].GetID(), 0.5)] * 3
    over(panel, "flair")
    assert layers() == [(nodes["t1ce"].GetID(), nodes["flair"].GetID(), 0.5)] * 3
    panel.click("alignmentButton")
    assert layers() == before
    assert snapshot() == scene
    over(panel, "t2")
    assert layers() == before, "nothing is shown before the next click"


def test_other_choices_while_it_is_shown(panel: Panel) -> None:
    """Another reference comes below; an image that is not chosen any more goes, and so does one that was removed."""
    import slicer

    nodes = {name: add_volume(name) for name in ("t1ce", "t2", "flair")}
    choose(panel, **nodes)
    before = layers()
    panel.click("alignmentButton")
    choose(panel, t1ce=None)
    assert layers()[0][:2] == (nodes["flair"].GetID(), nodes["t2"].GetID())
    choose(panel, t2=None)
    assert not panel.ui.alignmentButton.checked
    assert layers() == before
    choose(panel, **nodes)
    over(panel, "t2")
    panel.click("alignmentButton")
    slicer.mrmlScene.RemoveNode(nodes["t2"])
    assert not panel.ui.alignmentButton.checked
    assert layers() == before


def test_closing_the_scene_takes_it_away(panel: Panel) -> None:
    import slicer

    choose(panel, t1ce=add_volume("a"), flair=add_volume("b"))
    before = layers()
    panel.click("alignmentButton")
    slicer.mrmlScene.Clear(0)
    panel.raise_uncaught()
    assert not panel.ui.alignmentButton.checked
    assert not panel.ui.alignmentButton.enabled
    assert {layer[2] for layer in layers()} == {before[0][2]}


def test_leaving_and_ending_the_module(panel: Panel) -> None:
    import slicer

    choose(panel, t1ce=add_volume("a"), flair=add_volume("b"))
    before = layers()
    panel.click("alignmentButton")
    slicer.util.selectModule("SegmentEditor")
    assert layers() != before, "another module is a way to look on"
    slicer.modules.braintumorseg.close()
    assert layers() == before


def test_views_that_show_something_else_keep_it(panel: Panel) -> None:
    """A run ends while another module is open, which has put its own images into one of the views."""
    import slicer

    reference, scan = add_volume("a"), add_volume("b")
    other, over_it = add_volume("of another module"), add_volume("over that")
    choose(panel, t1ce=reference, flair=scan)
    before = layers()
    panel.click("alignmentButton")
    slicer.util.selectModule("SegmentEditor")
    red = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    red.SetBackgroundVolumeID(other.GetID())
    red.SetForegroundVolumeID(over_it.GetID())
    red.SetForegroundOpacity(0.3)
    learn(panel, scan, reference, np.eye(4))
    after = layers()
    assert (other.GetID(), over_it.GetID(), 0.3) in after
    assert sorted(map(str, after)) == sorted(map(str, [*before[1:], (other.GetID(), over_it.GetID(), 0.3)]))
    assert not panel.ui.alignmentButton.checked


def test_a_scan_is_shown_where_a_run_has_put_it(panel: Panel) -> None:
    """A copy with the same voxels, hidden and unsaved, that goes with the overlay; the scan itself stays."""
    import slicer

    reference, scan = add_volume("a"), add_volume("b")
    choose(panel, t1ce=reference, flair=scan)
    scene = snapshot()
    moved = np.array([[1, 0, 0, 7.0], [0, 1, 0, -3], [0, 0, 1, 2], [0, 0, 0, 1]])
    learn(panel, scan, reference, moved)
    panel.click("alignmentButton")
    copy = slicer.mrmlScene.GetNodeByID(layers()[0][1])
    assert copy is not scan
    assert copy.GetHideFromEditors()
    assert not copy.GetSaveWithScene()
    assert copy.GetImageData() is scan.GetImageData()
    matrix = slicer.util.vtkMatrixFromArray(np.eye(4))
    copy.GetIJKToRASMatrix(matrix)
    np.testing.assert_allclose(slicer.util.arrayFromVTKMatrix(matrix), moved)
    panel.click("alignmentButton")
    assert snapshot() == scene
    scan.SetOrigin(1, 2, 3)
    panel.click("alignmentButton")
    assert layers()[0][1] == scan.GetID(), "it was moved since, and is shown where it lies"
    panel.click("alignmentButton")


@pytest.mark.parametrize("moves", ["by hand", "under a transform that is not linear"])
def test_a_scan_that_is_moved_meanwhile_is_shown_where_it_lies(panel: Panel, moves: str) -> None:
    reference, scan = add_volume("a"), add_volume("b")
    choose(panel, t1ce=reference, flair=scan)
    learn(panel, scan, reference, np.eye(4))
    panel.click("alignmentButton")
    copy = layers()[0][1]
    assert copy != scan.GetID()
    if moves == "by hand":
        scan.SetOrigin(1, 2, 3)
    else:
        bend(scan)
    panel.raise_uncaught()
    assert layers()[0][1] == scan.GetID()
    assert copy not in snapshot()
    panel.click("alignmentButton")


def test_a_scene_that_is_saved_meanwhile_holds_no_copy(panel: Panel, tmp_path: Path) -> None:
    import slicer

    reference, scan = add_volume("a"), add_volume("b")
    choose(panel, t1ce=reference, flair=scan)
    learn(panel, scan, reference, np.eye(4))
    panel.click("alignmentButton")
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    panel.raise_uncaught()
    names = [node.GetName() for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")]
    assert sorted(names) == ["a", "b"]
    assert panel.ui.flairSelector.currentNode().GetName() == "b"
    assert not panel.ui.alignmentButton.checked
    assert panel.ui.alignmentButton.enabled
