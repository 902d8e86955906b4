"""How well two images of one head lie over each other, whatever their contrast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Sigma of the window around each voxel, in mm: folds of the cortex and ventricles fit in, the whole brain does not.
_WINDOW_MM = 4.0


def local_correlation(one: np.ndarray, other: np.ndarray, where: np.ndarray, spacing: Sequence[float]) -> float:
    """Mean squared correlation of two images in small windows (as of Cachier 2003, doi 10.1016/S1077-3142(03)00002-X).

    Within a window two sequences of one head rise and fall together, or one falls where the other rises; of two heads
    they do not. Windows count by how much there is to see in both.

    Args:
        one, other: float32 ``(Z, Y, X)`` on one grid.
        where: bool, which voxels are compared.
        spacing: of the voxels, ``(z, y, x)`` in mm.

    Returns:
        0 to 1; 0 where nothing is compared.
    """
    from scipy import ndimage

    sigma = [_WINDOW_MM / step for step in spacing]
    weight = where.astype(np.float32)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.asarray(ndimage.gaussian_filter(values * weight, sigma, truncate=2))

    total = np.maximum(mean(weight), 1e-3)
    a, b = mean(one) / total, mean(other) / total
    aa = np.maximum(mean(one * one) / total - a * a, 0)[where]
    bb = np.maximum(mean(other * other) / total - b * b, 0)[where]
    ab = (mean(one * other) / total - a * b)[where]
    seen = np.sqrt(aa * bb)
    squared = np.minimum(ab * ab / np.maximum(aa * bb, 1e-12), 1)
    return float((squared * seen).sum() / max(float(seen.sum()), 1e-12))
