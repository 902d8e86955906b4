"""The module ``ctk``: those of CTK's widgets that panels use, as far as they use them."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

from .pythonqt import stand_in
from .qt_module import custom_widgets

Property, Signal = QtCore.Property, QtCore.Signal


def state_property(kind: str, name: str, default: Any) -> Any:
    """A Qt property that only keeps its value."""

    def get(self: Any) -> Any:
        return self.__dict__.get(name, default)

    def put(self: Any, value: Any) -> None:
        self.__dict__[name] = value

    return Property(kind, get, put)


def _address(widget: Any) -> int:
    """What tells a widget from others, whichever Python object stands for it."""
    return int(shiboken6.getCppPointer(widget)[0])


@stand_in
class ctkCollapsibleButton(QtWidgets.QWidget):
    """A titled part of the panel that folds."""

    contentsCollapsed = Signal(bool)
    toggled = Signal(bool)
    clicked = Signal(bool)
    cppSignals = {
        "contentsCollapsed(bool)": "contentsCollapsed",
        "toggled(bool)": "toggled",
        "clicked(bool)": "clicked",
    }
    HEIGHT = 26

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent if isinstance(parent, QtWidgets.QWidget) else None)
        if isinstance(parent, str):
            self.__dict__["text"] = parent
        self.setContentsMargins(0, self.HEIGHT, 0, 0)

    def _collapsed(self) -> bool:
        return bool(self.__dict__.get("collapsed", False))

    def _collapse(self, value: bool) -> None:
        if bool(value) == self._collapsed():
            return
        self.__dict__["collapsed"] = bool(value)
        self._apply()
        self.contentsCollapsed.emit(bool(value))
        self.toggled.emit(not value)

    collapsed = Property(bool, _collapsed, _collapse)
    checked = Property(bool, lambda self: not self._collapsed(), lambda self, value: self._collapse(not value))
    text = state_property("QString", "text", "")
    flat = state_property("bool", "flat", False)
    contentsFrameShape = state_property("int", "frame", 0)
    contentsLineWidth = state_property("int", "line", 1)
    collapsedHeight = state_property("int", "collapsedHeight", 10)
    buttonTextAlignment = state_property("int", "alignment", 0)

    def click(self) -> None:
        """As a person does."""
        self._collapse(not self._collapsed())

    def childEvent(self, event: Any) -> None:
        """What is hidden and shown by itself is told from what folding does."""
        child = event.child()
        if event.added() and child.isWidgetType():
            child.installEventFilter(self)
        super().childEvent(event)

    def eventFilter(self, child: Any, event: Any) -> bool:
        """A child that is hidden by itself stays so; one that is shown while all is folded waits."""
        kinds, state = QtCore.QEvent.Type, self.__dict__
        if event.type() in (kinds.ShowToParent, kinds.HideToParent) and not state.get("forcing"):
            state.setdefault("hidden", {})[_address(child)] = event.type() == kinds.HideToParent
            if self._collapsed() and event.type() == kinds.ShowToParent:
                self._set_visible(child)
        return False

    def _set_visible(self, child: Any) -> None:
        state = self.__dict__
        state["forcing"] = True
        child.setVisible(not self._collapsed() and not state.get("hidden", {}).get(_address(child), False))
        child.setAttribute(QtCore.Qt.WidgetAttribute.WA_WState_ExplicitShowHide, False)
        state["forcing"] = False

    def _apply(self) -> None:
        """Hide the children, or show those again that were not hidden by themselves."""
        for child in self.children():
            if child.isWidgetType():
                self._set_visible(child)
        self.setMaximumHeight(self.HEIGHT if self._collapsed() else 16777215)

    def showEvent(self, event: Any) -> None:
        """The .ui folds the part before it has children."""
        super().showEvent(event)
        if self._collapsed():
            self._apply()

    def paintEvent(self, event: Any) -> None:
        """A bar with an arrow and the title."""
        painter = QtGui.QPainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width, self.HEIGHT - 2)
        self.style().drawControl(QtWidgets.QStyle.ControlElement.CE_PushButtonBevel, option, painter, self)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(6, 4, 16, 16)
        kinds = QtWidgets.QStyle.PrimitiveElement
        shape = kinds.PE_IndicatorArrowRight if self._collapsed() else kinds.PE_IndicatorArrowDown
        self.style().drawPrimitive(shape, arrow, painter, self)
        text = QtCore.QRect(28, 0, self.width - 28, self.HEIGHT - 2)
        painter.drawText(text, QtCore.Qt.AlignmentFlag.AlignVCenter, self.__dict__.get("text", ""))
        painter.end()


@stand_in
class ctkMenuButton(QtWidgets.QPushButton):
    """A button with a menu behind the arrow at its end."""

    ARROW = 13

    def sizeHint(self) -> QtCore.QSize:
        """With room for the arrow."""
        return super().sizeHint() + QtCore.QSize(self.ARROW, 0)

    def minimumSizeHint(self) -> QtCore.QSize:
        """The same."""
        return super().minimumSizeHint() + QtCore.QSize(self.ARROW, 0)


@stand_in
class ctkPathLineEdit(QtWidgets.QWidget):
    """A path with a browse button."""

    Dirs, Files, Drives, Readable, Writable = 0x1, 0x2, 0x4, 0x10, 0x20

    currentPathChanged = Signal(str)
    validInputChanged = Signal(bool)
    cppSignals = {
        "currentPathChanged(QString)": "currentPathChanged",
        "validInputChanged(bool)": "validInputChanged",
    }

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        edit, browse = QtWidgets.QLineEdit(), QtWidgets.QToolButton()
        browse.text = "…"
        layout.addWidget(edit)
        layout.addWidget(browse)
        self.__dict__["edit"] = edit
        edit.textChanged.connect(self.currentPathChanged)

    def _path(self) -> str:
        return str(self.__dict__["edit"].text)

    def _put_path(self, value: str) -> None:
        self.__dict__["edit"].text = value

    currentPath = Property("QString", _path, _put_path)
    filters = state_property("int", "filters", 0)
    settingKey = state_property("QString", "settingKey", "")
    nameFilters = state_property("QStringList", "nameFilters", [])
    label = state_property("QString", "label", "")
    showBrowseButton = state_property("bool", "browse", True)
    showHistoryButton = state_property("bool", "history", True)

    def minimumSizeHint(self) -> QtCore.QSize:
        """As wide as the last part of the path, and so never narrower than what was chosen."""
        name = self._path().rstrip("/").rpartition("/")[2]
        return super().minimumSizeHint() + QtCore.QSize(self.fontMetrics().horizontalAdvance(name), 0)

    def addCurrentPathToHistory(self) -> None:
        """Remember it."""

    def setCurrentPath(self, path: str) -> None:
        """The slot."""
        self._put_path(path)


@stand_in
class ctkMessageBox(QtWidgets.QMessageBox):
    """A message with "do not show again"."""

    dontShowAgain = state_property("bool", "dontShowAgain", False)
    dontShowAgainVisible = state_property("bool", "dontShowAgainVisible", False)
    dontShowAgainSettingsKey = state_property("QString", "key", "")


_IN_UI = (ctkCollapsibleButton, ctkPathLineEdit)
# Slicer's own parameterNodeWrapper compares with these; this project's panel has none of them.
_UNUSED = (
    "ctkCheckBox", "ctkCheckablePushButton", "ctkColorPickerButton", "ctkComboBox", "ctkDirectoryButton",
    "ctkDoubleRangeSlider", "ctkDoubleSlider", "ctkDoubleSpinBox", "ctkRangeWidget", "ctkSliderWidget",
)  # fmt: skip


def build() -> ModuleType:
    """Collect the module."""
    module = ModuleType("ctk", "CTK's widgets")
    for cls in (*_IN_UI, ctkMenuButton, ctkMessageBox):
        setattr(module, cls.__name__, cls)
    for name in _UNUSED:
        setattr(module, name, type(name, (), {}))
    custom_widgets.update({cls.__name__: cls for cls in _IN_UI})
    return module
