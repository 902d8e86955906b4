"""Volume nodes to images and cases of this library, and to files for the engine.

Geometry is that of the world: a volume under a linear transform is taken where it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import slicer
import vtk

from ...domain.case import Case
from ...domain.errors import GeometryError, InputError
from ...domain.grid import SMALLEST_OVERLAP, Grid, overlap, same_grid
from ...domain.volume import Volume
from .translation import tr as _

# Of the attributes that nodes get here.
ATTRIBUTE = "BrainTumorSeg."


class Alignment(Enum):
    """How an image lies on the reference."""

    SAME = "same grid"
    RESAMPLED = "resampled"
    APART = "far apart"


def check_volume(node: Any) -> None:
    """Refuse a node that cannot be an input.

    Raises:
        InputError: no scalar 3D image.
        GeometryError: under a transform that is not linear.
    """
    name = node.GetName()
    if not node.IsA("vtkMRMLScalarVolumeNode") or node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError(
            _("{name} is not an image but a {kind}.").format(name=name, kind=node.GetNodeTagName()),
            _("Choose an MRI volume."),
        )
    image = node.GetImageData()
    if image is None or image.GetPointData().GetScalars() is None:
        raise InputError(_("{name} holds no image.").format(name=name), _("Load it again."))
    if made := node.GetAttribute(f"{ATTRIBUTE}made"):
        raise InputError(
            _("{name} is no scan but what a run made ({made}).").format(name=name, made=made),
            _("Choose the scan itself."),
        )
    if image.GetNumberOfScalarComponents() != 1:
        raise InputError(_("{name} is a colour image.").format(name=name), _("Choose an MRI volume of grey values."))
    if min(image.GetDimensions()) < 2:
        raise InputError(
            _("{name} is a single slice, not a 3D image.").format(name=name), _("Choose a volume of several slices.")
        )
    world_of(node)


def mark_made(node: Any, what: str) -> None:
    """Keep with a node what of a run it is; it is refused as an input then, also in a saved scene."""
    node.SetAttribute(f"{ATTRIBUTE}made", what)


def world_of(node: Any) -> np.ndarray:
    """The 4×4 matrix from the node's own coordinates to those of the world.

    Raises:
        GeometryError: it is under a transform that is not linear.
    """
    transform = node.GetParentTransformNode()
    if transform is None:
        return np.eye(4)
    matrix = vtk.vtkMatrix4x4()
    if not transform.IsTransformToWorldLinear():
        raise GeometryError(
            _("{name} is under the transform {transform}, which is not linear.").format(
                name=node.GetName(), transform=transform.GetName()
            ),
            _("Harden the transform on a copy (module Data, right click), or take {name} out of it.").format(
                name=node.GetName()
            ),
        )
    transform.GetMatrixTransformToWorld(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def own_affine(volume: Any) -> np.ndarray:
    """The 4×4 matrix from voxel index ``(i, j, k)`` to the volume's own RAS coordinates."""
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def affine_of(volume: Any) -> np.ndarray:
    """The 4×4 matrix from voxel index ``(i, j, k)`` to RAS millimetres of the world.

    Raises:
        GeometryError: under a transform that is not linear.
    """
    return world_of(volume) @ own_affine(volume)


def grid_of_volume(volume: Any) -> Grid:
    """Where the voxels of a volume lie in the world.

    Raises:
        GeometryError: under a transform that is not linear.
    """
    x, y, z = volume.GetImageData().GetDimensions()
    return Grid((z, y, x), affine_of(volume))


def alignment(node: Any, reference: Any) -> Alignment:
    """How the image of one volume lies on that of another.

    Raises:
        GeometryError: under a transform that is not linear.
    """
    first, second = grid_of_volume(node), grid_of_volume(reference)
    if same_grid(first, second):
        return Alignment.SAME
    return Alignment.RESAMPLED if overlap(first, second) >= SMALLEST_OVERLAP else Alignment.APART


def volume_of(node: Any) -> Volume:
    """The image of a volume node where it is shown; its voxels are not copied.

    Raises:
        InputError, GeometryError: see :func:`check_volume`.
    """
    check_volume(node)
    return Volume(slicer.util.arrayFromVolume(node), affine_of(node), node.GetName())


def case_of(nodes: Mapping[str, Any], case_id: str = "scene") -> Case:
    """The case of volume nodes by modality."""
    return Case(case_id, {modality: volume_of(node) for modality, node in nodes.items()})


def mask_of(node: Any) -> Volume:
    """Where a label volume is not 0: uint8 ``(Z, Y, X)`` in the world.

    Raises:
        InputError: it is no label volume, or holds no image.
        GeometryError: under a transform that is not linear.
    """
    name = node.GetName()
    if not node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError(
            _("{name} is no label volume but a {kind}.").format(name=name, kind=node.GetNodeTagName()),
            _("Export it to a label volume."),
        )
    if node.GetImageData() is None:
        raise InputError(_("{name} holds no image.").format(name=name), _("Load it again."))
    return Volume((slicer.util.arrayFromVolume(node) != 0).astype(np.uint8), affine_of(node), name)


def write_image(volume: Volume, path: Path) -> None:
    """Write an image for the engine: uncompressed NIfTI-2, which keeps any affine in double precision.

    Raises:
        OSError: the disk refused.
    """
    import nibabel

    array = volume.array.astype(np.float64) if volume.array.dtype.itemsize == 8 else volume.array
    image = nibabel.Nifti2Image(array.transpose(), volume.affine)
    image.set_qform(None, code=0)  # a sheared affine has none; the sform says it all
    image.set_sform(volume.affine, code=1)
    nibabel.save(image, path)
