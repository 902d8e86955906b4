"""Label maps of this library to segmentation nodes, and back.

A result is put under the transform of its reference, so that both move together.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from ...domain.errors import InputError
from ...domain.json_values import json_of
from ...domain.labels import (
    CONVENTIONS,
    REGIONS,
    TISSUES,
    Region,
    decide_convention,
    found_values,
    from_masks,
    read_labels,
    tissues_of,
)
from ...domain.volume import Volume, bounding_box
from .translation import tr as _
from .volumes import ATTRIBUTE, affine_of, own_affine, world_of

TERMINOLOGY = "BrainTumorSeg"
_CATEGORY = "SCT^49755003^Morphologically Altered Structure"
_ANATOMY = "Anatomic codes - DICOM master list~SCT^12738006^Brain~^^"


STYLES: dict[str, Region] = {**TISSUES, **REGIONS}


def terminology_of(style: Region) -> str:
    """Slicer's terminology entry of a region or tissue class, of seven parts."""
    code = style.code
    return f"{TERMINOLOGY}~{_CATEGORY}~{code.scheme}^{code.value}^{code.meaning}~^^~{_ANATOMY}"


def segment_styles(
    known: tuple[str, ...], *, regions: bool, classes: bool, own: Sequence[Region] = ()
) -> tuple[Region, ...]:
    """The segments to make for a model that knows these regions: its classes only where it tells them apart.

    Args:
        known: regions that the model knows.
        regions, classes: what is wanted of them.
        own: the model's own, which are always made.
    """
    chosen = {name: REGIONS[name] for name in known} if regions else {}
    return (*(chosen | tissues_of(known) if classes else chosen).values(), *own)


@dataclass(frozen=True)
class Place:
    """Where a result lies: on a volume of the scene, or on the grid of a file that is not loaded.

    Attributes:
        affine: from voxel index to RAS millimetres of the world.
        reference: the volume node, if there is one.
        motion: 4×4, of the world: what has become of the reference's place since it was read.
    """

    affine: np.ndarray
    reference: Any = None
    motion: np.ndarray = field(default_factory=lambda: np.eye(4))


def write_segments(node: Any, labels: np.ndarray, styles: tuple[Region, ...], place: Place) -> None:
    """Put a label map ``(Z, Y, X)`` of this library into a segmentation node, replacing segments of these names.

    Raises:
        GeometryError: the node is under a transform that is not linear.
        InputError: it holds segments that cannot be made label maps.
    """
    segmentation = node.GetSegmentation()
    if segmentation.GetNumberOfSegments() == 0:
        if place.reference is not None:
            node.SetAndObserveTransformNodeID(place.reference.GetTransformNodeID())
    else:
        _make_label_maps(node)  # of others' segments
    affine = _local_affine(node, place)
    with slicer.util.NodeModify(node):
        _set_geometry(node, affine, labels.shape, place.reference)
        own = [style.name for style in styles if style.name not in STYLES]
        for name in (*_names(node), *own):  # a former result goes whole, also what this one lacks
            while identifier := segmentation.GetSegmentIdBySegmentName(name):
                segmentation.RemoveSegment(identifier)
        segmentation.SetSourceRepresentationName("Binary labelmap")
        for style in styles:
            segment = slicer.vtkSegment()
            segment.SetName(style.name)
            segment.SetColor([part / 255 for part in style.colour])
            segment.SetTerminology(terminology_of(style))
            segment.SetTag("Description", style.title)
            segment.AddRepresentation("Binary labelmap", _labelmap(np.isin(labels, list(style.labels)), affine))
            segmentation.AddSegment(segment, segmentation.GenerateUniqueSegmentID(style.name))
    node.SetAttribute(f"{ATTRIBUTE}own", "\n".join(own))
    node.SetAttribute(f"{ATTRIBUTE}fingerprint", fingerprint(node))
    _show(node, styles)


def _make_label_maps(node: Any) -> None:
    """Give segments, which may be surfaces or contours, label maps."""
    if not node.GetSegmentation().CreateRepresentation("Binary labelmap"):
        raise InputError(
            _("The segments of {name} cannot be made label maps.").format(name=node.GetName()),
            _("Choose another segmentation."),
        )


