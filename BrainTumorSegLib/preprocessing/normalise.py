"""Intensity normalisation inside the brain."""

from __future__ import annotations

import numpy as np

CLIP = 5.0


def normalise(image: np.ndarray, method: str = "zscore") -> np.ndarray:
    """Make intensities comparable between scanners.

    ``zscore``: mean 0 and standard deviation 1 over the non-zero voxels (skull-stripped images have zero
    outside the brain), clipped to ±5, outside 0: the usual choice for BraTS (Isensee 2021, nnU-Net).
    ``none``: unchanged.

    Args:
        image: any shape, any real type.

    Returns:
        float32 array of the same shape.
    """
    values = np.asarray(image, dtype=np.float32)
    if method == "none":
        return values
    if method != "zscore":
        raise ValueError(f"unknown normalisation {method!r}")
    mask = values != 0
    inside = values[mask].astype(np.float64)
    if inside.size == 0:
        return np.zeros_like(values)
    spread = inside.std()
    if spread == 0:
        return np.zeros_like(values)
    result = np.zeros_like(values)
    result[mask] = np.clip((inside - inside.mean()) / spread, -CLIP, CLIP)
    return result
