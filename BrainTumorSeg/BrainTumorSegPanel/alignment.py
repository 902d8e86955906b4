"""Check alignment: one sequence half-transparent over the reference in the slice views, and what was there before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.errors import GeometryError
from BrainTumorSegLib.domain.modalities import MODALITIES, TITLES, reference_of
from BrainTumorSegLib.io import mrml

from .sources import remove_node
from .widgets import chosen_value, errors_shown, fill_list

OPACITY = 0.5


@dataclass(frozen=True)
class Layers:
    """What a slice view shows."""

    background: str | None
    foreground: str | None
    opacity: float


@dataclass(frozen=True)
class Moved:
    """Where a run has put a scan: 4×4 affines to RAS mm of the world.

    Attributes:
        scan, reference: of both when it ran; where one has been moved since, it holds no more.
        now: of the scan over the reference.
    """

    scan: np.ndarray
    reference: np.ndarray
    now: np.ndarray

    def holds(self, scan: Any, reference: Any) -> bool:
        """Whether both volumes still lie where they lay."""
        places = ((self.scan, scan), (self.reference, reference))
        try:
            return all(np.allclose(before, mrml.affine_of(node), atol=1e-6) for before, node in places)
        except GeometryError:  # under a transform that is not linear
            return False


class AlignmentPart:
    """The button, and the sequence that is laid over the reference.

    A sequence that a run has registered is shown where the run put it: by a copy that shares its voxels, is not saved
    with the scene, and goes with the overlay.
    """

    def __init__(self, ui: Any, volumes: Callable[[], Mapping[str, Any]]) -> None:
        """``volumes`` gives the chosen images by modality."""
        self._ui, self._volumes = ui, volumes
        self._moved: Mapping[tuple[str, str], Moved] = {}
        self._before: dict[Any, Layers] = {}
        self._shown: tuple[str | bool, ...] = ()  # ids of the image and the reference; whether by a copy of the image
        self._overlay: str = ""  # id of the volume that is laid over: the image or its copy
        self._copy: Any = None
        ui.alignmentButton.connect("clicked()", self._on_click)
        ui.showSlicesButton.connect("clicked()", self._on_show_slices)
        ui.alignmentSelector.connect("currentIndexChanged(int)", self._on_choice)

    def learn(self, moved: Mapping[tuple[str, str], Moved]) -> None:
        """Where the last run has put scans, by the ids of a scan and of its reference."""
        self._moved = moved
        self.end()

    def refresh(self) -> None:
        """List what can be laid over the reference; an overlay of what is not chosen any more goes."""
        nodes = self._usable()
        others = [name for name in MODALITIES if name in nodes and name != reference_of(nodes)]
        before = chosen_value(self._ui.alignmentSelector)
        fill_list(self._ui.alignmentSelector, [(TITLES[name], name) for name in others], before)
        self._ui.alignmentSelector.enabled = bool(others)
        self._ui.alignmentButton.enabled = bool(others)
        self._ui.alignmentButton.toolTip = (
            _("Lay the chosen sequence half-transparent over the reference; click again to take it away.")
            if others
            else _("Choose two images first.")
        )
        if self._shown and before in others:
            self._show()
        elif self._shown:
            self.end()

    def end(self, restore: bool = True) -> None:
        """Take the overlay away, and show what was there before it; a view that shows something else now keeps that.

        With ``restore=False`` all views show something else.
        """
        before, self._before, self._shown = self._before, {}, ()
        self._ui.alignmentButton.checked = False
        removed = _present(self._overlay) is None
        for composite, layers in before.items():
            if restore:
                over = composite.GetForegroundVolumeID()
                if over != self._overlay and not (removed and not over):
                    continue
                composite.SetBackgroundVolumeID(_present(layers.background))
                composite.SetForegroundVolumeID(_present(layers.foreground))
            composite.SetForegroundOpacity(layers.opacity)
        self._remove_copy()

    def forget(self) -> None:
        """The scene is closed: nothing of what was shown or learnt is there any more."""
        self.end(restore=False)
        self._moved = {}

    def _usable(self) -> dict[str, Any]:
        return {name: node for name, node in self._volumes().items() if node.GetImageData() is not None}

    def _on_click(self) -> None:
        with errors_shown():
            if self._ui.alignmentButton.checked:
                self._show()
            else:
                self.end()

    def _on_show_slices(self) -> None:
        """The views show a result now."""
        if self._shown:
            self.end(restore=False)

    def _on_choice(self, _index: int) -> None:
        if self._shown:
            with errors_shown():
                self._show()

    def _show(self) -> None:
        nodes = self._usable()
        reference, over = nodes[reference_of(nodes)], nodes[chosen_value(self._ui.alignmentSelector)]
        pair = (over.GetID(), reference.GetID())
        moved = self._moved.get(pair)
        if moved is not None and not moved.holds(over, reference):
            moved = None
        shown = (*pair, moved is not None)
        if shown == self._shown:
            return
        composites = [logic.GetSliceCompositeNode() for logic in slicer.app.layoutManager().mrmlSliceLogics()]
        self._before = self._before or {
            one: Layers(one.GetBackgroundVolumeID(), one.GetForegroundVolumeID(), one.GetForegroundOpacity())
            for one in composites
        }
        self._remove_copy()
        if moved is not None:
            over = self._copy = _shown_at(over, moved.now)
        for composite in composites:
            composite.SetBackgroundVolumeID(reference.GetID())
            composite.SetForegroundVolumeID(over.GetID())
            composite.SetForegroundOpacity(OPACITY)
        self._shown, self._overlay = shown, over.GetID()
        self._ui.alignmentButton.checked = True

    def _remove_copy(self) -> None:
        copy, self._copy = self._copy, None
        if copy is not None and slicer.mrmlScene.IsNodePresent(copy):
            remove_node(copy)


def _present(identifier: str | None) -> str | None:
    """An id, if its node is still there."""
    return identifier if identifier and slicer.mrmlScene.GetNodeByID(identifier) is not None else None


def _shown_at(volume: Any, affine: np.ndarray) -> Any:
    """A volume with the same voxels in another place, for looking at alone."""
    copy = slicer.vtkMRMLScalarVolumeNode()
    copy.SetName(volume.GetName())
    copy.SetHideFromEditors(True)
    copy.SetSaveWithScene(False)
    slicer.mrmlScene.AddNode(copy)
    copy.SetAndObserveImageData(volume.GetImageData())
    copy.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(affine))
    copy.CreateDefaultDisplayNodes()
    if volume.GetDisplayNode() is not None:
        copy.GetDisplayNode().CopyContent(volume.GetDisplayNode())
    copy.GetDisplayNode().SetSaveWithScene(False)
    mrml.mark_made(copy, "overlay")
    return copy
