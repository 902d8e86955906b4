"""What the slice and 3D views show of a result, and what becomes of the one before it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import slicer

from BrainTumorSegLib.io import mrml

from .lesions import Lesion


def reference_volume(node: Any) -> Any:
    """The volume that a segmentation was made on, or None."""
    return node.GetNodeReference(slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole())


def show_contours(node: Any) -> None:
    """The reference image with the contours of the segments in the slice views."""
    reference = reference_volume(node)
    if reference is not None:
        slicer.util.setSliceViewerLayers(background=reference, foreground=None, label=None, fit=True)
    display = node.GetDisplayNode()
    if display is not None:
        display.SetVisibility(True)
        display.SetVisibility2DOutline(True)
        display.SetVisibility2DFill(False)


def jump(lesion: Lesion) -> None:
    """Centre the slice views on a lesion."""
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *lesion.centre, slicer.vtkMRMLSliceNode.CenteredJumpSlice)


def set_shown(node: Any, shown: bool) -> None:
    """Show or hide a segmentation in all views."""
    if node.GetDisplayNode() is not None:
        node.GetDisplayNode().SetVisibility(shown)


def predecessors(reference: Any) -> list[Any]:
    """Results on a volume that are shown now; those of other programs are left alone."""
    return [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        if node.GetAttribute(f"{mrml.ATTRIBUTE}model")
        and reference_volume(node) is reference
        and node.GetDisplayNode() is not None
        and node.GetDisplayNode().GetVisibility()
    ]


class NewResult:
    """The result of the last run: it comes to the views while the panel is open, in place of its predecessors."""

    def __init__(self) -> None:
        self._waiting: tuple[Any, Collection[str]] | None = None

    def came(self, node: Any, kept: Collection[str] = ()) -> None:
        """A run has made it; no view changes yet. Results whose ids are ``kept`` stay shown beside it."""
        self._waiting = (node, kept)
        set_shown(node, False)

    def show(self) -> Any:
        """Show it, and no other one on its volume; gives it back, or None where none waits."""
        waiting, self._waiting = self._waiting, None
        if waiting is None or not slicer.mrmlScene.IsNodePresent(waiting[0]):
            return None
        node, kept = waiting
        for other in predecessors(reference_volume(node)):
            if other is not node and other.GetID() not in kept:
                set_shown(other, False)
        set_shown(node, True)
        return node
