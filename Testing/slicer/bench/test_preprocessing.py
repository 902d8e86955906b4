"""Raw scans in the panel: what is said of them, what a run leaves of their way to the network, and where."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .driving import Panel, Traces, only_message, remove, snapshot
from .test_alignment import layers
from .test_inputs import add_volume, choose, info, line

AUTOMATIC, NONE, ALWAYS = range(3)


def add_head(name: str, spacing: float = 4.0) -> Any:
    """Brain, bone without signal and skin around it, in air: spheres of 70, 80 and 86 mm."""
    import slicer

    steps = np.arange(-100, 100, spacing)
    distance = np.sqrt(sum(axis**2 for axis in np.meshgrid(steps, steps, steps, indexing="ij")))
    tissue = 300 + np.random.default_rng(0).integers(-20, 20, distance.shape)
    values = np.select([distance < 70, distance < 80, distance < 86], [tissue, 20, 800], 0).astype(np.int16)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = -100
    return slicer.util.addVolumeFromArray(values, affine, name)


def brain_of(head: Any) -> np.ndarray:
    """Where the brain of :func:`add_head` lies."""
    import slicer

    return np.asarray(np.abs(slicer.util.arrayFromVolume(head) - 300) <= 20)


@pytest.fixture
def pair(application: Traces) -> dict[str, Any]:
    """T1ce and FLAIR of a synthetic patient who has moved between them, in one study."""
    import slicer

    from BrainTumorSegLib.phantom import make_phantom

    images = make_phantom(shape=(40, 60, 60)).case.images
    turn, angle = np.eye(4), np.radians(6)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:3, 3] = 4, -3, 2
    nodes = {
        "t1ce": slicer.util.addVolumeFromArray(images["t1ce"].array, images["t1ce"].affine, "P1 T1ce"),
        "flair": slicer.util.addVolumeFromArray(images["flair"].array, turn @ images["flair"].affine, "P1 FLAIR"),
    }
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = tree.CreateStudyItem(tree.CreateSubjectItem(tree.GetSceneItemID(), "Patient A"), "Day 1")
    for node in nodes.values():
        tree.SetItemParent(tree.GetItemByDataNode(node), study)
    return {**nodes, "motion": turn, "study": study}


def test_heads_are_no_obstacle_and_say_so(panel: Panel) -> None:
    panel.choose_model("brats-segresnet")
    choose(panel, t1ce=add_head("a"), flair=add_head("b"))
    assert info(panel, "t1ce") == "Reference: the result lies on its grid. It will be skull-stripped."
    assert info(panel, "flair") == "Same grid as T1ce: will be registered and skull-stripped."
    choose(panel, flair=add_head("c", 5.0))
    assert info(panel, "flair") == "Another grid than T1ce: will be registered and skull-stripped."
    assert panel.ui.applyButton.enabled
    panel.ui.preprocessingSelector.currentIndex = NONE
    assert info(panel, "flair") == (
        "Another grid than T1ce: will be resampled. It shows a whole head, and will not be skull-stripped."
    )
    panel.choose_model("lgg-unet")
    assert info(panel, "flair") == "Another grid than T1ce: will be resampled.", "this one knows whole heads"
    panel.ui.preprocessingSelector.currentIndex = AUTOMATIC
    assert info(panel, "flair") == "Another grid than T1ce: will be registered."


def test_a_part_of_a_head_says_that_it_stays_where_it_is(panel: Panel) -> None:
    import slicer

    panel.choose_model("brats-segresnet")
    head = add_head("a")
    inner = slicer.util.arrayFromVolume(head)[15:35, 15:35, 15:35].copy()
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = -40
    choose(panel, t1ce=head, flair=slicer.util.addVolumeFromArray(inner, affine, "b"))
    assert info(panel, "t1ce") == "Reference: the result lies on its grid. It will be skull-stripped."
    assert info(panel, "flair").startswith("Another grid than T1ce: will be resampled.")
    assert line(panel, "flair") == "It shows a part of a head, and will not be registered."


def test_what_a_run_leaves_of_raw_scans(panel: Panel, pair: dict[str, Any]) -> None:
    """The transform undoes the motion, the registered images lie over each other, all in the study of the reference;
    the scans stay as they were, and the check of the alignment shows them where they belong."""
    import slicer

    from BrainTumorSegLib.io import mrml

    panel.choose_model("flair-only")
    nodes = {name: pair[name] for name in ("t1ce", "flair")}
    choose(panel, **nodes)
    places = {name: mrml.affine_of(node) for name, node in nodes.items()}
    panel.ui.preprocessingSelector.currentIndex = ALWAYS
    panel.ui.brainCheckBox.checked = True
    panel.ui.registeredCheckBox.checked = True
    result = panel.segment()
    panel.desk.take()

    transform = slicer.util.getNode("P1 FLAIR to T1ce")
    matrix = slicer.util.arrayFromTransformMatrix(transform)
    np.testing.assert_allclose(matrix @ pair["motion"], np.eye(4), atol=1.0)
    for name, node in nodes.items():
        np.testing.assert_array_equal(mrml.affine_of(node), places[name])
    registered = [slicer.util.getNode(f"P1 {name} registered") for name in ("T1ce", "FLAIR")]
    first, second = (slicer.util.arrayFromVolume(node) for node in registered)
    assert mrml.alignment(*registered) is mrml.Alignment.SAME
    assert np.corrcoef((first > 0).ravel(), (second > 0).ravel())[0, 1] > 0.9
    assert all(mrml.alignment(node, nodes["t1ce"]) is not mrml.Alignment.APART for node in registered)
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    for node in (result, transform, *registered):
        assert tree.GetItemParent(tree.GetItemByDataNode(node)) == pair["study"]
    moves = json.loads(result.GetAttribute("BrainTumorSeg.provenance"))["alignment"]["moves"]
    np.testing.assert_allclose(moves["flair"]["matrix"], matrix)

    panel.click("alignmentButton")
    overlay = slicer.mrmlScene.GetNodeByID(layers()[0][1])
    np.testing.assert_allclose(mrml.affine_of(overlay), matrix @ places["flair"], atol=1e-6)
    panel.click("alignmentButton")


def test_a_transform_takes_the_place_of_the_scans_own(panel: Panel, pair: dict[str, Any], logic: Any) -> None:
    """The scan is under one when it is registered, and the reference is put under another one meanwhile."""
    import slicer

    from BrainTumorSegLib.io import mrml

    transforms = [slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode") for _ in range(2)]
    for number, transform in enumerate(transforms, start=1):
        motion = np.eye(4)
        motion[:3, 3] = 3 * number, -2, 1
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(motion))
    scan, reference = pair["flair"], pair["t1ce"]
    scan.SetAndObserveTransformNodeID(transforms[0].GetID())
    run = logic.segment(
        t1ce=reference, flair=scan, model="flair-only", preprocess="register", registered=True, brain=True, wait=False
    )
    reference.SetAndObserveTransformNodeID(transforms[1].GetID())
    run.result()
    scan.SetAndObserveTransformNodeID(run.transform_nodes["flair"].GetID())
    unmoved = mrml.affine_of(reference) @ np.linalg.inv(pair["motion"] @ mrml.own_affine(reference))
    np.testing.assert_allclose(mrml.affine_of(scan), unmoved @ mrml.own_affine(scan), atol=1.0)
    centre = [*np.divide(slicer.util.arrayFromVolume(reference).shape[::-1], 2), 1]
    for node in (run.brain_node, run.registered_nodes["t1ce"]):
        middle = [*np.divide(slicer.util.arrayFromVolume(node).shape[::-1], 2), 1]
        there = mrml.affine_of(node) @ middle
        np.testing.assert_allclose(there, mrml.affine_of(reference) @ centre, atol=3)


def test_a_cancelled_registration_leaves_the_scene_as_it_was(
    application: Traces, panel: Panel, pair: dict[str, Any]
) -> None:
    panel.choose_model("flair-only")
    choose(panel, t1ce=pair["t1ce"], flair=pair["flair"])
    panel.ui.preprocessingSelector.currentIndex = ALWAYS
    panel.ui.registeredCheckBox.checked = True
    before = snapshot()
    panel.click("applyButton")
    panel.wait_for("Registering")
    panel.click("cancelButton")
    panel.wait_to_end()
    assert panel.ui.statusLabel.text == "Cancelled."
    assert snapshot() == before
    assert not application.left_files()


def test_a_brain_mask_takes_the_place_of_an_extraction(panel: Panel, models: dict[str, Path], logic: Any) -> None:
    """A mask on another grid than the reference; the panel's and the console's are the same."""
    import slicer

    from BrainTumorSegLib.domain.grid import Grid
    from BrainTumorSegLib.io import mrml
    from BrainTumorSegLib.preprocessing.resampling import onto

    head = add_head("a")
    fine = add_head("mask", 2.0)
    inside = brain_of(fine).astype(np.uint8)
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = -100
    mask = slicer.util.addVolumeFromArray(inside, affine, "brain by hand", "vtkMRMLLabelMapVolumeNode")
    remove(fine)
    panel.choose_model("brats-segresnet")
    choose(panel, flair=head)
    panel.ui.brainMaskSelector.setCurrentNode(mask)
    panel.ui.brainCheckBox.checked = True
    panel.segment()
    panel.desk.take()
    found = mrml.mask_of(slicer.util.getNode("a brain"))
    here = onto(found.array, Grid.of(found), mrml.grid_of_volume(head), nearest=True) > 0
    expected = brain_of(head)
    assert np.count_nonzero(here != expected) < 0.06 * np.count_nonzero(expected)
    run = logic.segment(flair=head, model="brats-segresnet", brainMask="brain by hand", brain=True, wait=False)
    run.result()
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(run.brain_node), found.array)


def test_a_brain_mask_in_the_scene_is_no_obstacle_to_a_model_of_whole_heads(panel: Panel) -> None:
    """It is left out, and that is said; what is said of the images is what is done without it."""
    import slicer

    from BrainTumorSegLib.io import mrml

    head = add_head("a")
    brain = brain_of(head).astype(np.uint8)
    mask = slicer.util.addVolumeFromArray(brain, mrml.affine_of(head), "brain", "vtkMRMLLabelMapVolumeNode")
    panel.choose_model("brats-segresnet")
    choose(panel, flair=head)
    panel.ui.brainMaskSelector.setCurrentNode(mask)
    told = panel.ui.imagesInfoLabel
    assert told.text == "The result lies on the grid of FLAIR. FLAIR will be skull-stripped."
    panel.choose_model("lgg-unet")
    assert told.text == (
        "The result lies on the grid of FLAIR. The model takes whole heads, so the brain mask is not used."
    )
    panel.desk.answer("Yes")  # to its licence
    assert panel.segment() is not None
    panel.desk.take()
    panel.choose_model("brats-segresnet")
    assert "not used" not in told.text and panel.ui.brainMaskSelector.currentNode() is mask


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"preprocess": "always"}, "Unknown preprocess"),
        ({"brainExtraction": "bet"}, "Unknown brain extraction"),
        ({"brainMask": "no such node"}, "neither a node nor a file"),
        ({"brainMask": "scan"}, "is no label volume"),
    ],
)
def test_options_that_cannot_be_used(logic: Any, options: dict[str, Any], words: str) -> None:
    from BrainTumorSegLib.domain.errors import BrainTumorSegError

    scan = add_volume("scan")
    before = snapshot()
    with pytest.raises(BrainTumorSegError, match=words):
        logic.segment(flair=scan, model="lgg-unet", **options)
    assert snapshot() == before


def test_the_choices_are_kept_with_the_scene(panel: Panel, tmp_path: Path) -> None:
    import slicer

    panel.ui.preprocessingSelector.currentIndex = ALWAYS
    panel.ui.brainExtractionSelector.currentIndex = 1
    panel.ui.registeredCheckBox.checked = True
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    slicer.mrmlScene.Clear(0)
    assert panel.ui.preprocessingSelector.currentIndex == AUTOMATIC
    assert not panel.ui.registeredCheckBox.checked
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    panel.raise_uncaught()
    assert panel.ui.preprocessingSelector.currentIndex == ALWAYS
    assert panel.ui.brainExtractionSelector.currentText == "Included network"
    assert panel.ui.registeredCheckBox.checked


def test_undo_while_the_alignment_is_shown(panel: Panel, case: Path) -> None:
    import slicer

    nodes = panel.load(case)
    slicer.mrmlScene.SetUndoOn()
    try:
        slicer.mrmlScene.SaveStateForUndo()
        panel.click("alignmentButton")
        slicer.mrmlScene.Undo()
        panel.raise_uncaught()
        panel.click("alignmentButton")
        assert panel.ui.t1ceSelector.currentNode() is nodes["t1ce"]
        assert panel.segment() is not None
    finally:
        slicer.mrmlScene.SetUndoOff()
    panel.desk.take()


def test_a_method_that_is_not_installed(panel: Panel) -> None:
    """SynthStrip is asked for where there is none: one message that says what to do, and the scene stays."""
    panel.choose_model("brats-segresnet")
    choose(panel, flair=add_head("a"))
    panel.ui.brainExtractionSelector.currentIndex = 3
    before = snapshot()
    panel.click("applyButton")
    panel.wait_to_end()
    assert "SynthStrip" in only_message(panel.desk).text
    assert snapshot() == before
