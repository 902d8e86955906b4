"""Nodes that a run leaves beside its segmentation: probabilities, the brain, registered images and their transforms."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import slicer

from BrainTumorSegLib.domain.grid import Grid, same_grid
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io import mrml


def add_volume(name: str, volume: Volume, place: mrml.Place, *, made: str, labels: bool = False) -> Any:
    """A volume beside the reference in the subject hierarchy; one on its grid is moved with it.

    Args:
        name: of the node; made unique.
        volume: what it shows, where the reference lay when it was read.
        place: where the result lies.
        made: what of a run it is; keeps it from being taken for a scan.
        labels: make it a label volume.
    """
    reference, volume = place.reference, dataclasses.replace(volume, affine=place.motion @ volume.affine)
    on_it = reference is not None and same_grid(Grid.of(volume), mrml.grid_of_volume(reference))
    kind = "vtkMRMLLabelMapVolumeNode" if labels else "vtkMRMLScalarVolumeNode"
    voxels = volume.array.astype(np.uint8 if labels else np.float32)
    affine = mrml.own_affine(reference) if on_it else volume.affine
    node = slicer.util.addVolumeFromArray(voxels, affine, slicer.mrmlScene.GenerateUniqueName(name), kind)
    mrml.mark_made(node, made)
    if on_it:
        node.SetAndObserveTransformNodeID(reference.GetTransformNodeID())
    if reference is not None:
        mrml.place_beside(node, reference)
    return node


def add_transform(name: str, matrix: np.ndarray, place: mrml.Place) -> Any:
    """A linear transform; a scan that is put under it lies over the reference.

    Args:
        name: of the node; made unique.
        matrix: 4×4, from the scan's own coordinates to where the reference lay when it was read.
        place: where the result lies.
    """
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode", slicer.mrmlScene.GenerateUniqueName(name))
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(place.motion @ matrix))
    if place.reference is not None:
        mrml.place_beside(node, place.reference)
    return node
