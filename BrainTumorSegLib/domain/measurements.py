"""What is measured on a label map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .grid import Grid, reorient
from .labels import REGIONS, Region, to_regions
from .volume import Volume, bounding_box


@dataclass(frozen=True)
class RegionMeasurement:
    """Size of a region.

    Attributes:
        volume_ml: millilitres.
        share: part of the whole tumour, 0 to 1, where there is none of all that was found; NaN where that is nothing.
        lesions: connected components (26 neighbours).
        largest_diameter_mm: longest distance between two voxel centres of the largest lesion, in 3D.
        largest_axial_diameter_mm: the same within one axial slice of it.
    """

    volume_ml: float
    share: float
    lesions: int
    largest_diameter_mm: float
    largest_axial_diameter_mm: float


def measure(
    labels: Volume, regions: tuple[str, ...] = tuple(REGIONS), own: Sequence[Region] = ()
) -> dict[str, RegionMeasurement]:
    """Sizes of the regions of a label map in the convention of this library, and of a model's own."""
    # Along LPS the first array axis is the axial one, however the image was acquired.
    volume = Volume(reorient(labels.array, labels.affine, "LPS"), Grid.of(labels).oriented("LPS").affine)
    masks = to_regions(volume.array[bounding_box(volume.array > 0)])
    inside = volume.array[bounding_box(volume.array > 0)]
    masks |= {region.name: np.isin(inside, list(region.labels)) for region in own}
    whole = int(np.count_nonzero(masks["WT"])) or int(np.count_nonzero(inside))
    return {name: _measure(masks[name], volume, whole) for name in (*regions, *(region.name for region in own))}


def measure_masks(masks: Mapping[str, np.ndarray], affine: np.ndarray) -> dict[str, RegionMeasurement]:
    """Sizes of masks ``(Z, Y, X)`` as they are: drawn by hand, they need not lie within each other.

    Shares are those of WT, or of all together where there is none.
    """
    if not masks:
        return {}
    union = np.any(list(masks.values()), axis=0)
    box = bounding_box(union)
    whole = int(np.count_nonzero(masks.get("WT", union))) or int(np.count_nonzero(union))
    grid = Grid(union[box].shape, affine).oriented("LPS")  # where it begins does not matter here
    volume = Volume(reorient(union[box], affine, "LPS"), grid.affine)
    return {name: _measure(reorient(mask[box], affine, "LPS"), volume, whole) for name, mask in masks.items()}


def _measure(mask: np.ndarray, volume: Volume, whole: int) -> RegionMeasurement:
    from scipy import ndimage

    count = int(np.count_nonzero(mask))
    pieces, lesions = ndimage.label(mask, np.ones((3, 3, 3)))
    if not count:
        return RegionMeasurement(0.0, float("nan") if not whole else 0.0, 0, 0.0, 0.0)
    largest = pieces == (np.bincount(pieces.ravel())[1:].argmax() + 1)
    points = _world(np.argwhere(largest & ~ndimage.binary_erosion(largest)), volume)
    return RegionMeasurement(
        volume_ml=count * volume.voxel_volume / 1000,
        share=count / whole if whole else float("nan"),
        lesions=int(lesions),
        largest_diameter_mm=_diameter(points),
        largest_axial_diameter_mm=_largest_axial_diameter(largest, volume),
    )


def _largest_axial_diameter(mask: np.ndarray, volume: Volume) -> float:
    """The longest within one slice; slices whose box has no room for a longer one are not looked at."""
    row, column = volume.affine[:3, 1], volume.affine[:3, 0]
    room = {}
    for z in np.flatnonzero(mask.any(axis=(1, 2))):
        y, x = (np.ptp(np.flatnonzero(mask[z].any(axis=axis))) for axis in (1, 0))
        room[z] = max(np.linalg.norm(y * row + x * column), np.linalg.norm(y * row - x * column))
    longest = 0.0
    for z in sorted(room, key=lambda level: -room[level]):
        if room[z] <= longest:
            break
        longest = max(longest, _diameter(_world(np.argwhere(mask[z : z + 1]), volume)))
    return longest


def _world(index_zyx: np.ndarray, volume: Volume) -> np.ndarray:
    """Voxel indices ``(N, 3)`` → millimetres, up to a shift."""
    return index_zyx[:, ::-1] @ volume.affine[:3, :3].T


def _diameter(points: np.ndarray) -> float:
    """Longest distance between two points; only the hull's corners can be farthest apart."""
    from scipy.spatial import ConvexHull, QhullError
    from scipy.spatial.distance import pdist

    if len(points) < 2:
        return 0.0
    centred = points - points.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    flat = centred @ axes.T
    flat = flat[:, np.ptp(flat, axis=0) > 1e-6]  # a slice or a line of voxels has fewer dimensions
    if flat.shape[1] == 1:
        return float(np.ptp(flat))
    try:
        corners = flat[ConvexHull(flat).vertices]
    except QhullError:  # too few points for a hull
        corners = flat
    return float(pdist(corners).max())
