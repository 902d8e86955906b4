"""The earlier tumour on the later image, where registration puts it: contours, paler than the later ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.labels import REGIONS
from BrainTumorSegLib.io import mrml

from .sources import remove_node
from .views import show_contours

_PALER = 0.6  # by this share of white
_OPACITY = 0.8


class EarlierContours:
    """A copy of the earlier segmentation, which is hidden in lists, is not saved with the scene, and goes again."""

    def __init__(self) -> None:
        self._copy: Any = None

    def show(self, earlier: Any, later: Any, moved: np.ndarray) -> None:
        """Draw its contours beside those of the later one, in place of those before.

        Args:
            earlier: segmentation or label volume node.
            later: segmentation node.
            moved: 4×4, RAS mm of the world in which the earlier head lay → that in which the later one lies.

        Raises:
            InputError, GeometryError: the earlier one cannot be read any more.
        """
        self.remove()
        known = mrml.known_regions(earlier)
        labels = mrml.labels_of(earlier, mrml.known_regions(later))
        copy = slicer.vtkMRMLSegmentationNode()
        copy.SetName(_("{name} (earlier)").format(name=earlier.GetName()))
        copy.SetHideFromEditors(True)
        copy.SetSaveWithScene(False)
        self._copy = slicer.mrmlScene.AddNode(copy)
        styles = mrml.segment_styles(tuple(name for name in REGIONS if name in known), regions=True, classes=False)
        mrml.write_segments(copy, labels.array, styles, mrml.Place(moved @ labels.affine))
        for identifier in mrml.segment_ids(copy).values():
            segment = copy.GetSegmentation().GetSegment(identifier)
            segment.SetColor(*(part + _PALER * (1 - part) for part in segment.GetColor()))
        display = copy.GetDisplayNode()
        display.SetSaveWithScene(False)
        display.SetVisibility3D(False)
        display.SetOpacity2DOutline(_OPACITY)
        show_contours(later)

    def remove(self) -> None:
        """Take them away."""
        copy, self._copy = self._copy, None
        if copy is not None and slicer.mrmlScene.IsNodePresent(copy):
            remove_node(copy)
