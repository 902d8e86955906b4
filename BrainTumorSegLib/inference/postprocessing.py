"""From region probabilities on the reference grid to a label map."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from ..domain.labels import ED, ET, NCR, REGIONS, from_regions
from ..domain.volume import bounding_box
from ..models.description import PostprocessingSpec

CONNECTIVITY = np.ones((3, 3, 3), dtype=bool)  # 26 neighbours

# Region → what its small pieces are taken for, from outside to inside.
_AROUND = {"TC": ED, "ET": NCR}


def region_mask(probability: np.ndarray, region: str, spec: PostprocessingSpec) -> np.ndarray:
    """The mask of a region ``(Z, Y, X)``: its probability thresholded, holes filled if the checkpoint declares it."""
    mask = probability >= spec.thresholds.get(region, 0.5)
    if region in spec.filled:
        fill_holes(mask)
    return mask


def fill_holes(mask: np.ndarray) -> None:
    """Add, in place, every voxel that the mask encloses in its slice along some axis (4 neighbours)."""
    from scipy import ndimage

    inside = mask[bounding_box(mask)]
    around = ~inside
    faces = ndimage.generate_binary_structure(mask.ndim, 1)
    for axis in range(mask.ndim):
        in_plane = faces.copy()
        for end in (0, -1):
            np.moveaxis(in_plane, axis, 0)[end] = False
        # What is around the mask in all slices along this axis at once, and which pieces of it reach a slice's edge.
        pieces, count = ndimage.label(around, in_plane)
        open_pieces = np.zeros(count + 1, dtype=bool)
        open_pieces[0] = True  # the mask itself
        for other in set(range(mask.ndim)) - {axis}:
            for end in (0, -1):
                open_pieces[pieces.take(end, other)] = True
        inside |= ~open_pieces[pieces]


def clean(regions: Mapping[str, np.ndarray], spec: PostprocessingSpec, voxel_volume: float) -> np.ndarray:
    """Compose the label map and apply what the checkpoint declares.

    Args:
        regions: masks ``(Z, Y, X)`` of some of ET, TC, WT.
        voxel_volume: cubic millimetres.

    Returns:
        uint8 label map in the convention of this library.
    """
    labels = from_regions(regions)
    if spec.minimum_component_mm3 > 0 or spec.minimum_core_mm3 > 0:
        remove_components(labels, spec.minimum_component_mm3 / voxel_volume, spec.minimum_core_mm3 / voxel_volume)
    for region, around in _AROUND.items():
        give_away(labels, REGIONS[region].labels, around, spec.minimum_pieces_mm3.get(region, 0.0) / voxel_volume)
    enhancing = labels == ET
    if 0 < np.count_nonzero(enhancing) * voxel_volume < spec.minimum_et_mm3:
        labels[enhancing] = NCR
    return labels


def give_away(labels: np.ndarray, inside: Collection[int], around: int, minimum_voxels: float) -> None:
    """Give connected pieces of a region with fewer voxels the label of what is around them, in place.

    Args:
        labels: label map ``(Z, Y, X)``.
        inside: labels of the region.
        around: the label that small pieces get.
        minimum_voxels: smaller pieces go.
    """
    from scipy import ndimage

    if minimum_voxels <= 0:
        return
    mask = np.isin(labels, list(inside))
    box = bounding_box(mask)
    pieces, _ = ndimage.label(mask[box], CONNECTIVITY)
    small = np.bincount(pieces.ravel()) < minimum_voxels
    small[0] = False
    labels[box][small[pieces]] = around


def remove_components(labels: np.ndarray, minimum_voxels: float, minimum_core: float = 0.0) -> None:
    """Set connected pieces of tumour to background, in place.

    Args:
        labels: label map ``(Z, Y, X)``.
        minimum_voxels: smaller pieces go.
        minimum_core: pieces with fewer voxels of core than this go, too, where another one has as many.
    """
    from scipy import ndimage

    box = bounding_box(labels > 0)
    inside = labels[box]
    pieces, count = ndimage.label(inside > 0, CONNECTIVITY)
    if not count:
        return
    kept = np.bincount(pieces.ravel()) >= minimum_voxels
    cores = np.bincount(pieces[(inside == NCR) | (inside == ET)], minlength=count + 1) >= minimum_core
    if (cores & kept)[1:].any():
        kept &= cores
    kept[0] = True
    inside[~kept[pieces]] = 0
