"""Nodes that a run leaves beside its segmentation: probabilities, the brain, registered images and their transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer

from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io import mrml


def add_on_reference(name: str, volume: Volume, place: mrml.Place, *, made: str, labels: bool = False) -> Any:
    """A volume on the grid of the result: it moves with the reference, and lies beside it in the subject hierarchy.

    Args:
        name: of the node; made unique.
        volume: what it shows.
        place: where the result lies.
        made: what of a run it is; keeps it from being taken for a scan.
        labels: make it a label volume.
    """
    affine = volume.affine if place.reference is None else mrml.own_affine(place.reference)
    node = _add(name, volume.array, affine, made, labels)
    if place.reference is not None:
        node.SetAndObserveTransformNodeID(place.reference.GetTransformNodeID())
        mrml.place_beside(node, place.reference)
    return node


def add_in_world(name: str, volume: Volume, place: mrml.Place, *, made: str) -> Any:
    """A volume on a grid of its own, beside the reference in the subject hierarchy."""
    node = _add(name, volume.array, volume.affine, made, False)
    if place.reference is not None:
        mrml.place_beside(node, place.reference)
    return node


def add_transform(name: str, matrix: np.ndarray, place: mrml.Place) -> Any:
    """A linear transform; a scan that is put under it lies over the reference."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", slicer.mrmlScene.GenerateUniqueName(name))
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    if place.reference is not None:
        mrml.place_beside(node, place.reference)
    return node


def _add(name: str, array: np.ndarray, affine: np.ndarray, made: str, labels: bool) -> Any:
    kind = "vtkMRMLLabelMapVolumeNode" if labels else "vtkMRMLScalarVolumeNode"
    voxels = array.astype(np.uint8 if labels else np.float32)
    node = slicer.util.addVolumeFromArray(voxels, affine, slicer.mrmlScene.GenerateUniqueName(name), kind)
    mrml.mark_made(node, made)
    return node
