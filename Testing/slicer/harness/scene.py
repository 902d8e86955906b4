"""A real MRML scene with the logics that the application's modules have."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import slicer
from vtkmodules.util.misc import calldata_type
from vtkmodules.util.vtkConstants import VTK_OBJECT
from vtkmodules.vtkCommonCore import vtkCollection


class CoreModule:
    """What ``slicer.modules.<name>`` is for a module written in C++: it has a logic."""

    def __init__(self, name: str, logic: Any) -> None:
        self.name, self._logic = name, logic

    def logic(self) -> Any:
        """The module's logic."""
        return self._logic


def _logic(cls: type, application: Any, scene: Any, share: str) -> Any:
    logic = cls()
    logic.SetModuleShareDirectory(share)  # before the scene
    logic.SetMRMLApplicationLogic(application)
    logic.SetMRMLScene(scene)
    return logic


_SCHEMAS = "https://raw.githubusercontent.com/qiicr/dcmqi/master/doc/schemas"
_DICTIONARIES: dict[str, dict[str, Any]] = {
    "SegmentationCategoryTypeModifier": {
        "SegmentationCategoryTypeContextName": "",
        "@schema": f"{_SCHEMAS}/segment-context-schema.json#",
        "SegmentationCodes": {"Category": []},
    },
    "AnatomicRegionAndModifier": {
        "AnatomicContextName": "",
        "@schema": f"{_SCHEMAS}/anatomic-context-schema.json#",
        "AnatomicCodes": {"AnatomicRegion": []},
    },
}


def _write_dictionaries(folder: Path) -> str:
    """Terminologies of Slicer's names without entries: slicer-core comes without them."""
    for part, content in _DICTIONARIES.items():
        for kind in ("SlicerGeneralAnatomy", "DICOM-Master"):
            title = next(key for key in content if key.endswith("ContextName"))
            text = json.dumps({**content, title: f"{part} - {kind}"})
            (folder / f"{part}-{kind}.term.json").write_text(text)
    return str(folder)


def _keep_tree(scene: Any) -> None:
    """The subject hierarchy is always there and lists what is shown: its Qt part does so in the application."""

    def tree() -> Any:
        return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)  # makes it where there is none

    @calldata_type(VTK_OBJECT)
    def added(caller: Any, event: str, node: Any) -> None:
        listed = node.IsA("vtkMRMLDisplayableNode") and not node.GetHideFromEditors()
        if listed and not scene.IsImporting() and not scene.IsClosing():
            tree().CreateItem(tree().GetSceneItemID(), node)

    @calldata_type(VTK_OBJECT)
    def removed(caller: Any, event: str, node: Any) -> None:
        if not scene.IsClosing() and not node.IsA("vtkMRMLSubjectHierarchyNode"):
            item = tree().GetItemByDataNode(node)
            if item:
                tree().RemoveItem(item, False, False)

    tree()
    scene.AddObserver(scene.EndCloseEvent, lambda caller, event: tree())
    scene.AddObserver(scene.NodeAddedEvent, added)
    scene.AddObserver(scene.NodeAboutToBeRemovedEvent, removed)


def build_scene() -> SimpleNamespace:
    """Scene and logics, also set as ``slicer.mrmlScene`` and ``slicer.modules``; to be held while they are used."""
    share = _write_dictionaries(Path(tempfile.mkdtemp()))
    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    application.SetHomeDirectory(share)
    application.SetShareDirectory("colours")  # below the former; there are none
    application.SetSliceLogics(vtkCollection())
    colors = slicer.vtkSlicerColorLogic()
    colors.SetMRMLApplicationLogic(application)
    colors.SetMRMLScene(scene)
    application.SetColorLogic(colors)
    application.SetModuleLogic("Colors", colors)
    colors.AddDefaultColorNodes()
    # Bundles (.mrb) are read through these.
    remote, data = slicer.vtkMRMLRemoteIOLogic(), slicer.vtkDataIOManagerLogic()
    remote.SetMRMLScene(scene)
    remote.AddDataIOToScene()
    data.SetMRMLApplicationLogic(application)
    data.SetAndObserveDataIOManager(scene.GetDataIOManager())
    _keep_tree(scene)
    modules = ModuleType("slicer.modules")
    kinds = {
        "segmentations": slicer.vtkSlicerSegmentationsModuleLogic,
        "terminologies": slicer.vtkSlicerTerminologiesModuleLogic,
        "volumes": slicer.vtkSlicerVolumesLogic,
        "sequences": slicer.vtkSlicerSequencesLogic,
        "subjecthierarchy": slicer.vtkSlicerSubjectHierarchyModuleLogic,
    }
    for name, kind in kinds.items():
        setattr(modules, name, CoreModule(name, _logic(kind, application, scene, share)))
    slicer.modules = modules
    return SimpleNamespace(scene=scene, application=application, colors=colors, remote=remote, data=data)
