"""The module ``qt``: Qt's classes in one flat namespace, as PythonQt offers them."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from types import ModuleType
from typing import Any

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from . import pythonqt
from .dialogs import DESK, Shown

_MODULES = (QtCore, QtGui, QtWidgets, QtUiTools)
# Class name in .ui files → the stand-in.
custom_widgets: dict[str, type] = {}


class UiLoader(QtUiTools.QUiLoader):
    """Loads .ui files, refusing what Qt would pass over: unknown classes, properties and links."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        for cls in custom_widgets.values():
            self.registerCustomWidget(cls)

    def load(self, device: QtCore.QFile, parent: Any = None) -> Any:
        """The top-level widget.

        Raises:
            ValueError: the file names a class, property, signal or slot that does not exist.
        """
        tree = ElementTree.fromstring(bytes(device.readAll().data()))
        flags, links = _take_flags(tree), _take_links(tree)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(tree))
        root = super().load(buffer, parent)
        if root is None:
            raise ValueError(f"{device.fileName()}: {self.errorString()}")
        named = {widget.objectName: widget for widget in (root, *root.findChildren(QtCore.QObject))}
        for element in tree.iter("widget"):
            _check_widget(element, named.get(element.attrib["name"]))
        for name, flag, value in flags:
            setattr(named[name], flag, value)
        for element in links:
            _link(element, named)
        return root


def _take_flags(tree: ElementTree.Element) -> list[tuple[str, str, int]]:
    """Properties of stand-ins that are sets of C++ flags, which Qt cannot know: widget, property, value."""
    found = []
    for widget in tree.iter("widget"):
        cls = custom_widgets.get(widget.attrib["class"])
        for declared in widget.findall("property"):
            names = declared.findtext("set")
            if cls is not None and names is not None:
                values = [getattr(cls, name.rpartition("::")[2]) for name in names.split("|")]
                found.append((widget.attrib["name"], declared.attrib["name"], sum(values)))
                widget.remove(declared)
    return found


def _take_links(tree: ElementTree.Element) -> list[ElementTree.Element]:
    """Connections from stand-ins; Qt makes the others itself."""
    ours = {widget.attrib["name"] for widget in tree.iter("widget") if widget.attrib["class"] in custom_widgets}
    connections = tree.find("connections")
    found = [] if connections is None else [one for one in connections if one.findtext("sender") in ours]
    for element in found:
        connections.remove(element)  # type: ignore[union-attr]
    return found


def _check_widget(element: ElementTree.Element, widget: Any) -> None:
    wanted = element.attrib["class"]
    if type(widget).__name__ != wanted:
        raise ValueError(f"{element.attrib['name']}: class {wanted} is not known here")
    for declared in element.findall("property"):
        name = declared.attrib["name"]
        if declared.attrib.get("stdset") != "0" and widget.metaObject().indexOfProperty(name) < 0:
            raise ValueError(f"{element.attrib['name']}: {wanted} has no property {name}")


def _link(element: ElementTree.Element, named: dict[str, Any]) -> None:
    sender, signal, receiver, slot = (element.findtext(part, "") for part in ("sender", "signal", "receiver", "slot"))
    if receiver not in named:
        raise ValueError(f"connection {sender} → {receiver}: no such widget")
    method = slot.split("(")[0]
    if not callable(getattr(named[receiver], method, None)):
        raise ValueError(f"connection to {receiver}: no slot {slot}")
    pythonqt.connect(named[sender], signal, getattr(named[receiver], method))


def _message_box_exec(box: QtWidgets.QMessageBox) -> int:
    details = QtWidgets.QMessageBox.ButtonRole.ActionRole
    choices = [button for button in box.buttons() if box.buttonRole(button) != details]
    buttons = {_button_name(box, button): button for button in choices} or {"Ok": None}
    chosen = DESK.show(Shown("message", box.text, box.detailedText + box.informativeText, tuple(buttons)))
    if chosen not in buttons:
        raise AssertionError(f"{chosen!r} is none of the buttons {list(buttons)}")
    button = buttons[chosen]
    if button is None:
        return int(QtWidgets.QMessageBox.StandardButton.Ok)
    button.click()
    return int(box.standardButton(button).value) or box.buttons().index(button)


def _button_name(box: QtWidgets.QMessageBox, button: Any) -> str:
    standard = box.standardButton(button)
    if standard == QtWidgets.QMessageBox.StandardButton.NoButton:
        return str(button.text)
    return str(standard.name)


def _dialog_exec(dialog: QtWidgets.QDialog) -> int:
    """The test's answer is called with the dialog, fills it in and gives back whether it was accepted."""
    answer = DESK.show(Shown("dialog", dialog.windowTitle))
    dialog.show()
    accepted = answer(dialog) if callable(answer) else bool(answer)
    dialog.hide()
    return int(bool(accepted))


def _static_message(*default: str) -> Callable[..., Any]:
    """``QMessageBox.question(parent, title, text, buttons)`` and its like."""

    def show(parent: Any, title: str, text: str, buttons: Any = None, *_rest: Any) -> Any:
        kinds = QtWidgets.QMessageBox.StandardButton
        names = tuple(kind.name or "" for kind in kinds if buttons is not None and kind.value & buttons.value)
        chosen = DESK.show(Shown("message", text, title, names or default))
        return kinds[chosen]

    return show


def _static_question(kind: str) -> Callable[..., Any]:
    """File choosers and input dialogs; PythonQt gives the value alone, "" or None where it was dismissed."""
    return lambda parent=None, title="", *_rest, **_options: DESK.show(Shown(kind, title))


def build() -> ModuleType:
    """Make PySide6 strict and collect the module."""
    pythonqt.make_strict(*_MODULES)
    module = ModuleType("qt", "Qt as PythonQt offers it")
    for source in _MODULES:
        module.__dict__.update({name: getattr(source, name) for name in dir(source) if name.startswith("Q")})
    module.__dict__["QUiLoader"] = UiLoader
    for cls in pythonqt.classes_of(QtWidgets):
        if issubclass(cls, QtWidgets.QDialog):
            cls.exec_ = _dialog_exec  # type: ignore[attr-defined]
    box = QtWidgets.QMessageBox
    box.exec_ = _message_box_exec
    for name, buttons in {
        "information": ("Ok",),
        "warning": ("Ok",),
        "critical": ("Ok",),
        "question": ("Yes", "No"),
    }.items():
        setattr(box, name, staticmethod(_static_message(*buttons)))
    for name in ("getOpenFileName", "getOpenFileNames", "getSaveFileName", "getExistingDirectory"):
        setattr(QtWidgets.QFileDialog, name, staticmethod(_static_question("file")))
    for name in ("getText", "getItem", "getInt", "getDouble"):
        setattr(QtWidgets.QInputDialog, name, staticmethod(_static_question("input")))
    return module
