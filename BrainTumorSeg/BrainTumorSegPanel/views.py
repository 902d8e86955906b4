"""What the slice and 3D views show of a result, and what becomes of the one before it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import slicer

from BrainTumorSegLib.domain.errors import BrainTumorSegError
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
    """Results on a volume that are shown now; those of other programs are left alone. None for no volume."""
    if reference is None:
        return []
    return [
        node
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
        if node.GetAttribute(f"{mrml.ATTRIBUTE}model")
        and reference_volume(node) is reference
        and node.GetDisplayNode() is not None
        and node.GetDisplayNode().GetVisibility()
    ]


def is_edited(node: Any) -> bool:
    """Whether a result was edited by hand, as far as its segments can be read."""
    try:
        return mrml.holds_other_work(node)
    except BrainTumorSegError:
        return True


class NewResult:
    """The result of the last run: it comes to the views while the panel is open, in place of its predecessors.

    One that was edited by hand, be it during the run, stays shown unless the user let it be hidden.
    """

    def __init__(self) -> None:
        self._waiting: tuple[Any, Collection[str]] | None = None

    def came(self, node: Any, given_up: Collection[str] = ()) -> None:
        """A run has made it; no view changes yet. ``given_up`` are the ids of edited results that may be hidden."""
        self._waiting = (node, given_up)
        set_shown(node, False)

    def show(self) -> Any:
        """Show it, and no other one on its volume; gives it back, or None where none waits."""
        waiting, self._waiting = self._waiting, None
        if waiting is None or not slicer.mrmlScene.IsNodePresent(waiting[0]):
            return None
        node, given_up = waiting
        for other in predecessors(reference_volume(node)):
            if other is not node and (other.GetID() in given_up or not is_edited(other)):
                set_shown(other, False)
        set_shown(node, True)
        return node
