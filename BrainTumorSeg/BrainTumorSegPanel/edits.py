"""Nodes that something shown was made of: when their voxels or their place are others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
import vtk

from BrainTumorSegLib.domain.errors import BrainTumorSegError
from BrainTumorSegLib.io import mrml

# After the last stroke of an edit; each would be looked at by itself otherwise.
_SETTLE_MS = 300


class EditWatch:
    """Tells of edits of segmentations and volumes when they have settled, also of those that another module makes.

    While the panel is not open, strokes of another module are not held up: what they made is asked for on return.
    """

    def __init__(self, settled: Callable[[], None], is_open: Callable[[], bool]) -> None:
        """``settled`` is called after an edit, while the panel is open."""
        self._settled, self._is_open = settled, is_open
        self._nodes: tuple[Any, ...] = ()
        self._observed: list[tuple[Any, int]] = []
        self._state: tuple[Any, ...] | None = ()
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.setInterval(_SETTLE_MS)
        self._timer.connect("timeout()", self._on_settled)

    def watch(self, *nodes: Any) -> None:
        """These as they are now, and no others any more; None stands for no node."""
        self._timer.stop()
        for observed, tag in self._observed:
            observed.RemoveObserver(tag)
        self._nodes, self._state = nodes, None
        pairs = [pair for node in nodes if node is not None for pair in _events(node)]
        self._observed = [(source, source.AddObserver(event, self._on_edited)) for source, event in pairs]

    @property
    def state(self) -> tuple[Any, ...]:
        """Tells the voxels and places of the nodes from those of another time; read again only after an edit."""
        if self._state is None:
            self._state = tuple(map(_state, self._nodes))
        return self._state

    def _on_edited(self, _caller: Any, _event: Any) -> None:
        self._state = None
        self._timer.start()

    def _on_settled(self) -> None:
        if self._is_open():
            self._settled()


def _events(node: Any) -> list[tuple[Any, int]]:
    """What tells of edits of a node, and by which events."""
    place = (node, slicer.vtkMRMLTransformableNode.TransformModifiedEvent)
    if not node.IsA("vtkMRMLSegmentationNode"):
        voxels = (slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent, vtk.vtkCommand.ModifiedEvent)
        return [place, *((node, event) for event in voxels)]
    kinds = slicer.vtkSegmentation
    events = (kinds.SourceRepresentationModified, kinds.SegmentModified, kinds.SegmentAdded, kinds.SegmentRemoved)
    return [place, *((node.GetSegmentation(), event) for event in events)]


def _state(node: Any) -> tuple[Any, ...]:
    if node is None:
        return ()
    try:
        if node.IsA("vtkMRMLSegmentationNode"):
            return mrml.fingerprint(node), mrml.world_of(node).tobytes()
        image = node.GetImageData()
        return image and image.GetMTime(), mrml.affine_of(node).tobytes()
    except BrainTumorSegError as error:  # what cannot be read is another state than before
        return (str(error),)
