"""Modules of the application that this one calls: Sample Data, the Segment Editor, the DICOM database."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import slicer


class SampleDataLogic:
    """``SampleData.SampleDataLogic``: keeps what is registered; "downloads" come from a folder of the test."""

    categories: dict[str, str] = {}
    sources: dict[str, dict[str, Any]] = {}
    folder: Path | None = None

    @staticmethod
    def registerCustomSampleDataCategory(category: str, title: str | None = None) -> None:
        """A heading in the module."""
        SampleDataLogic.categories[category] = title or category

    @staticmethod
    def registerCustomSampleDataSource(
        category: str | None = None,
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        thumbnailFileName: str | None = None,
        checksums: Any = None,
        sampleDescription: str | None = None,
    ) -> None:
        """A data set below a heading."""
        if category not in SampleDataLogic.categories:
            raise ValueError(f"category {category} was not registered")
        lengths = {len(value) for value in (uris, fileNames, nodeNames, checksums)}
        if len(lengths) != 1:
            raise ValueError("uris, fileNames, nodeNames and checksums differ in number")
        SampleDataLogic.sources[str(sampleName)] = {
            "category": category, "uris": uris, "fileNames": fileNames, "nodeNames": nodeNames,
            "checksums": checksums, "thumbnail": thumbnailFileName,
        }  # fmt: skip

    def downloadSamples(self, sampleName: str) -> list[Any]:
        """Load a registered data set; what cannot be downloaded is left out, as the application's does."""
        source, folder = self.sources[sampleName], self.folder
        if folder is None:
            return []
        names = zip(source["fileNames"], source["nodeNames"], strict=True)
        there = [(folder / file, name) for file, name in names if (folder / file).is_file()]
        return [slicer.util.loadVolume(str(file), {"name": name}) for file, name in there]


class SegmentEditor:
    """``qMRMLSegmentEditorWidget``: what it was given."""

    def __init__(self) -> None:
        self.segmentation: Any = None
        self.volume: Any = None
        self._choices = slicer.vtkMRMLSegmentEditorNode()

    def mrmlSegmentEditorNode(self) -> Any:
        """What is chosen in it: a real node, with its own defaults."""
        return self._choices

    def setSegmentationNode(self, node: Any) -> None:
        """What is edited."""
        self.segmentation = node

    def setSourceVolumeNode(self, node: Any) -> None:
        """What is seen below."""
        self.volume = node


class SegmentEditorModule:
    """``slicer.modules.segmenteditor``."""

    name = "SegmentEditor"

    def __init__(self) -> None:
        self.opened = 0
        self.editor = SegmentEditor()

    def open(self) -> None:
        """The user comes."""
        self.opened += 1

    def widgetRepresentation(self) -> Any:
        """Its widget."""
        return SimpleNamespace(self=lambda: SimpleNamespace(editor=self.editor))


class DicomDatabase:
    """``slicer.dicomDatabase``: tags of files that a test declares."""

    def __init__(self) -> None:
        self.tags: dict[str, dict[str, str]] = {}

    def instanceValue(self, uid: str, tag: str) -> str:
        """A tag's text; empty where the file lacks it."""
        return self.tags.get(uid, {}).get(tag, "")


def install() -> ModuleType:
    """Add them; gives the module ``SampleData``."""
    slicer.modules.segmenteditor = SegmentEditorModule()
    slicer.dicomDatabase = DicomDatabase()
    module = ModuleType("SampleData")
    module.__dict__["SampleDataLogic"] = SampleDataLogic
    return module
