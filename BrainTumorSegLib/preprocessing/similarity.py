"""How well two images of one head lie over each other, whatever their contrast."""

from __future__ import annotations

import numpy as np

from ..domain.grid import Grid
from ..domain.volume import Volume
from .resampling import onto

# Voxels of the comparison, and the sigma of the window around each, in mm.
_VOXEL_MM, _WINDOW_MM = 3.0, 6.0
_AIR, _LOW, _HIGH = 0.1, 1.0, 99.5


def local_correlation(
    moving: Volume, fixed: Volume, matrix: np.ndarray | None = None, mask: np.ndarray | None = None
) -> float:
    """Mean squared correlation of two images in small windows, over what is not air.

    Within a window of a centimetre two sequences of one head rise and fall together, or one falls where the other
    rises; of two heads they do not. Windows count by how much there is to see in both.

    Args:
        moving: brought onto a coarse grid of ``fixed`` by ``matrix``, 4×4, RAS mm (by default where it lies).
        fixed: the image that stays.
        mask: bool, on the grid of ``fixed``: where it is taken; by default what is not air.

    Returns:
        0 to 1; 0 where they share nothing.
    """
    from scipy import ndimage

    source = Grid.of(fixed).oriented("LPS")
    grid = source.with_spacing([max(step, _VOXEL_MM) for step in source.spacing])
    affine = moving.affine if matrix is None else matrix @ moving.affine
    still = onto(np.asarray(fixed.array, dtype=np.float32), Grid.of(fixed), grid)
    other = onto(np.asarray(moving.array, dtype=np.float32), Grid(moving.shape, affine), grid)
    covered = onto(np.ones(moving.shape, dtype=np.float32), Grid(moving.shape, affine), grid) > 0.5
    still, other = _clipped(still), _clipped(other)
    inside = onto(mask.astype(np.float32), Grid.of(fixed), grid) > 0.5 if mask is not None else still > _AIR
    weight = (inside & covered).astype(np.float32)
    if np.count_nonzero(weight) < 0.1 * np.count_nonzero(inside) or not weight.any():
        return 0.0
    sigma = [_WINDOW_MM / step for step in grid.spacing]

    def blurred(values: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.gaussian_filter(values * weight, sigma, truncate=2))

    total = np.maximum(blurred(np.ones_like(weight)), 1e-3)
    a, b = blurred(still) / total, blurred(other) / total
    aa = np.maximum(blurred(still**2) / total - a**2, 0)
    bb = np.maximum(blurred(other**2) / total - b**2, 0)
    ab = blurred(still * other) / total - a * b
    chosen = weight > 0
    seen = np.sqrt(aa * bb)[chosen]
    squared = ab[chosen] ** 2 / np.maximum(aa * bb, 1e-12)[chosen]
    return float((np.minimum(squared, 1) * seen).sum() / max(float(seen.sum()), 1e-12))


def _clipped(values: np.ndarray) -> np.ndarray:
    """From 0 (air) to 1 (what is bright)."""
    low, high = np.percentile(values, (_LOW, _HIGH))
    return np.clip((values - low) / max(high - low, 1e-6), 0, 1)
