"""The background of a skull-stripped image: found where it is not 0, and made 0.

Programs leave other values than 0 around a brain: −1 or 100 (a shift, a padding value), 5e-7 (integers with a scale),
or the ringing of a spline that resampled it. Everything after this step takes 0 for background.
"""

from __future__ import annotations

import numpy as np

from ..domain.modalities import TITLES
from ..domain.volume import Volume, border_faces, touching_border
from ..models.description import PreprocessingSpec
from .steps import Done

# Shares of what is bright: below the first, differences come from rounding; a spline's ringing outside the brain stays
# below the second, and its negative lobes, at the brain's edge, above the third.
_ROUNDING, _RINGING, _LOBE = 1e-4, 0.1, 0.6
# Ringing dies out around the brain, so that many voxels hold next to nothing (the first, a share of what is bright):
# 6 % and more of all that are not 0, also where whole numbers cut it short. Of z-scores of a brain, 1 to 3 % do.
_FAINT, _FAINT_SHARE = 0.01, 0.045
# What counts as signal at all, and how much of that ringing may be: a shell around the brain. Where more would go, it
# is the brain itself, as of z-scores, half of which are negative.
_SIGNAL, _SHELL = 0.02, 0.3
_BRIGHT_PERCENTILE = 99.5
# A value is the background's only where most of the border has it.
_MOST = 0.5


def remove_background(volume: Volume, modality: str, spec: PreprocessingSpec) -> tuple[Volume, Done | None]:
    """Make the background 0, for a model of extracted brains; an image whose background is 0 stays as it is."""
    if spec.brain != "extracted":
        return volume, None
    found = find_background(volume.array)
    if found is None:
        return volume, None
    mask, words = found
    array = volume.array.copy()
    array[mask] = 0
    title = TITLES[modality]
    return volume.with_array(array), Done(
        f"background ({words}) set to 0", f"The background of {title} is not 0 ({words}); it was taken for background."
    )


def foreground(image: np.ndarray) -> np.ndarray:
    """Mask ``(Z, Y, X)`` of what is not background, whatever value that has."""
    found = find_background(image)
    return image != 0 if found is None else ~found[0]


def find_background(image: np.ndarray) -> tuple[np.ndarray, str] | None:
    """Mask ``(Z, Y, X)`` of a background that is not 0, and what it is in words; None if it is 0, or none is found."""
    border = np.concatenate([face.ravel() for face in border_faces(image)])
    values, counts = np.unique(border, return_counts=True)
    value = float(values[counts.argmax()])
    if value == 0 and image.min() >= 0 and not _dusty(values, image):
        return None
    bright = float(np.percentile(image, _BRIGHT_PERCENTILE))
    shifted = image - np.asarray(value, dtype=np.float32)
    scale = bright - value
    if scale <= 0:
        return None
    if value != 0 and counts.max() >= _MOST * border.size and abs(value) > _ROUNDING * scale:
        mask = np.abs(shifted) <= _ROUNDING * scale
        # Where nothing is darker it is no grey value of a tissue, so it is the background of enclosed places, too.
        darkest = value - float(image.min()) <= _ROUNDING * scale
        return mask if darkest else touching_border(mask), f"{value:g}"
    if image.min() < -_ROUNDING * bright:
        return _ringing(image, bright) if abs(value) <= _ROUNDING * bright else None
    near = np.abs(border) <= _ROUNDING * bright
    return (np.abs(image) <= _ROUNDING * bright, "nearly 0") if near.mean() >= _MOST else None


def _ringing(image: np.ndarray, bright: float) -> tuple[np.ndarray, str] | None:
    """The background of an image that a spline resampled, if it is one."""
    size = np.abs(image[image != 0])
    if float(image.min()) <= -_LOBE * bright or float((size <= _FAINT * bright).mean()) < _FAINT_SHARE:
        return None
    mask = touching_border(image < _RINGING * bright)
    signal = np.abs(image) > _SIGNAL * bright
    gone = float((signal & mask).sum() / max(signal.sum(), 1))
    return (mask, "ringing around 0") if gone < _SHELL else None


def _dusty(values: np.ndarray, image: np.ndarray) -> bool:
    """Whether some value of the border is next to 0, but not 0."""
    positive = values[values > 0]
    return image.dtype.kind == "f" and bool(positive.size) and float(positive[0]) < _ROUNDING * float(image.max())
