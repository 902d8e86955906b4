"""Stand-in for ``slicer.parameterNodeWrapper``, for the types and widgets that this module uses; others raise.

Values live in the real parameter node's text parameters and node references, spelt as the original spells them.
"""

from __future__ import annotations

import enum
import typing
from collections.abc import Callable
from types import ModuleType
from typing import Any

import slicer
from PySide6 import QtWidgets
from vtkmodules.vtkCommonCore import vtkCommand

PROPERTY = "SlicerParameterName"


class _Kind:
    """How values of one type are kept."""

    def __init__(self, type_: Any) -> None:
        self.type: Any = type_
        self.is_node = isinstance(type_, type) and issubclass(type_, slicer.vtkMRMLNode)
        self.is_enum = isinstance(type_, type) and issubclass(type_, enum.Enum)
        if not (self.is_node or self.is_enum or type_ in (bool, str)):
            raise TypeError(f"parameters of type {type_!r} are not known to the test bench")

    def default(self) -> Any:
        if self.is_node:
            return None
        return next(iter(self.type)) if self.is_enum else self.type()

    def write(self, node: Any, name: str, value: Any) -> None:
        if not (self.is_node and value is None) and not isinstance(value, self.type):
            raise TypeError(f"parameter {name} is a {self.type.__name__}, not {value!r}")
        if self.is_node:
            node.SetParameter(name, "")
            node.SetNodeReferenceID(name, None if value is None else value.GetID())
        elif isinstance(value, enum.Enum):
            node.SetParameter(name, value.name)
        else:
            node.SetParameter(name, str(value))

    def read(self, node: Any, name: str) -> Any:
        if self.is_node:
            return node.GetNodeReference(name)
        text = node.GetParameter(name)
        if self.is_enum:
            return self.type[text]
        return text == "True" if self.type is bool else text


class _Connector:
    """Links one widget with one parameter."""

    def __init__(self, widget: Any, kind: _Kind) -> None:
        self.widget, self.kind = widget, kind
        self._callback: Callable[[], None] | None = None
        exact = type(widget)
        if kind.type is bool and exact is QtWidgets.QCheckBox:
            self.signal = "stateChanged(int)"
        elif kind.is_enum and exact is QtWidgets.QComboBox:
            self.signal = "currentIndexChanged(int)"
            label = getattr(kind.type, "label", lambda member: member.name)
            widget.clear()
            for member in kind.type:
                widget.addItem(label(member))
        elif kind.is_node and exact is slicer.qMRMLNodeComboBox:
            self.signal = "currentNodeChanged(vtkMRMLNode*)"
            widget.nodeTypes = [kind.type().GetClassName()]
        else:
            raise RuntimeError(f"no connection between {exact.__name__} {widget.objectName} and {kind.type!r}")

    def read(self) -> Any:
        if self.kind.is_node:
            return self.widget.currentNode()
        if self.kind.is_enum:
            return list(self.kind.type)[self.widget.currentIndex]
        return self.widget.checked

    def write(self, value: Any) -> None:
        if self.kind.is_node:
            self.widget.setCurrentNode(value)
        elif self.kind.is_enum:
            self.widget.currentIndex = list(self.kind.type).index(value)
        else:
            self.widget.checked = value

    def on_changed(self, callback: Callable[[], None] | None) -> None:
        if callback is None:
            self.widget.disconnect(self.signal, self._callback)
        else:
            self.widget.connect(self.signal, callback)
        self._callback = callback


class _Wrapper:
    """What the decorator adds to a class."""

    allParameters: dict[str, _Kind]
    _defaults: dict[str, Any]

    def __init__(self, parameterNode: Any, prefix: str | None = None) -> None:
        self.parameterNode = parameterNode
        self._connections: dict[int, tuple[dict[str, _Connector], int]] = {}
        self._next, self._updating = 0, False
        for name, kind in self.allParameters.items():
            if not parameterNode.HasParameter(name):
                kind.write(parameterNode, name, self.default(name))

    def default(self, name: str) -> Any:
        """A parameter's first value."""
        declared = self._defaults[name]
        return self.allParameters[name].default() if declared is None else declared

    def getValue(self, name: str) -> Any:
        """By name."""
        return self._kind(name).read(self.parameterNode, name)

    def setValue(self, name: str, value: Any) -> None:
        """By name."""
        self._kind(name).write(self.parameterNode, name, value)

    def dataType(self, name: str) -> Any:
        """A parameter's type."""
        return self._kind(name).type

    def _kind(self, name: str) -> _Kind:
        if name not in self.allParameters:
            raise ValueError(f"there is no parameter {name}")
        return self.allParameters[name]

    def connectGui(self, gui: Any) -> int:
        """Link all widgets of ``gui`` that name a parameter in their property ``SlicerParameterName``."""
        widgets = vars(gui).values()
        return self.connectParametersToGui({w.property(PROPERTY): w for w in widgets if w.property(PROPERTY)})

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        """Link widgets by the parameters' names."""
        connectors = {name: _Connector(widget, self._kind(name)) for name, widget in mapping.items()}
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.on_changed(self._taking(name, connector))
        tag = self.AddObserver(vtkCommand.ModifiedEvent, lambda caller, event: self._show())
        self._next += 1
        self._connections[self._next - 1] = (connectors, tag)
        return self._next - 1

    def disconnectGui(self, tag: int) -> None:
        """Undo a link."""
        if tag in self._connections:
            connectors, observer = self._connections.pop(tag)
            for connector in connectors.values():
                connector.on_changed(None)
            self.RemoveObserver(observer)

    def _taking(self, name: str, connector: _Connector) -> Callable[[], None]:
        def take() -> None:
            if not self._updating:
                with slicer.util.NodeModify(self):
                    self.setValue(name, connector.read())

        return take

    def _show(self) -> None:
        if self._updating:
            return
        self._updating = True
        try:
            with slicer.util.NodeModify(self):
                for connectors, _ in self._connections.values():
                    for name, connector in connectors.items():
                        connector.write(self.getValue(name))
        finally:
            self._updating = False

    def StartModify(self) -> Any:
        """Hold events back."""
        return self.parameterNode.StartModify()

    def EndModify(self, before: Any) -> Any:
        """Let them go."""
        return self.parameterNode.EndModify(before)

    def Modified(self) -> None:
        """Say that it changed."""
        self.parameterNode.Modified()

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        """Of the node."""
        return int(self.parameterNode.AddObserver(event, callback, priority))

    def RemoveObserver(self, tag: int) -> None:
        """Of the node."""
        self.parameterNode.RemoveObserver(tag)


def parameterNodeWrapper(classtype: type) -> type:
    """Class decorator: annotated members become parameters.

    Raises:
        TypeError: of a type that the bench does not know.
        ValueError: a member has the name of one of the wrapper's own.
    """
    kinds = {name: _Kind(type_) for name, type_ in typing.get_type_hints(classtype).items()}
    defaults = {name: vars(classtype).get(name) for name in kinds}
    for name in kinds:
        if hasattr(_Wrapper, name):
            raise ValueError(f"the name {name} is taken")

    def make(name: str) -> property:
        return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))

    members = {name: value for name, value in vars(classtype).items() if name not in ("__dict__", "__weakref__")}
    members.update({name: make(name) for name in kinds}, allParameters=kinds, _defaults=defaults)
    return type(classtype.__name__, (_Wrapper,), members)


def build() -> ModuleType:
    """Collect the module."""
    module = ModuleType("slicer.parameterNodeWrapper")
    module.__dict__.update(parameterNodeWrapper=parameterNodeWrapper, SlicerParameterNamePropertyName=PROPERTY)
    return module