def _local_affine(node: Any, place: Place) -> np.ndarray:
    """From voxel index to the coordinates of the segmentation node."""
    same = place.reference is not None and place.reference.GetTransformNodeID() == node.GetTransformNodeID()
    if same:  # no rounding on the way to the world and back
        return own_affine(place.reference)
    return np.asarray(np.linalg.inv(world_of(node)) @ place.affine)


def _set_geometry(node: Any, affine: np.ndarray, shape: tuple[int, ...], reference: Any) -> None:
    """Where the Segment Editor draws: the grid of the result."""
    if reference is not None:
        node.SetReferenceImageGeometryParameterFromVolumeNode(reference)
        return
    z, y, x = shape
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    extent = [0, x - 1, 0, y - 1, 0, z - 1]
    text = slicer.vtkSegmentationConverter.SerializeImageGeometry(slicer.util.vtkMatrixFromArray(affine), extent)
    node.GetSegmentation().SetConversionParameter(name, text)


def _labelmap(mask: np.ndarray, affine: np.ndarray) -> Any:
    """The box around a mask, at its place."""
    image = slicer.vtkOrientedImageData()
    image.SetImageToWorldMatrix(slicer.util.vtkMatrixFromArray(affine))
    if not mask.any():
        image.SetExtent(0, -1, 0, -1, 0, -1)
        image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
        return image
    box = bounding_box(mask)
    image.SetExtent([end for side in reversed(box) for end in (side.start, side.stop - 1)])
    voxels = np.ascontiguousarray(mask[box], dtype=np.uint8)
    array = numpy_support.numpy_to_vtk(voxels.ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
    array.SetName("ImageScalars")
    image.GetPointData().SetScalars(array)
    return image


def _show(node: Any, styles: tuple[Region, ...]) -> None:
    """Contours, since regions lie over each other; outer regions shine through in 3D."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    if display is None:
        return
    display.SetVisibility2DFill(False)
    display.SetVisibility2DOutline(True)
    ids = segment_ids(node)
    for style in styles:
        display.SetSegmentOpacity3D(ids[style.name], style.opacity)


def labels_of(node: Any, regions: Collection[str] = tuple(REGIONS)) -> Volume:
    """The label map of a segmentation or label volume node, in the convention of this library.

    Segments are known by their names: ET, TC and WT, or else NCR, ED and ET. The affine is that of the world.

    Args:
        node: whose labels they are.
        regions: those that are asked for: of the whole tumour alone, a mask of 0 and 1 or 255 tells all.

    Raises:
        InputError: it has none of these segments, or its voxels follow no known convention, or more than one.
        GeometryError: under a transform that is not linear.
    """
    if node.IsA("vtkMRMLLabelMapVolumeNode"):
        return _labels_of_volume(node, regions)
    masks, affine = masks_of(node)
    found = {name: masks[name] for name in REGIONS if name in masks}
    labels = from_masks(found if set(found) - {"ET"} else masks)  # ET is a tissue class as well
    return Volume(labels, affine, node.GetName())


def _labels_of_volume(node: Any, regions: Collection[str]) -> Volume:
    name = node.GetName()
    if node.GetImageData() is None:
        raise InputError(_("{name} holds no image.").format(name=name), _("Load it again."))
    values = slicer.util.arrayFromVolume(node)
    found = found_values(values, name)
    whole = set(regions) == {"WT"} and CONVENTIONS["whole"].fits(found)
    try:
        convention = decide_convention({name: found}, "whole" if whole else "auto", reference=True)
    except InputError as error:
        raise InputError(
            str(error),
            _(
                "Convert it to a segmentation (module Data, right click), and call its segments what they are: ET, TC "
                "and WT, or NCR, ED and ET; that of the whole tumour alone WT."
            ),
        ) from error
    return Volume(read_labels(values, convention, name), affine_of(node), name)


def masks_of(node: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The segments of a segmentation as they are: name → mask ``(Z, Y, X)``, and their affine in the world.

    Of surfaces and contours label maps are made for it; the node stays as it is.

    Raises:
        InputError: it has none of a result's segments, or one cannot be read or made a label map.
        GeometryError: under a transform that is not linear.
    """
    ids = segment_ids(node)
    if not ids:
        raise InputError(
            _("{name} has no segment called ET, TC, WT, NCR or ED.").format(name=node.GetName()),
            _("Name its segments so, or choose another."),
        )
    readable = _with_label_maps(node)
    grid = grid_of(readable)
    matrix = vtk.vtkMatrix4x4()
    grid.GetImageToWorldMatrix(matrix)
    affine = world_of(node) @ slicer.util.arrayFromVTKMatrix(matrix)
    affine[:3, 3] += affine[:3, :3] @ grid.GetExtent()[::2]
    return {name: _mask(readable, identifier, grid) for name, identifier in ids.items()}, affine


def _with_label_maps(node: Any) -> Any:
    """The node, or a copy of its result's segments as label maps where it holds them as something else."""
    segmentation, ids = node.GetSegmentation(), segment_ids(node).values()
    if all(segmentation.GetSegment(one).GetRepresentation("Binary labelmap") is not None for one in ids):
        return node
    copy = slicer.vtkMRMLSegmentationNode()
    copy.SetName(node.GetName())
    copy.SetAttribute(f"{ATTRIBUTE}own", node.GetAttribute(f"{ATTRIBUTE}own"))
    copied = copy.GetSegmentation()
    copied.SetSourceRepresentationName(segmentation.GetSourceRepresentationName())
    copied.CopyConversionParameters(segmentation)
    for identifier in ids:
        copied.CopySegmentFromSegmentation(segmentation, identifier)
    _make_label_maps(copy)
    return copy


def replace_mask(node: Any, name: str, mask: np.ndarray) -> None:
    """Give a segment other voxels, on the grid of :func:`masks_of`; the rest of it stays.

    Raises:
        InputError: the segments cannot be made label maps.
    """
    _make_label_maps(node)
    node.GetSegmentation().SetSourceRepresentationName("Binary labelmap")
    grid = grid_of(node)
    image = slicer.vtkOrientedImageData()
    image.DeepCopy(grid)
    voxels = np.ascontiguousarray(mask, dtype=np.uint8)
    array = numpy_support.numpy_to_vtk(voxels.ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
    array.SetName("ImageScalars")
    image.GetPointData().SetScalars(array)
    put, extent = slicer.vtkSlicerSegmentationsModuleLogic.SetBinaryLabelmapToSegment, image.GetExtent()
    put(image, node, segment_ids(node)[name], slicer.vtkSlicerSegmentationsModuleLogic.MODE_REPLACE, extent)


def segment_ids(node: Any) -> dict[str, str]:
    """Region, class or region of the model's own → id of its segment, for those that the segmentation has."""
    found = {name: node.GetSegmentation().GetSegmentIdBySegmentName(name) for name in _names(node)}
    return {name: identifier for name, identifier in found.items() if identifier}


def _names(node: Any) -> tuple[str, ...]:
    """Those that segments of a result may have, with the own ones of the model that made it."""
    return (*STYLES, *filter(None, (node.GetAttribute(f"{ATTRIBUTE}own") or "").split("\n")))


def known_regions(node: Any) -> tuple[str, ...]:
    """Regions that a result speaks of: those that its segments make up, of those its model knew."""
    if not node.IsA("vtkMRMLSegmentationNode"):
        return tuple(REGIONS)
    ids, stored = segment_ids(node), node.GetAttribute(f"{ATTRIBUTE}regions")
    if stored:
        told = frozenset[int]().union(*(TISSUES[name].labels for name in ids if name in TISSUES))
        made = [name for name, region in REGIONS.items() if name in ids or region.labels <= told]
        return tuple(name for name in made if name in stored.split(","))
    found = tuple(name for name in REGIONS if name in ids)
    return found if set(found) - {"ET"} else tuple(REGIONS)  # ET is a tissue class as well


def grid_of(node: Any) -> Any:
    """An empty ``vtkOrientedImageData`` over the segmentation's reference geometry, else over what it covers."""
    grid = slicer.vtkOrientedImageData()
    name = slicer.vtkSegmentationConverter.GetReferenceImageGeometryParameterName()
    text = node.GetSegmentation().GetConversionParameter(name)
    if not text:
        ids = vtk.vtkStringArray()
        for identifier in segment_ids(node).values():
            ids.InsertNextValue(identifier)
        text = node.GetSegmentation().DetermineCommonLabelmapGeometry(
            slicer.vtkSegmentation.EXTENT_UNION_OF_SEGMENTS, ids
        )
    slicer.vtkSegmentationConverter.DeserializeImageGeometry(text, grid, False)
    return grid


def _mask(node: Any, identifier: str, grid: Any) -> np.ndarray:
    """Boolean mask ``(Z, Y, X)`` of a segment on a grid."""
    x0, x1, y0, y1, z0, z1 = grid.GetExtent()
    shape = (z1 - z0 + 1, y1 - y0 + 1, x1 - x0 + 1)
    image, resampled = slicer.vtkOrientedImageData(), slicer.vtkOrientedImageData()
    node.GetBinaryLabelmapRepresentation(identifier, image)
    if image.IsEmpty():
        return np.zeros(shape, bool)
    resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
    if not resample(image, grid, resampled, False, False):
        raise InputError(
            _("Segment {segment} of {name} cannot be read.").format(segment=identifier, name=node.GetName()),
            _("Choose another segmentation."),
        )
    voxels = numpy_support.vtk_to_numpy(resampled.GetPointData().GetScalars())
    return np.asarray(voxels.reshape(shape) != 0)


def fingerprint(node: Any) -> str:
    """A digest of the voxels of the segments of a result; another one than stored tells of editing by hand.

    Raises:
        InputError: a segment cannot be read or made a label map.
    """
    state, ids = hashlib.sha256(), segment_ids(node)
    readable = _with_label_maps(node)
    grid = grid_of(readable) if ids else None
    for name, identifier in ids.items():
        state.update(name.encode())
        state.update(np.packbits(_mask(readable, identifier, grid)).tobytes())
    return state.hexdigest()


def mark_edited(node: Any) -> None:
    """Keep with a result that it is not as its run made it: its file was changed before it was loaded."""
    node.SetAttribute(f"{ATTRIBUTE}fingerprint", "edited")


def holds_other_work(node: Any) -> bool:
    """Whether a segmentation has segments named as a result's that are not an untouched result."""
    if not segment_ids(node):
        return False
    return bool(node.GetAttribute(f"{ATTRIBUTE}fingerprint") != fingerprint(node))


def write_provenance(node: Any, provenance: Mapping[str, Any], regions: tuple[str, ...]) -> None:
    """Keep with the node how it came about: the main facts by name, and everything as JSON."""
    model = provenance.get("model", {})
    facts = {
        "model": model.get("id", ""),
        "modelVersion": model.get("version", ""),
        "modelSha256": model.get("sha256", ""),
        "device": provenance.get("device", ""),
        "backend": provenance.get("backend", ""),
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "regions": ",".join(regions),
        "provenance": json.dumps(dict(provenance), ensure_ascii=True),
    }
    for name, value in facts.items():
        node.SetAttribute(f"{ATTRIBUTE}{name}", str(value))


def provenance_of(node: Any) -> dict[str, Any]:
    """What :func:`write_provenance` kept; nothing where it is of another program, or was changed."""
    try:
        values = json_of(node.GetAttribute(f"{ATTRIBUTE}provenance") or "{}")
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def place_beside(node: Any, reference: Any) -> None:
    """Put a node where the reference is in the subject hierarchy, so that both belong to one study."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    beside = tree.GetItemByDataNode(reference) if tree is not None else 0
    if beside:  # 0 stands for none
        parent = tree.GetItemParent(beside)
        item = tree.GetItemByDataNode(node) or tree.CreateItem(parent, node)
        tree.SetItemParent(item, parent)
