"""From region probabilities on the reference grid to a label map."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from ..checkpoint import PostprocessingSpec
from ..labels import ET, NCR, from_regions
from ..volume import bounding_box

CONNECTIVITY = np.ones((3, 3, 3), dtype=bool)  # 26 neighbours


def threshold(probability: np.ndarray, region: str, spec: PostprocessingSpec) -> np.ndarray:
    """The mask of a region."""
    return probability >= spec.thresholds.get(region, 0.5)


def clean(regions: Mapping[str, np.ndarray], spec: PostprocessingSpec, voxel_volume: float) -> np.ndarray:
    """Compose the label map and apply what the checkpoint declares.

    Args:
        regions: masks ``(Z, Y, X)`` of some of ET, TC, WT.
        voxel_volume: cubic millimetres.

    Returns:
        uint8 label map in the convention of this library.
    """
    labels = from_regions(regions)
    if spec.minimum_component_mm3 > 0:
        remove_small_components(labels, spec.minimum_component_mm3 / voxel_volume)
    enhancing = labels == ET
    if 0 < np.count_nonzero(enhancing) * voxel_volume < spec.minimum_et_mm3:
        labels[enhancing] = NCR
    return labels


def remove_small_components(labels: np.ndarray, minimum_voxels: float) -> None:
    """Set to background, in place, every connected piece of tumour smaller than that."""
    box = bounding_box(labels > 0)
    inside = labels[box]
    pieces, count = ndimage.label(inside > 0, CONNECTIVITY)
    if count:
        sizes = np.bincount(pieces.ravel())
        small = sizes < minimum_voxels
        small[0] = False
        inside[small[pieces]] = 0
