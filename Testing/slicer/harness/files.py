"""``slicer.app.coreIOManager()``: files to nodes and back, through the storage nodes that the application uses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import slicer
from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

_IMAGES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
_SEGMENTATIONS = (".seg.nrrd", ".seg.nhdr")
_OTHERS = {".mrml": "SceneFile", ".mrb": "SceneFile", ".csv": "TableFile", ".tsv": "TableFile", ".txt": "TextFile"}
_WRITERS = {
    "vtkMRMLSegmentationNode": ("SegmentationFile", _SEGMENTATIONS),
    "vtkMRMLVolumeNode": ("VolumeFile", _IMAGES),
    "vtkMRMLTableNode": ("TableFile", (".csv", ".tsv")),
    "vtkMRMLTextNode": ("TextFile", (".txt",)),
}


def _extension(name: str, known: tuple[str, ...]) -> str:
    fitting = [extension for extension in known if name.lower().endswith(extension)]
    return max(fitting, key=len, default="")


class IOManager:
    """Reads and writes what this project reads and writes; anything else raises."""

    def fileType(self, fileName: str) -> str:
        """Which reader takes a file."""
        if _extension(fileName, _SEGMENTATIONS):
            return "SegmentationFile"
        if _extension(fileName, _IMAGES):
            return "VolumeFile"
        return _OTHERS.get(Path(fileName).suffix.lower(), "NoFile")

    def loadNodes(self, kind: str, properties: dict[str, Any], loaded: Any = None, messages: Any = None) -> bool:
        """Read a file into the scene; False, and a message, where that fails."""
        name = properties["fileName"]
        if not isinstance(name, str):
            raise TypeError(f"fileName must be a str: {name!r}")
        if kind == "SceneFile":
            return self._load_scene(name)
        node = {
            "VolumeFile": self._load_volume,
            "SegmentationFile": self._load_segmentation,
            "TableFile": lambda name, _: self._load_by(name, "vtkMRMLTableNode"),
            "TextFile": lambda name, _: self._load_by(name, "vtkMRMLTextNode"),
        }[kind](name, properties)
        if node is None:
            if messages is not None:
                messages.AddMessage(0x10000, f"{name} could not be read")  # vtkCommand::ErrorEvent's family
            return False
        if loaded is not None:
            loaded.AddItem(node)
        return True

    def fileWriterFileType(self, node: Any) -> str:
        """Which writer takes a node."""
        return self._writer(node)[0]

    def fileWriterExtensions(self, node: Any) -> list[str]:
        """Descriptions such as ``NRRD (.nrrd)``."""
        return [f"{extension.strip('.')} ({extension})" for extension in self._writer(node)[1]]

    def extractKnownExtension(self, fileName: str, node: Any) -> str:
        """The file name's extension, of those that the node can be written with."""
        return _extension(fileName, self._writer(node)[1])

    def saveNodes(self, kind: str, properties: dict[str, Any], messages: Any = None) -> bool:
        """Write a node with its own storage node, or the scene."""
        name = properties["fileName"]
        if not isinstance(name, str):
            raise TypeError(f"fileName must be a str: {name!r}")
        if kind == "SceneFile":
            return self._save_scene(name)
        node = slicer.mrmlScene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode(name)
        storage = node.GetStorageNode()
        storage.SetFileName(name)
        storage.SetUseCompression(int(properties.get("useCompression", 1)))
        return bool(storage.WriteData(node))

    def exportNodes(
        self, nodeIDs: list[str], fileNames: list[str], properties: dict[str, Any], harden: bool, messages: Any = None
    ) -> bool:
        """Write copies of nodes; the nodes and their storage nodes stay as they are."""
        written = []
        for identifier, name in zip(nodeIDs, fileNames, strict=True):
            if not isinstance(name, str):
                raise TypeError(f"fileName must be a str: {name!r}")
            written.append(self._export(slicer.mrmlScene.GetNodeByID(identifier), name, properties, harden))
        return all(written)

    def _export(self, node: Any, name: str, properties: dict[str, Any], harden: bool) -> bool:
        scene = slicer.vtkMRMLScene()
        copy = scene.AddNewNodeByClass(node.GetClassName())
        copy.CopyContent(node, True)
        if harden and node.GetParentTransformNode():
            _harden(node, copy)
        storage = copy.CreateDefaultStorageNode()
        storage.UnRegister(None)
        scene.AddNode(storage)
        storage.SetFileName(name)
        storage.SetUseCompression(int(properties.get("useCompression", 1)))
        return bool(storage.WriteData(copy))

    def _writer(self, node: Any) -> tuple[str, tuple[str, ...]]:
        return next(writer for kind, writer in _WRITERS.items() if node.IsA(kind))

    def _load_volume(self, name: str, properties: dict[str, Any]) -> Any:
        labels = bool(properties.get("labelmap", False))
        kind = "vtkMRMLLabelMapVolumeNode" if labels else "vtkMRMLScalarVolumeNode"
        options = 1 if labels else 0  # vtkSlicerVolumesLogic::LabelMap
        options |= 0 if properties.get("singleFile", False) else 8
        title = str(properties.get("name", _stem(name, _IMAGES)))
        node = slicer.modules.volumes.logic().AddArchetypeVolume(name, title, options)
        if node is not None and not node.IsA(kind):
            raise AssertionError(f"{name} became a {node.GetClassName()}")
        return node

    def _load_segmentation(self, name: str, properties: dict[str, Any]) -> Any:
        title = str(properties.get("name", _stem(name, (*_SEGMENTATIONS, *_IMAGES))))
        return slicer.modules.segmentations.logic().LoadSegmentationFromFile(name, True, title)

    def _load_by(self, name: str, kind: str) -> Any:
        node = slicer.mrmlScene.AddNewNodeByClass(kind, Path(name).stem)
        node.AddDefaultStorageNode(name)
        if node.GetStorageNode().ReadData(node):
            return node
        slicer.mrmlScene.RemoveNode(node)
        return None

    def _load_scene(self, name: str) -> bool:
        if name.lower().endswith(".mrb"):
            return bool(slicer.mrmlScene.ReadFromMRB(name, False))
        slicer.mrmlScene.SetURL(name)
        return bool(slicer.mrmlScene.Import())

    def _save_scene(self, name: str) -> bool:
        if name.lower().endswith(".mrb"):
            return bool(slicer.mrmlScene.WriteToMRB(name, None, None))
        slicer.mrmlScene.SetURL(name)
        slicer.mrmlScene.SetRootDirectory(str(Path(name).parent))
        return bool(slicer.mrmlScene.Commit(name))


def _stem(name: str, known: tuple[str, ...]) -> str:
    extension = _extension(name, known)
    return Path(name).name[: -len(extension)] if extension else Path(name).stem


def _harden(node: Any, copy: Any) -> None:
    transform = vtkGeneralTransform()
    node.GetParentTransformNode().GetTransformToWorld(transform)
    copy.ApplyTransform(transform)
