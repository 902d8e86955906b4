"""Choosing the images: by name, DICOM tags, folder and drop; what is said of each; what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .driving import SEQUENCES, Panel, bend, only_message, snapshot

REFERENCE = "Reference: the result lies on its grid."


def add_volume(name: str, shape: tuple[int, ...] = (8, 9, 10), origin: float = 0.0, spacing: float = 1.0) -> Any:
    """A volume node of random values; ``shape`` in the order ``(z, y, x)``."""
    import slicer

    values = np.random.default_rng(0).integers(0, 500, shape).astype(np.int16)
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[0, 3] = origin
    return slicer.util.addVolumeFromArray(values, affine, name)


def choose(panel: Panel, **nodes: Any) -> None:
    for modality, node in nodes.items():
        getattr(panel.ui, f"{modality}Selector").setCurrentNode(node)


def info(panel: Panel, modality: str) -> str:
    """How an image lies and why it was chosen: the second line of its selector's tool tip."""
    return str(getattr(panel.ui, f"{modality}Selector").toolTip).partition("\n")[2].replace("\u2060", "")


def line(panel: Panel, modality: str) -> str:
    """What stands below its selector."""
    return str(getattr(panel.ui, f"{modality}InfoLabel").text)


def chosen(panel: Panel) -> dict[str, str | None]:
    nodes = {name: getattr(panel.ui, f"{name}Selector").currentNode() for name in SEQUENCES}
    return {name: node and node.GetName() for name, node in nodes.items()}


def test_nothing_is_chosen_at_first(panel: Panel) -> None:
    assert chosen(panel) == dict.fromkeys(SEQUENCES)
    assert not panel.ui.applyButton.enabled
    assert "Choose T1, T1ce, T2, FLAIR" in panel.ui.applyButton.toolTip
    assert all(info(panel, name) == "" for name in SEQUENCES)


def test_assignment_by_names(panel: Panel) -> None:
    for name in ("P1_t2", "P1_t1ce", "localizer", "P1_flair", "P1_t1"):
        add_volume(name)
    panel.click("assignButton")
    assert chosen(panel) == {"t1": "P1_t1", "t1ce": "P1_t1ce", "t2": "P1_t2", "flair": "P1_flair"}
    assert info(panel, "t1ce") == f"{REFERENCE} Assigned by its name."
    assert info(panel, "t2").startswith("Same grid as T1ce. Assigned by its name")
    assert panel.ui.applyButton.enabled
    choose(panel, t2=add_volume("another"))
    assert info(panel, "t2") == "Same grid as T1ce."


def test_assignment_by_dicom_tags(panel: Panel) -> None:
    """Series description first, then the contrast agent and the times."""
    import slicer

    series = {
        "6: Series": {"0008,103E": "t2_tse_tra"},
        "7: Series": {"0008,103E": "AX T1 post"},
        "8: Series": {"0018,0080": "9000", "0018,0081": "120", "0018,0082": "2500"},
        "9: Series": {"0018,0080": "500", "0018,0081": "10"},
    }
    for number, (name, tags) in enumerate(series.items()):
        add_volume(name).SetAttribute("DICOM.instanceUIDs", f"1.2.{number} 1.2.99")
        slicer.dicomDatabase.tags[f"1.2.{number}"] = tags
    panel.click("assignButton")
    assert chosen(panel) == {"t1": "9: Series", "t1ce": "7: Series", "t2": "6: Series", "flair": "8: Series"}
    assert "AX T1 post" in info(panel, "t1ce")
    assert "TI 2500 ms" in info(panel, "flair")


def test_names_that_say_nothing(panel: Panel) -> None:
    add_volume("image")
    panel.click("assignButton")
    assert "Choose the images by hand" in only_message(panel.desk).text
    assert chosen(panel) == dict.fromkeys(SEQUENCES)


def test_a_folder_is_loaded_and_assigned(panel: Panel, case: Path) -> None:
    nodes = panel.load(case)
    assert all(nodes.values())
    assert "file name" in info(panel, "flair")
    import slicer

    composite = slicer.app.layoutManager().sliceWidget("Red").mrmlSliceCompositeNode()
    assert composite.GetBackgroundVolumeID() == nodes["t1ce"].GetID()


def test_a_dropped_folder_is_loaded(panel: Panel, case: Path) -> None:
    import qt

    data = qt.QMimeData()
    data.setUrls([qt.QUrl.fromLocalFile(str(case))])
    point, flags = qt.QPoint(3, 3), (qt.Qt.CopyAction, data, qt.Qt.LeftButton, qt.Qt.NoModifier)
    for event in (qt.QDragEnterEvent(point, *flags), qt.QDropEvent(qt.QPointF(point), *flags)):
        qt.QApplication.sendEvent(panel.ui.dropLabel, event)
        assert event.isAccepted()
    panel.raise_uncaught()
    assert all(chosen(panel).values())


