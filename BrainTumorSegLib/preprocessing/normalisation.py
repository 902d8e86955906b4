"""Intensity normalisation inside the brain or the head."""

from __future__ import annotations

import numpy as np

from ..domain.volume import Volume
from ..models.description import PreprocessingSpec
from .box_normalisation import METHODS
from .steps import Done

CLIP = 5.0
_SOFT = 3.0

# Air around a head as scanned is noise below this share of what is bright.
_AIR = 0.1
_BRIGHT_PERCENTILE = 99.5


def normalise(image: np.ndarray, method: str = "zscore") -> np.ndarray:
    """Make intensities comparable between scanners.

    ``zscore``: mean 0 and standard deviation 1 over the non-zero voxels (skull-stripped images have zero
    outside the brain), clipped to ±5, outside 0: the usual choice for BraTS (Isensee 2021, nnU-Net).
    ``zscore_foreground``: the same over what a tenth of the 99.5th percentile encloses in each slice along the
    first axis, for heads as scanned, whose air is noise. ``zscore_unclipped``: as ``zscore``, as far as it goes;
    ``zscore_tanh``: that as ``3 tanh(z / 3)``, both as MONAI's Auto3DSeg has them. ``none``: unchanged.

    Args:
        image: ``(Z, Y, X)``, any real type.

    Returns:
        float32 array of the same shape.
    """
    values = np.asarray(image, dtype=np.float32)
    if method == "none":
        return values
    if method in ("zscore", "zscore_unclipped", "zscore_tanh"):
        mask = values != 0
    elif method == "zscore_foreground":
        mask = _foreground(values)
    else:
        raise ValueError(f"unknown normalisation {method!r}")
    inside = values[mask].astype(np.float64)
    if inside.size == 0:
        return np.zeros_like(values)
    spread = inside.std()
    if spread == 0:
        return np.zeros_like(values)
    result = np.zeros_like(values)
    scores = (inside - inside.mean()) / spread
    if method == "zscore_tanh":
        scores = _SOFT * np.tanh(scores / _SOFT)
    result[mask] = scores if method in ("zscore_unclipped", "zscore_tanh") else np.clip(scores, -CLIP, CLIP)
    return result


def _foreground(values: np.ndarray) -> np.ndarray:
    """What is brighter than air, and what that encloses: dark fluid lies inside the head."""
    from scipy import ndimage

    bright = values > _AIR * np.percentile(values, _BRIGHT_PERCENTILE)
    return np.stack([ndimage.binary_fill_holes(part) for part in bright])


def normalisation_step(volume: Volume, modality: str, spec: PreprocessingSpec) -> tuple[Volume, Done | None]:
    """The normalisation that the model asks for; those of :mod:`.box_normalisation` come later, for all images."""
    done = Done(f"intensities normalised ({spec.normalisation})") if spec.normalisation != "none" else None
    method = "none" if spec.normalisation in METHODS else spec.normalisation
    return volume.with_array(normalise(volume.array, method)), done
