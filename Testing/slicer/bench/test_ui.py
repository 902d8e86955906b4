"""The .ui file and the code agree on the widgets."""

from __future__ import annotations

import ast
import re
import typing
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from Testing.slicer.harness.module import ROOT

from .driving import Panel, Traces

MODULE = ROOT / "BrainTumorSeg"
UI = MODULE / "Resources" / "UI" / "BrainTumorSeg.ui"
# What Slicer's wrapper can bind: widget → kinds of parameters.
BINDABLE = {
    "QCheckBox": {"bool"}, "QComboBox": {"enum"}, "qMRMLNodeComboBox": {"node"}, "QLineEdit": {"str"},
    "QSpinBox": {"int"}, "QDoubleSpinBox": {"float", "int"}, "ctkSliderWidget": {"float", "int"},
    "ctkPathLineEdit": {"path"},
}  # fmt: skip
INTERACTIVE = {"QPushButton", "QComboBox", "QCheckBox", "qMRMLNodeComboBox", "ctkPathLineEdit"}


@pytest.fixture(scope="module")
def tree() -> ElementTree.Element:
    return ElementTree.parse(UI).getroot()


def parameter_of(widget: ElementTree.Element) -> str | None:
    return widget.findtext("property[@name='SlicerParameterName']/string")


def kind_of(annotation: object) -> str:
    import enum

    import slicer

    if isinstance(annotation, type):
        for base, kind in ((slicer.vtkMRMLNode, "node"), (enum.Enum, "enum"), (Path, "path")):
            if issubclass(annotation, base):
                return kind
        return annotation.__name__
    return str(annotation)


def python_files() -> list[Path]:
    return sorted(MODULE.rglob("*.py"))


def uses_of_ui() -> Iterator[tuple[str, str]]:
    """File and name, wherever code says ``….ui.NAME`` or ``….​_ui.NAME`` or ``ui.NAME``."""
    for file in python_files():
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Attribute):
                owner = node.value
                name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
                if name in ("ui", "_ui"):
                    yield f"{file.name}:{node.lineno}", node.attr


@pytest.mark.usefixtures("application")
def test_parameters_of_the_ui_exist_and_can_be_bound(tree: ElementTree.Element) -> None:
    import BrainTumorSeg

    source = (MODULE / "BrainTumorSeg.py").read_text("utf-8")
    declared = next(
        node for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and "ParameterNode" in node.name
    )
    names = {part.target.id: part for part in declared.body if isinstance(part, ast.AnnAssign)}  # type: ignore[union-attr]
    types = {name: eval(ast.unparse(part.annotation), vars(BrainTumorSeg)) for name, part in names.items()}
    bound = [(widget, parameter_of(widget)) for widget in tree.iter("widget") if parameter_of(widget)]
    assert {name for _, name in bound} == set(types), "each parameter has one widget"
    assert len(bound) == len(types)
    for widget, name in bound:
        cls = widget.attrib["class"]
        assert kind_of(types[str(name)]) in BINDABLE[cls], f"{name}: {types[str(name)]} in a {cls}"


def test_every_widget_named_in_code_exists(tree: ElementTree.Element) -> None:
    named = {widget.attrib["name"] for kind in ("widget", "layout", "action") for widget in tree.iter(kind)}
    used = list(uses_of_ui())
    assert len(used) > 50
    assert not [f"{where}: {name}" for where, name in used if name not in named]


def test_names_are_unique_and_speak(tree: ElementTree.Element) -> None:
    names = [widget.attrib["name"] for widget in tree.iter("widget")]
    assert len(names) == len(set(names))
    assert not [name for name in names if re.search(r"_\d+$", name)], "names that Qt Designer made up"


def test_every_node_selector_is_linked_to_the_scene(tree: ElementTree.Element) -> None:
    selectors = {w.attrib["name"] for w in tree.iter("widget") if w.attrib["class"] == "qMRMLNodeComboBox"}
    linked = {
        one.findtext("receiver")
        for one in tree.iter("connection")
        if one.findtext("slot", "").startswith("setMRMLScene")
    }
    assert selectors == linked


def test_everything_to_click_says_what_it_does(panel: Panel, tree: ElementTree.Element) -> None:
    names = [w.attrib["name"] for w in tree.iter("widget") if w.attrib["class"] in INTERACTIVE]
    assert not [name for name in names if not getattr(panel.ui, name).toolTip.strip()]


def test_words_are_translatable(tree: ElementTree.Element) -> None:
    """Texts a person reads may not be marked as not to be translated, and the code passes its own through ``_``."""
    for widget in tree.iter("widget"):
        for text in widget.findall("property[@name='text']/string") + widget.findall(
            "property[@name='toolTip']/string"
        ):
            assert text.get("notr") != "true" or not (text.text or "").strip(), widget.attrib["name"]


def test_enumerators_are_spelt_as_pythonqt_has_them() -> None:
    """``qt.Qt.AlignLeft``: PySide6 also knows ``qt.Qt.AlignmentFlag.AlignLeft``, PythonQt does not."""
    import enum

    import qt

    found = []
    for file in python_files():
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.Attribute):
                continue
            text = ast.unparse(node)
            parts = text.split(".")
            if len(parts) == 4 and parts[0] == "qt":
                scope = getattr(getattr(qt, parts[1], None), parts[2], None)
                if isinstance(scope, enum.EnumMeta):
                    found.append(f"{file.name}:{node.lineno} {text}")
    assert not found


@pytest.mark.usefixtures("application")
def test_real_types_of_the_wrapper(application: Traces) -> None:
    """Annotations are plain classes: a parameter that the application could not keep would fail only there."""
    import BrainTumorSeg

    wrapper: Any = BrainTumorSeg.BrainTumorSegParameterNode
    assert set(wrapper.allParameters) >= {"t1", "t1ce", "t2", "flair"}
    assert not [name for name in wrapper.allParameters if typing.get_origin(name)]


def test_the_panel_leaves_room_for_the_views(panel: Panel) -> None:
    """Slicer's smallest screen is 1366 pixels wide; a list as wide as its longest text would take half of it."""
    import ctk
    import slicer

    shell = slicer.modules.braintumorseg.widgetRepresentation()
    for part in shell.findChildren(ctk.ctkCollapsibleButton):
        part.collapsed = False
    for _ in range(3):
        slicer.app.processEvents()
    assert shell.minimumSizeHint().width() < 1366 / 3


def test_labels_that_show_texts_of_files_show_them_as_they_are(tree: ElementTree.Element) -> None:
    """Names of nodes come from headers: taken for rich text, they could hold pictures and links."""
    shown = {}
    for widget in tree.iter("widget"):
        if widget.get("class") == "QLabel":
            values = {part.get("name"): "".join(part.itertext()).strip() for part in widget.findall("property")}
            if not values["text"]:
                shown[widget.get("name")] = values.get("textFormat")
    assert len(shown) >= 8 and set(shown.values()) == {"Qt::PlainText"}, shown


def test_messages_about_names_with_tags_are_no_rich_text(bench: SimpleNamespace) -> None:
    from BrainTumorSegPanel.widgets import plain
    from PySide6.QtGui import Qt

    for name in ("<img src='file://host/x'>.nii.gz", "a <b>b</b>", "&lt;img&gt;", "<p>"):
        assert Qt.mightBeRichText(name) or "&gt;" in name
        assert not Qt.mightBeRichText(plain(f"{name} cannot be read.")) and plain(name).replace("\u2060", "") == name
    assert plain("P1_t1.nii.gz does not exist.") == "P1_t1.nii.gz does not exist."