def test_a_folder_without_images(panel: Panel, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    before = snapshot()
    panel.desk.answer(str(tmp_path / "empty"))
    panel.click("loadFolderButton")
    assert "holds no file" in panel.desk.take()[-1].text
    assert snapshot() == before


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("A_t1", "A_flair", "B_t1", "B_flair"), "holds 2 cases, such as A"),
        (("imagesTr/BRATS_001", "imagesTr/BRATS_002"), "2 cases in imagesTr"),
    ],
)
def test_a_folder_of_several_patients(panel: Panel, tmp_path: Path, names: tuple[str, ...], words: str) -> None:
    for name in names:
        file = tmp_path / "root" / f"{name}.nii.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    before = snapshot()
    panel.desk.answer(str(tmp_path / "root"))
    panel.click("loadFolderButton")
    assert words in panel.desk.take()[-1].text
    assert snapshot() == before


def test_a_broken_file_loads_nothing(panel: Panel, case: Path) -> None:
    next(case.glob("*t2w*")).write_bytes(b"nothing of the kind")
    before = snapshot()
    panel.desk.answer(str(case))
    panel.click("loadFolderButton")
    assert "cannot be read" in panel.desk.take()[-1].text
    assert snapshot() == before


def test_the_sample_patient(panel: Panel, case: Path) -> None:
    from Testing.slicer.harness.neighbours import SampleDataLogic

    SampleDataLogic.folder = case
    panel.click("sampleButton")
    assert chosen(panel)["flair"] == "BraTS-GLI-00001-000-t2f"
    next(case.glob("*t2w*")).unlink()
    for folder in (case, None):  # Sample Data leaves out what cannot be downloaded
        SampleDataLogic.folder, before = folder, snapshot()
        panel.click("sampleButton")
        assert "The sample could not be downloaded. Connect" in only_message(panel.desk).text
        assert snapshot() == before


def test_how_an_image_lies(panel: Panel) -> None:
    """Same grid, another grid, far apart; and again when a volume is moved."""
    import slicer

    nodes = {name: add_volume(f"x_{name}") for name in ("t1", "t1ce", "t2", "flair")}
    choose(panel, **nodes)
    assert info(panel, "t1ce") == REFERENCE
    assert info(panel, "t1") == "Same grid as T1ce."
    choose(panel, t2=add_volume("finer", (16, 18, 20), spacing=0.5))
    assert info(panel, "t2") == "Another grid than T1ce: will be resampled."
    assert panel.ui.applyButton.enabled
    choose(panel, flair=add_volume("elsewhere", origin=500))
    assert info(panel, "flair") == "Far apart from T1ce."
    assert not panel.ui.applyButton.enabled
    assert "do not overlap" in panel.ui.applyButton.toolTip
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = slicer.util.vtkMatrixFromArray(np.array([[1, 0, 0, -500], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]))
    transform.SetMatrixTransformToParent(matrix)
    slicer.util.getNode("elsewhere").SetAndObserveTransformNodeID(transform.GetID())
    assert info(panel, "flair") == "Same grid as T1ce."
    assert panel.ui.applyButton.enabled


def test_every_change_of_an_image_is_seen_at_once(panel: Panel) -> None:
    """Its geometry, its voxels, its transform and the transform's matrix: the line and the button change together."""
    import slicer
    import vtk

    nodes = {name: add_volume(f"x_{name}") for name in ("t1", "t1ce", "t2", "flair")}
    choose(panel, **nodes)
    node, button = nodes["flair"], panel.ui.applyButton

    def is_apart() -> bool:
        assert button.enabled != (line(panel, "flair") == "Far apart from T1ce.")
        return not button.enabled

    assert not is_apart()
    node.SetOrigin(700, 0, 0)
    assert is_apart()
    node.SetOrigin(0, 0, 0)
    assert not is_apart()
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetAndObserveTransformNodeID(transform.GetID())
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(1, 3, 600)
    transform.SetMatrixTransformToParent(matrix)
    assert is_apart()
    slicer.mrmlScene.RemoveNode(transform)
    assert not is_apart()
    image = node.GetImageData()
    node.SetAndObserveImageData(None)
    assert "holds no image" in line(panel, "flair") and not button.enabled
    node.SetAndObserveImageData(image)
    assert not is_apart() and line(panel, "flair") == ""


def test_an_image_is_looked_at_again_when_its_voxels_change(panel: Panel) -> None:
    import slicer

    from .test_preprocessing import add_head, brain_of

    panel.choose_model("brats-segresnet")
    head = add_head("a")
    choose(panel, flair=head)
    assert "skull-stripped" in info(panel, "flair")
    voxels = slicer.util.arrayFromVolume(head)
    voxels[~brain_of(head)] = 0
    slicer.util.arrayFromVolumeModified(head)
    assert "skull-stripped" not in info(panel, "flair")


