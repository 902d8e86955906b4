"""Distances between the surfaces of two masks, computed once and reduced to as many measures as wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...domain.errors import GeometryError
from ...domain.volume import bounding_box
from .surfel import FULL, neighbour_codes, surfel_areas


@dataclass(frozen=True)
class SurfaceDistances:
    """From every element of each surface to the nearest element of the other, in mm.

    Attributes:
        to_reference: one a surface element of the prediction.
        to_prediction: one a surface element of the reference.
        predicted_area, reference_area: weight of each element: 1 for surface voxels, mm² for surfels.
    """

    to_reference: np.ndarray
    to_prediction: np.ndarray
    predicted_area: np.ndarray
    reference_area: np.ndarray

    def hd95(self, definition: str = "directed") -> float:
        """Robust Hausdorff distance by a named definition (see docs/reference/measures.md).

        ``directed``: the larger of the two directed 95th percentiles (linear interpolation; MONAI, CaPTk).
        ``pooled``: the 95th percentile of both directions together (medpy). ``surfel``: the larger of the two
        directed percentiles weighted by area (Nikolov et al. 2021); give it distances between surfels.
        """
        if definition == "directed":
            return float(max(np.percentile(self.to_reference, 95), np.percentile(self.to_prediction, 95)))
        if definition == "pooled":
            return float(np.percentile(np.concatenate([self.to_reference, self.to_prediction]), 95))
        return max(
            _weighted_percentile(self.to_reference, self.predicted_area, 0.95),
            _weighted_percentile(self.to_prediction, self.reference_area, 0.95),
        )

    @property
    def hd(self) -> float:
        """Hausdorff distance: the largest distance of all."""
        return float(max(self.to_reference.max(), self.to_prediction.max()))

    @property
    def assd(self) -> float:
        """Average symmetric surface distance: the mean over both surfaces' elements (Heimann et al. 2009)."""
        total = self.to_reference.sum() + self.to_prediction.sum()
        return float(total / (self.to_reference.size + self.to_prediction.size))

    @property
    def masd(self) -> float:
        """Mean of the two directed averages, so that a large surface does not outweigh a small one (medpy's assd)."""
        return float((self.to_reference.mean() + self.to_prediction.mean()) / 2)

    def surface_dice(self, tolerance: float) -> float:
        """Share of both surfaces, by area, within ``tolerance`` mm of the other (Nikolov et al. 2021)."""
        near = self.predicted_area[self.to_reference <= tolerance].sum()
        near += self.reference_area[self.to_prediction <= tolerance].sum()
        return float(near / (self.predicted_area.sum() + self.reference_area.sum()))


def voxel_surface_distances(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]
) -> SurfaceDistances:
    """Distances between surface voxels: those with a face neighbour outside the mask, or on the edge of the grid.

    Args:
        prediction, reference: boolean masks of one shape, neither empty.
        spacing: voxel size in mm in the order of the axes.

    Raises:
        GeometryError: the shapes differ, a mask is empty or the spacing is not positive.
    """
    masks = _cropped(prediction, reference, spacing)
    surfaces = [mask & ~_interior(mask) for mask in masks]
    predicted, referred = (np.ones(np.count_nonzero(surface)) for surface in surfaces)
    return SurfaceDistances(*_both_ways(surfaces[0], surfaces[1], spacing), predicted, referred)


def surfel_distances(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]) -> SurfaceDistances:
    """Distances between surface elements at voxel corners, with their areas in mm² (Nikolov et al. 2021).

    Arguments and errors as for :func:`voxel_surface_distances`; three dimensions.
    """
    codes = [neighbour_codes(mask) for mask in _cropped(prediction, reference, spacing)]
    surfaces = [(code != 0) & (code != FULL) for code in codes]
    table = surfel_areas(spacing)
    areas = [table[code[surface]] for code, surface in zip(codes, surfaces, strict=True)]
    return SurfaceDistances(*_both_ways(surfaces[0], surfaces[1], spacing), areas[0], areas[1])


def _cropped(prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float]) -> list[np.ndarray]:
    """Both masks in the box around their union; nothing outside it can be a surface."""
    if prediction.shape != reference.shape or len(spacing) != prediction.ndim:
        raise GeometryError(
            f"Masks of shapes {prediction.shape} and {reference.shape} with {len(spacing)} spacings do not fit.",
            "Compare them on one grid, with a spacing for each axis.",
        )
    if not all(0 < step < np.inf for step in spacing):
        raise GeometryError(f"A spacing of {tuple(spacing)} mm is not possible.", "Give positive millimetres.")
    masks = [np.asarray(mask, dtype=bool) for mask in (prediction, reference)]
    if not (masks[0].any() and masks[1].any()):
        raise GeometryError("An empty mask has no surface.", "Decide by an EmptyPolicy what stands for a distance.")
    box = bounding_box(masks[0] | masks[1])
    return [mask[box] for mask in masks]


def _interior(mask: np.ndarray) -> np.ndarray:
    """Voxels of which all face neighbours are in the mask, too; the grid's edge counts as outside."""
    inside = mask.copy()
    for axis in range(mask.ndim):
        # Views along this axis: each voxel of one against its neighbour in the other, and the two ends.
        along, source = np.moveaxis(inside, axis, 0), np.moveaxis(mask, axis, 0)
        along[1:] &= source[:-1]
        along[:-1] &= source[1:]
        along[0] = along[-1] = False
    return inside


def _both_ways(first: np.ndarray, second: np.ndarray, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Distances in mm from each true voxel of ``first`` to the nearest of ``second``, and back; exact.

    Points are few beside the voxels of a box, so a tree of them beats a distance transform; and where the
    surfaces coincide, which is most of the way in a good prediction, nothing needs to be searched.
    """
    places = [np.flatnonzero(surface) for surface in (first, second)]
    points = [np.stack(np.unravel_index(place, first.shape), axis=1) for place in places]
    apart = [~second.ravel()[places[0]], ~first.ravel()[places[1]]]
    return _to_nearest(points[0], points[1], apart[0], spacing), _to_nearest(points[1], points[0], apart[1], spacing)


def _to_nearest(points: np.ndarray, targets: np.ndarray, apart: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """From each of ``points`` (indices) to the nearest of ``targets`` in mm; 0 for those not ``apart`` from them."""
    from scipy.spatial import cKDTree

    distances = np.zeros(len(points))
    if apart.any():
        tree = cKDTree(targets * np.asarray(spacing), balanced_tree=False, compact_nodes=False)
        _, nearest = tree.query(points[apart] * np.asarray(spacing))
        # Whole steps times the spacing: the tree's own distances differ by rounding, and 2 × 1.1 must be 2.2.
        step = (points[apart] - targets[nearest]) * np.asarray(spacing)
        distances[apart] = np.sqrt((step * step).sum(axis=1))
    return distances


def _weighted_percentile(values: np.ndarray, weights: np.ndarray, share: float) -> float:
    """The smallest value up to which ``share`` of the weight lies; where just that much does, rounding decides."""
    return float(np.quantile(values, share, weights=weights, method="inverted_cdf"))
