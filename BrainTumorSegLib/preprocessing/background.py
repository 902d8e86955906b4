"""The background of a skull-stripped image: found where it is not 0, and made 0.

Programs leave other values than 0 around a brain: −1 or 100 (a shift, a padding value), 5e-7 (integers with a scale),
or the ringing of a spline that resampled it. Everything after this step takes 0 for background.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from ..domain.modalities import TITLES
from ..domain.volume import Volume
from ..models.description import PreprocessingSpec
from .steps import Done

# Shares of what is bright: below the first, differences come from rounding; a spline's ringing outside the brain stays
# below the second, and its negative lobes above the third.
_ROUNDING, _RINGING, _LOBE = 1e-4, 0.1, 0.35
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


def find_background(image: np.ndarray) -> tuple[np.ndarray, str] | None:
    """Mask ``(Z, Y, X)`` of a background that is not 0, and what it is in words; None if it is 0, or none is found."""
    border = np.concatenate([face.ravel() for axis in range(3) for face in _faces(image, axis)])
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
        return mask if darkest else _reached(mask), f"{value:g}"
    if image.min() < -_ROUNDING * bright:
        return _ringing(image, bright) if image.dtype.kind == "f" and abs(value) <= _ROUNDING * bright else None
    near = np.abs(border) <= _ROUNDING * bright
    return (np.abs(image) <= _ROUNDING * bright, "nearly 0") if near.mean() >= _MOST else None


def _ringing(image: np.ndarray, bright: float) -> tuple[np.ndarray, str] | None:
    """The background of an image that a spline resampled, if it is one."""
    mask = _reached(image < _RINGING * bright)
    signal = np.abs(image) > _SIGNAL * bright
    gone = float((signal & mask).sum() / max(signal.sum(), 1))
    lobes = float(image.min()) > -_LOBE * bright
    return (mask, "ringing around 0") if lobes and gone < _SHELL else None


def _dusty(values: np.ndarray, image: np.ndarray) -> bool:
    """Whether some value of the border is next to 0, but not 0."""
    positive = values[values > 0]
    return image.dtype.kind == "f" and bool(positive.size) and float(positive[0]) < _ROUNDING * float(image.max())


def _faces(image: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    return image.take(0, axis), image.take(-1, axis)


def _reached(mask: np.ndarray) -> np.ndarray:
    """The parts of a mask that touch the image's border: a dark place inside the brain is no background."""
    pieces, _ = ndimage.label(mask)
    outer = np.unique(np.concatenate([face.ravel() for axis in range(3) for face in _faces(pieces, axis)]))
    reached = np.zeros(pieces.max() + 1, dtype=bool)
    reached[outer] = True
    reached[0] = False
    return np.asarray(reached[pieces])
