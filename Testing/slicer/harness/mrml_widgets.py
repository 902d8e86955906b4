"""qMRML widgets over the real scene."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets
from vtkmodules.util.misc import calldata_type
from vtkmodules.util.vtkConstants import VTK_OBJECT

from .ctk_module import Property, Signal, ctkMenuButton, state_property
from .pythonqt import stand_in
from .qt_module import custom_widgets


@stand_in
class qMRMLWidget(QtWidgets.QWidget):
    """The panel's top: hands the scene to its children."""

    mrmlSceneChanged = Signal(object)
    cppSignals = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}

    def setMRMLScene(self, scene: Any) -> None:
        """Set the scene, here and in all that is linked."""
        if scene is not self.__dict__.get("scene"):
            self.__dict__["scene"] = scene
            self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        """The scene."""
        return self.__dict__.get("scene")


@stand_in
class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Chooses a node of some classes."""

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    nodeAddedByUser = Signal(object)
    cppSignals = {
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "currentNodeIDChanged(QString)": "currentNodeIDChanged",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser",
    }
    _NOTHING = ("", None)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        box = QtWidgets.QComboBox()
        layout.addWidget(box)
        self.__dict__.update(box=box, scene=None, node=None, tags=[], listed=[])
        box.activated.connect(self._on_activated)

    def _put_types(self, types: Any) -> None:
        self.__dict__["types"] = list(types)
        self._refresh()

    def _put_none_enabled(self, value: bool) -> None:
        self.__dict__["noneEnabled"] = value
        self._refresh()

    nodeTypes = Property("QStringList", lambda self: self.__dict__.get("types", []), _put_types)
    noneEnabled = Property("bool", lambda self: self.__dict__.get("noneEnabled", False), _put_none_enabled)
    noneDisplay = state_property("QString", "noneDisplay", "None")
    addEnabled = state_property("bool", "addEnabled", True)
    removeEnabled = state_property("bool", "removeEnabled", True)
    renameEnabled = state_property("bool", "renameEnabled", False)
    editEnabled = state_property("bool", "editEnabled", False)
    showHidden = state_property("bool", "showHidden", False)
    showChildNodeTypes = state_property("bool", "showChildNodeTypes", True)
    selectNodeUponCreation = state_property("bool", "selectNodeUponCreation", True)
    baseName = state_property("QString", "baseName", "")
    currentNodeID = Property(
        "QString",
        lambda self: self.currentNode().GetID() if self.currentNode() else "",
        lambda self, value: self.setCurrentNodeID(value),
    )

    def mrmlScene(self) -> Any:
        """The scene."""
        return self.__dict__["scene"]

    def setMRMLScene(self, scene: Any) -> None:
        """The slot that the top of the panel is linked to."""
        state = self.__dict__
        for tag in state["tags"]:
            state["scene"].RemoveObserver(tag)
        state["scene"], state["tags"] = scene, []
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent, scene.EndCloseEvent)
            state["tags"] = [scene.AddObserver(event, self._on_scene) for event in events]
        self._refresh()

    def currentNode(self) -> Any:
        """The node, or None."""
        return self.__dict__["node"]

    def setCurrentNode(self, node: Any) -> None:
        """Choose a node; one that is not listed is none."""
        if node is not None and not node.IsA("vtkMRMLNode"):
            raise TypeError(f"not a node: {node!r}")
        if self.__dict__["scene"] is None:
            return
        self._choose(node if node in self.__dict__["listed"] else None)

    def setCurrentNodeID(self, identifier: str) -> None:
        """Choose by id; an empty one is none."""
        self.setCurrentNode(self.__dict__["scene"].GetNodeByID(identifier) if identifier else None)

    def nodeCount(self) -> int:
        """How many nodes there are to choose from."""
        return len(self.__dict__["listed"])

    def nodeFromIndex(self, index: int) -> Any:
        """The node at a place."""
        return self.__dict__["listed"][index]

    def addNode(self, nodeType: str = "") -> Any:
        """What "Create new" does."""
        kind = nodeType or self.nodeTypes[0]
        name = self.__dict__["scene"].GenerateUniqueName(self.baseName or kind.removeprefix("vtkMRML"))
        node = self.__dict__["scene"].AddNewNodeByClass(kind, name)
        self.nodeAddedByUser.emit(node)
        if self.selectNodeUponCreation:
            self.setCurrentNode(node)
        return node

    def _on_activated(self, index: int) -> None:
        self._choose(self.__dict__["box"].itemData(index))

    def _choose(self, node: Any) -> None:
        if node is None and not self.noneEnabled and self.__dict__["listed"]:
            node = self.__dict__["listed"][0]
        changed = node is not self.__dict__["node"]
        self.__dict__["node"] = node
        self._show()
        if changed:
            self.currentNodeChanged.emit(node)
            self.currentNodeIDChanged.emit(node.GetID() if node else "")

    @calldata_type(VTK_OBJECT)
    def _on_scene(self, scene: Any, event: str, node: Any = None) -> None:
        removed = node if event == "NodeRemovedEvent" else None
        if not scene.IsBatchProcessing():
            self._refresh(removed)

    def _refresh(self, removed: Any = None) -> None:
        scene = self.__dict__["scene"]
        nodes = [] if scene is None else [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
        self.__dict__["listed"] = [node for node in nodes if node is not removed and self._lists(node)]
        node = self.__dict__["node"]
        self._choose(node if node in self.__dict__["listed"] else None)

    def _lists(self, node: Any) -> bool:
        if node.GetHideFromEditors() and not self.showHidden:
            return False
        if self.showChildNodeTypes:
            return any(node.IsA(kind) for kind in self.nodeTypes)
        return node.GetClassName() in self.nodeTypes

    def _show(self) -> None:
        box, listed = self.__dict__["box"], self.__dict__["listed"]
        box.clear()
        if self.noneEnabled:
            box.addItem(self.noneDisplay, None)
        for node in listed:
            box.addItem(node.GetName() or "", node)
        if self.addEnabled:
            box.addItem("Create new…")
        node = self.__dict__["node"]
        box.currentIndex = listed.index(node) + int(self.noneEnabled) if node else (0 if self.noneEnabled else -1)

    def showEvent(self, event: QtCore.QEvent) -> None:
        """Names may have changed meanwhile."""
        self._show()
        super().showEvent(event)


@stand_in
class qMRMLSegmentationShow3DButton(ctkMenuButton):
    """Shows the surfaces of a segmentation: makes them, and takes them away again."""

    locked = state_property("bool", "locked", False)
    _SURFACE, _LABELMAP = "Closed surface", "Binary labelmap"

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self.__dict__.update(node=None, tags=[])
        self.setText("Show 3D")
        picture = QtGui.QPixmap(16, 16)
        picture.fill(QtGui.QColor("steelblue"))
        self.setIcon(QtGui.QIcon(picture))
        self.setCheckable(True)
        self.setMenu(QtWidgets.QMenu(self))
        self.setEnabled(False)
        self.toggled.connect(lambda on: self._on_toggled(on))

    def segmentationNode(self) -> Any:
        """The node."""
        return self.__dict__["node"]

    def setSegmentationNode(self, node: Any) -> None:
        """What it shows; it follows the node's surfaces."""
        before, self.__dict__["node"] = self.__dict__["node"], node
        for tag in self.__dict__["tags"]:
            before.RemoveObserver(tag)
        kinds = slicer.vtkSegmentation
        events = (kinds.SegmentAdded, kinds.SegmentRemoved, kinds.ContainedRepresentationNamesModified)
        self.__dict__["tags"] = [] if node is None else [node.AddObserver(event, self._follow) for event in events]
        self._follow()

    def _follow(self, *_event: Any) -> None:
        node = self.__dict__["node"]
        segmentation = None if node is None else node.GetSegmentation()
        self.setEnabled(segmentation is not None and segmentation.GetNumberOfSegments() > 0)
        if segmentation is not None:
            blocked = self.blockSignals(True)
            self.setChecked(segmentation.ContainsRepresentation(self._SURFACE))
            self.blockSignals(blocked)

    def _on_toggled(self, on: bool) -> None:
        node = self.__dict__["node"]
        if node is None:
            return
        with slicer.util.NodeModify(node):
            if not on:
                node.GetSegmentation().RemoveRepresentation(self._SURFACE)
            elif node.GetSegmentation().CreateRepresentation(self._SURFACE) and node.GetDisplayNode() is not None:
                node.GetDisplayNode().SetPreferredDisplayRepresentationName3D(self._SURFACE)
                node.GetDisplayNode().SetPreferredDisplayRepresentationName2D(self._LABELMAP)


_IN_UI = (qMRMLWidget, qMRMLNodeComboBox, qMRMLSegmentationShow3DButton)
# Slicer's own parameterNodeWrapper compares with these; this project's panel has none of them.
_UNUSED = ("qMRMLRangeWidget", "qMRMLSliderWidget", "qMRMLSpinBox")


def install() -> None:
    """Add the widgets to ``slicer``."""
    for cls in _IN_UI:
        setattr(slicer, cls.__name__, cls)
    for name in _UNUSED:
        setattr(slicer, name, type(name, (), {}))
    custom_widgets.update({cls.__name__: cls for cls in _IN_UI})
