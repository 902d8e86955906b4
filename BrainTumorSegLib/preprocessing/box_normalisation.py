"""Normalisation as nnU-Net has it: over the box around what is not 0 in any of the images (Isensee 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..domain.grid import Grid
from ..domain.volume import Volume, bounding_box
from ..models.description import PreprocessingSpec
from .resampling import onto

METHODS = ("zscore_nonzero", "zscore_box", "window", "rescale")
_LEAST = 1e-8  # spread that divides


def normalised_together(
    images: Mapping[str, Volume], modalities: Sequence[str], reference: Grid, spec: PreprocessingSpec
) -> tuple[dict[str, Volume], np.ndarray]:
    """Images with their intensities normalised, and the foreground on the reference's grid.

    Args:
        images: of a case that lie over each other, each on its own grid.
        modalities: of the network, in the order of ``spec.intensities``.
        reference: the grid on which the foreground is found.
        spec: its ``normalisation`` is one of :data:`METHODS`.
    """
    from scipy import ndimage

    union = np.zeros(reference.shape, dtype=bool)
    for volume in images.values():
        union |= onto(np.asarray(volume.array != 0), Grid.of(volume), reference, nearest=True).astype(bool)
    foreground = np.asarray(ndimage.binary_fill_holes(union))
    if not foreground.any():
        return dict(images), foreground
    result = {}
    for name, volume in images.items():
        mask = onto(foreground, reference, Grid.of(volume), nearest=True).astype(bool)
        window = spec.intensities[list(modalities).index(name)] if spec.intensities else None
        result[name] = volume.with_array(_normalised(volume.array, mask, spec.normalisation, window))
    return result, foreground


def _normalised(image: np.ndarray, mask: np.ndarray, method: str, window: Sequence[float] | None) -> np.ndarray:
    """Float32 of the same shape; 0 outside the mask, or the box around it."""
    result = np.zeros(image.shape, dtype=np.float32)
    if not mask.any():  # the image lies beside the others
        return result
    place = mask if method == "zscore_nonzero" else bounding_box(mask)
    values = np.asarray(image[place], dtype=np.float32)
    if method == "rescale":
        low = values.min()
        result[place] = (values - low) / max(float(values.max() - low), _LEAST)
    elif method == "window":
        assert window is not None, "a description with a window says which"
        low, high, mean, spread = window
        result[place] = (np.clip(values, low, high) - mean) / max(spread, _LEAST)
    else:
        inside = values.astype(np.float64)
        result[place] = (inside - inside.mean()) / max(inside.std(), _LEAST)
    return result
