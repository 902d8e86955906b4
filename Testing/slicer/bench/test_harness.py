"""The harness refuses what PythonQt and Slicer refuse; else the tests of the module would prove little."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from .driving import Traces

pytestmark = pytest.mark.usefixtures("application")


@pytest.fixture
def label() -> Any:
    import qt

    return qt.QLabel("words")


def test_properties_are_attributes(label: Any) -> None:
    import qt

    assert label.text == "words"
    label.text = "others"
    label.enabled = False
    assert (label.text, label.enabled) == ("others", False)
    with pytest.raises(TypeError, match="not callable"):
        label.text()
    label.name = "title"
    assert label.objectName == "title"
    assert qt.QComboBox().count == 0


def test_wrong_values_and_unknown_attributes_are_refused(label: Any) -> None:
    import qt

    with pytest.raises(TypeError, match="QString"):
        label.text = 3
    with pytest.raises(TypeError, match="bool"):
        label.enabled = None
    with pytest.raises(AttributeError, match="no attribute 'txt'"):
        label.txt = "words"
    with pytest.raises(AttributeError):
        label.hasSelectedText = True
    with pytest.raises(AttributeError, match="QButton"):
        qt.QButton  # noqa: B018


def test_signals_go_by_signature_and_pass_what_the_slot_takes() -> None:
    import qt

    button, calls = qt.QPushButton(), []
    button.checkable = True
    button.connect("clicked()", lambda: calls.append("none"))
    button.connect("clicked(bool)", lambda checked: calls.append(checked))
    button.connect("toggled( bool )", lambda: calls.append("fewer"))
    button.click()
    assert sorted(map(str, calls)) == ["True", "fewer", "none"]
    for unknown in ("click()", "clicked(int)", "pressed(bool)"):
        with pytest.raises(AttributeError, match="no signal"):
            button.connect(unknown, print)


def test_a_slot_can_be_disconnected() -> None:
    import qt

    class Counter:
        count = 0

        def take(self) -> None:
            self.count += 1

    counter, button = Counter(), qt.QPushButton()
    button.connect("clicked()", counter.take)
    button.click()
    assert button.disconnect("clicked()", counter.take)
    button.click()
    assert counter.count == 1
    assert not button.disconnect("clicked()", counter.take)


def test_exceptions_in_slots_are_kept(application: Traces) -> None:
    import qt

    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    assert [type(error) for error in application.desk.uncaught] == [ZeroDivisionError]
    application.desk.uncaught.clear()


def test_questions_without_an_answer_fail(application: Traces) -> None:
    import slicer

    from Testing.slicer.harness.dialogs import UnexpectedDialogError

    with pytest.raises(UnexpectedDialogError):
        slicer.util.confirmYesNoDisplay("Sure?")
    application.desk.answer("No", "Yes")
    assert not slicer.util.confirmYesNoDisplay("Sure?")
    assert slicer.util.confirmYesNoDisplay("Sure?")
    slicer.util.errorDisplay("Broken", detailedText="here")
    shown = application.desk.take()
    assert [one.text for one in shown] == ["Sure?", "Sure?", "Sure?", "Broken"]
    assert shown[-1].details == "here"


def test_node_selectors_follow_the_scene() -> None:
    import slicer

    box, seen = slicer.qMRMLNodeComboBox(), []
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.noneEnabled = True
    box.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: seen.append(node and node.GetName()))
    box.setMRMLScene(slicer.mrmlScene)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "image")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "other")
    assert box.currentNode() is None
    assert box.nodeCount() == 1
    box.setCurrentNode(node)
    slicer.mrmlScene.RemoveNode(node)
    assert seen == ["image", None]
    box.noneEnabled = False
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "next")
    assert box.currentNode().GetName() == "next"
    with pytest.raises(AttributeError):
        box.currentNodeId = "x"
    box.setMRMLScene(None)


def test_parameters_of_unknown_types_are_refused(request: pytest.FixtureRequest) -> None:
    from Testing.slicer.harness import parameters

    class Pair:
        value: tuple[int, int]

    with pytest.raises(TypeError, match="not known to the test bench"):
        parameters.parameterNodeWrapper(Pair)

    class Taken:
        getValue: bool

    with pytest.raises(ValueError, match="taken"):
        parameters.parameterNodeWrapper(Taken)


@pytest.mark.parametrize(
    ("inner", "problem"),
    [
        ('<widget class="qMRMLNothing" name="x"/>', "class qMRMLNothing"),
        ('<widget class="QLabel" name="x"><property name="txt"><string>a</string></property></widget>', "property txt"),
    ],
)
def test_ui_files_with_unknown_things_are_refused(
    application: Traces, tmp_path: Path, inner: str, problem: str
) -> None:
    import slicer

    file = tmp_path / "x.ui"
    layout = f'<layout class="QVBoxLayout" name="l"><item>{inner}</item></layout>'
    file.write_text(f'<ui version="4.0"><class>P</class><widget class="QWidget" name="P">{layout}</widget></ui>')
    with pytest.raises((ValueError, RuntimeError), match=problem):
        slicer.util.loadUI(str(file))
    application.desk.uncaught.clear()  # Qt has complained too
