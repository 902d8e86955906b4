"""What a person does with the panel, and what they must not find afterwards."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from BrainTumorSegLib import engine_process
from Testing.slicer.harness.dialogs import DESK, Desk, Shown

PATIENCE = 240  # seconds that a busy machine may need for a small case
SEQUENCES = ("t1", "t1ce", "t2", "flair")


class Panel:
    """The panel by its widgets."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    @property
    def widget(self) -> Any:
        """The module's Python widget; another one after a reload."""
        return slicer.modules.braintumorseg.widgetRepresentation().self()

    @property
    def ui(self) -> Any:
        """The widgets by name."""
        return self.widget.ui

    def click(self, name: str) -> None:
        """Click a button that can be clicked."""
        button = getattr(self.ui, name)
        assert button.enabled, f"{name} is disabled: {button.toolTip}"
        button.click()
        self.raise_uncaught()

    def load(self, case: Path) -> dict[str, Any]:
        """Load the sequences of a case folder as a person does; nodes by modality."""
        self.desk.answer(str(case))
        self.click("loadFolderButton")
        assert [shown.kind for shown in self.desk.take()] == ["file"]
        return {name: getattr(self.ui, f"{name}Selector").currentNode() for name in SEQUENCES}

    def choose_model(self, name: str) -> None:
        """In the list of models."""
        box = self.ui.modelSelector
        values = [box.itemData(index) for index in range(box.count)]
        box.currentIndex = values.index(name)

    def segment(self, name: str = "applyButton") -> Any:
        """Click, wait to the end, and give the segmentation that the results show."""
        self.click(name)
        self.wait_to_end()
        return self.ui.resultSelector.currentNode()

    def wait_to_end(self) -> None:
        """Until nothing runs."""
        self.wait_until(lambda: not self.ui.cancelButton.enabled)

    def wait_for(self, words: str) -> None:
        """Until the line below the progress bar says this."""
        self.wait_until(lambda: words in self.ui.statusLabel.text)

    def wait_until(self, happened: Callable[[], bool], seconds: float = PATIENCE) -> None:
        """Let Qt work until something is so."""
        until = time.monotonic() + seconds
        while not happened():
            slicer.app.processEvents()
            self.raise_uncaught()
            assert time.monotonic() < until, f"waited {seconds} s; shown: {self.desk.shown}"
            time.sleep(0.01)

    def raise_uncaught(self) -> None:
        """What a slot raised, with its own traceback."""
        if self.desk.uncaught:
            raise self.desk.uncaught.pop(0)

    def table(self, name: str) -> list[list[str]]:
        """The cells of a table, its header first, which may take two lines."""
        table = getattr(self.ui, name)
        columns = range(table.columnCount)
        header = [table.horizontalHeaderItem(column).text().replace("\n", " ") for column in columns]
        return [header, *([table.item(row, column).text() for column in columns] for row in range(table.rowCount))]


class Traces:
    """What a test may not leave behind: processes, temporary files, exceptions, messages nobody looked at."""

    def __init__(self, temporary: Path) -> None:
        self.desk, self._temporary = DESK, temporary
        self.desk.clear()
        self._before = set(temporary.iterdir())

    def left_files(self) -> list[Path]:
        """What came to the temporary folder and stayed."""
        return sorted(set(self._temporary.iterdir()) - self._before)

    def check(self) -> None:
        """Fail for what is left."""
        uncaught, shown, unused = self.desk.uncaught, self.desk.shown, list(self.desk.unused_answers)
        engine_process.processes.end_idle()
        files, processes = self.left_files(), engines()
        self.desk.clear()
        for process in processes:
            os.kill(process, signal.SIGKILL)
        assert not uncaught, f"exceptions in slots or observers: {uncaught!r}"
        assert not shown, f"messages that the test did not expect: {shown}"
        assert not unused, f"questions that were never asked: {unused}"
        assert not processes, f"{len(processes)} engine processes still ran"
        assert not files, f"temporary files stayed: {files}"


def engines() -> list[int]:
    """Process ids of this process's children that run the engine (Linux), but for one that waits for a run."""
    idle = engine_process.processes.idle
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if b"BrainTumorSegLib" in command and fields[0] != "Z" and int(fields[1]) == os.getpid():
                found.append(int(entry.name))
    return [process for process in found if idle is None or process != idle.popen.pid]


def idle_engine() -> int | None:
    """Process id of the engine that waits for a run."""
    idle = engine_process.processes.idle
    return idle.popen.pid if idle is not None and idle.popen.poll() is None else None


def segment_names(node: Any) -> list[str]:
    """Names of the segments, in order."""
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegment(index).GetName() for index in range(segmentation.GetNumberOfSegments())]


def mask(node: Any, name: str, reference: Any) -> np.ndarray:
    """A segment on the grid of a volume, as Slicer's own function gives it."""
    identifier = node.GetSegmentation().GetSegmentIdBySegmentName(name)
    array = slicer.util.arrayFromSegmentBinaryLabelmap(node, identifier, reference)
    return np.zeros(slicer.util.arrayFromVolume(reference).shape, bool) if array is None else array.astype(bool)


def snapshot() -> dict[str, tuple[str, ...]]:
    """The scene's nodes: id → class, name and segments; what "the scene is as it was" compares."""
    scene = slicer.mrmlScene
    found = {}
    for index in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(index)
        names = tuple(segment_names(node)) if node.IsA("vtkMRMLSegmentationNode") else ()
        found[node.GetID()] = (node.GetClassName(), node.GetName() or "", *names)
    return found


def remove(node: Any) -> None:
    """Take a node out of the scene with its display and storage nodes, as the application's Data module does."""
    belongings = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    belongings += [node.GetStorageNode()]
    for one in (node, *belongings):
        if one is not None:
            slicer.mrmlScene.RemoveNode(one)


def bend(node: Any) -> None:
    """Put a node under a transform that is not linear."""
    warp = vtk.vtkThinPlateSplineTransform()
    warp.SetBasisToR()
    for points, shift in ((vtk.vtkPoints(), 0), (vtk.vtkPoints(), 2)):
        for corner in ((0, 0, 0), (9, 0, 0), (0, 8, 0), (0, 0, 7 + shift), (5, 5, 5)):
            points.InsertNextPoint(corner)
        (warp.SetTargetLandmarks if shift else warp.SetSourceLandmarks)(points)
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTransformNode", "warp")
    transform.SetAndObserveTransformToParent(warp)
    node.SetAndObserveTransformNodeID(transform.GetID())


def only_message(desk: Desk) -> Shown:
    """The one message that was shown."""
    shown = desk.take()
    assert len(shown) == 1, f"{len(shown)} messages: {shown}"
    return shown[0]