def test_a_line_stands_only_where_there_is_something_to_say(panel: Panel, case: Path) -> None:
    panel.load(case)
    assert [line(panel, name) for name in SEQUENCES] == [""] * 4
    assert not any(getattr(panel.ui, f"{name}InfoLabel").visible for name in SEQUENCES)
    assert panel.ui.imagesInfoLabel.text.startswith("All on T1ce's grid")


def test_a_wrong_assignment_is_seen_before_apply(panel: Panel) -> None:
    """T2 and FLAIR of a brain, exchanged by hand: both lines say so, and a right choice takes it away."""
    import slicer

    from BrainTumorSegLib.phantom import make_phantom

    images = make_phantom(1, (52, 80, 80)).case.images
    nodes = {name: slicer.util.addVolumeFromArray(i.array, i.affine, name) for name, i in images.items()}
    panel.choose_model("brats-ensemble")
    choose(panel, **nodes)
    assert [line(panel, name) for name in SEQUENCES] == [""] * 4
    choose(panel, t2=None, flair=nodes["t2"])
    choose(panel, t2=nodes["flair"])
    assert line(panel, "t2").startswith("It looks like FLAIR")
    assert line(panel, "flair").startswith("It looks like T2")
    assert "color" in panel.ui.t2InfoLabel.styleSheet
    assert panel.ui.applyButton.enabled, "a reader may know better"
    choose(panel, t2=None, flair=nodes["flair"])
    choose(panel, t2=nodes["t2"])
    assert [line(panel, name) for name in SEQUENCES] == [""] * 4


def _same_twice() -> dict[str, Any]:
    node = add_volume("x")
    return {"t1": node, "t1ce": node}


def _flat() -> dict[str, Any]:
    return {"flair": add_volume("x", (1, 9, 10))}


def _coloured() -> dict[str, Any]:
    import slicer

    node = slicer.util.addVolumeFromArray(
        np.zeros((8, 9, 10, 3), np.uint8), name="x", nodeClassName="vtkMRMLVectorVolumeNode"
    )
    return {"flair": node}


def _bent() -> dict[str, Any]:
    node = add_volume("x")
    bend(node)
    return {"flair": node}


def _empty() -> dict[str, Any]:
    import slicer

    return {"flair": slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "x")}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_same_twice, "x was given as T1 and as T1ce"),
        (_flat, "single slice"),
        (_coloured, "colour image"),
        (_bent, "not linear"),
        (_empty, "holds no image"),
    ],
)
def test_images_that_cannot_be_segmented(panel: Panel, logic: Any, make: Any, words: str) -> None:
    """The button says why before anything runs, and so does the logic."""
    from BrainTumorSegLib.domain.errors import BrainTumorSegError

    nodes = {"flair": add_volume("sound"), **make()}
    panel.choose_model("flair-only")
    choose(panel, **nodes)
    before = snapshot()
    assert not panel.ui.applyButton.enabled
    if make is _coloured:  # cannot even be chosen
        assert panel.ui.flairSelector.currentNode() is None
    else:
        assert words in panel.ui.applyButton.toolTip
    with pytest.raises(BrainTumorSegError, match=words) as caught:
        logic.segment(**nodes, model="flair-only", device="cpu")
    assert caught.value.remedy
    assert snapshot() == before


def test_a_model_that_needs_another_image(panel: Panel) -> None:
    choose(panel, flair=add_volume("x"))
    assert panel.ui.applyButton.toolTip == "Choose T1, T1ce, T2: the model “Model exact (exact)” needs it."
    panel.choose_model("flair-only")
    assert panel.ui.applyButton.enabled


@pytest.mark.parametrize("answer", ["Cancel", "Ok"])
def test_images_of_different_patients_ask_first(panel: Panel, case: Path, answer: str) -> None:
    import slicer

    nodes = panel.load(case)
    for number, node in enumerate(nodes.values()):
        node.SetAttribute("DICOM.instanceUIDs", f"3.{number}")
        slicer.dicomDatabase.tags[f"3.{number}"] = {"0010,0020": "ANNA" if number else "BERT"}
    panel.desk.answer(answer)
    panel.click("applyButton")
    text = only_message(panel.desk).text
    assert "different patients" in text
    assert "T1: BERT" in text
    panel.wait_to_end()
    made = panel.ui.resultSelector.currentNode()
    assert (made is not None) == (answer == "Ok")
    if made is not None:
        assert "different patients" in panel.ui.resultInfoLabel.text
        assert "different patients" in made.GetAttribute("BrainTumorSeg.provenance")
