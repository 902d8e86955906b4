"""What an image shows, told from its voxels: an extracted brain, a head as scanned, or no more than a part of one."""

from __future__ import annotations

import numpy as np

from ..domain.errors import InputError
from ..domain.volume import Volume, border_faces

STRIPPED, HEAD, PART = "stripped", "head", "part"

# All is looked at on voxels of about this size, which takes a hundredth of a second an image.
_LOOK_MM = 3.0
# What is darker than this share of what is bright is background.
_AIR = 0.1
_BRIGHT_PERCENTILE = 99.5
# Of 41 extracted brains the largest has 1.62 litres brighter than that; the smallest of 34 heads has 2.09.
_LARGEST_BRAIN_ML = 1900.0
# A part of a head may be as small; what shows more than this where the image ends, in cm², is one. Brains end at most
# in their stem and the cerebellum there.
_CUT_CM2 = 60.0
# A head has skin outside, and bone without signal a centimetre below it. Of the brightest shell of an extracted brain
# the shell at that depth has .66 and more, that of a head .54 and less.
_SHELLS_MM = (0.0, 3.0, 6.0, 9.0, 12.0, 15.0, 20.0, 30.0)
_BONE_SHELLS = slice(2, 5)
_BONE = 0.6
# Air as scanned is noise; what a program has removed has one value.
_NOISE, _MOST, _RINGING = 2e-3, 0.5, 0.02
# A localiser has fewer slices than any series.
_FEWEST_SLICES = 6
# Of a CT, in Hounsfield units above air: where the body begins and its median lies; bone; how alike soft tissues are.
_CT_BODY, _CT_BONE, _CT_SPREAD = (300.0, 900.0, 1200.0), 1600.0, 120.0
# What is smaller in its second dimension cannot show a head.
_SMALLEST_HEAD_MM = 80.0


def appearance(volume: Volume) -> str:
    """:data:`STRIPPED`, :data:`HEAD`, or :data:`PART`: too small for a head, or without any background to judge by."""
    steps = [max(1, min(int(_LOOK_MM / mm), size)) for mm, size in zip(volume.spacing, volume.shape, strict=True)]
    image = np.asarray(volume.array[tuple(slice(step // 2, None, step) for step in steps)], dtype=np.float32)
    spacing = [step * mm for step, mm in zip(steps, volume.spacing, strict=True)]
    border = np.concatenate([face.ravel() for face in border_faces(image)])
    bright = float(np.percentile(image, _BRIGHT_PERCENTILE))
    background = _background(border, image, bright)
    scale = bright - background
    if scale <= 0 or sorted(n * step for n, step in zip(image.shape, spacing, strict=True))[1] < _SMALLEST_HEAD_MM:
        return PART
    relative = (image - background) / np.float32(scale)
    if float(np.median((border - background) / scale)) > _AIR:
        return PART
    filled = np.abs(relative) > _AIR
    size = np.count_nonzero(filled) * float(np.prod(spacing)) / 1000
    if size > _LARGEST_BRAIN_ML or _has_noise(relative, filled):
        return HEAD
    return HEAD if _is_cut(filled, spacing) and _has_bone(np.abs(relative), filled, spacing) else STRIPPED


def check_head(volume: Volume, title: str) -> None:
    """Refuse what is no MR image of a head as scanned, where its voxels tell.

    Raises:
        InputError: it is a localiser or a CT.
    """
    if min(volume.shape) < _FEWEST_SLICES:
        raise InputError(
            f"{title} ({volume.source}) has only {min(volume.shape)} slices: a localiser, no series.",
            "Leave it out, or give the whole series.",
        )
    if _is_ct(volume.array[::2, ::3, ::3]):
        raise InputError(
            f"{title} ({volume.source}) is a CT: its values are Hounsfield units.", "Give MR images; leave it out."
        )


def _is_ct(image: np.ndarray) -> bool:
    """Whether air, soft tissue and bone lie a thousand units apart, and all soft tissue within a few."""
    air = float(np.percentile(image, 2))
    body = image[image > air + _CT_BODY[0]]
    if body.size < 0.05 * image.size or float(image.max()) < air + _CT_BONE:
        return False
    low, middle, high = np.percentile(body, (25, 50, 75))
    return _CT_BODY[1] < middle - air < _CT_BODY[2] and high - low < _CT_SPREAD


def _background(border: np.ndarray, image: np.ndarray, bright: float) -> float:
    """The value of what is outside: that of most of the border, 0 where it rings around that, else the smallest."""
    values, counts = np.unique(border, return_counts=True)
    if counts.max() >= _MOST * border.size:
        return float(values[counts.argmax()])
    rings = border.min() < 0 < border.max() and abs(float(np.median(border))) <= _RINGING * bright
    return 0.0 if rings else float(image.min())


def _is_cut(filled: np.ndarray, spacing: list[float]) -> bool:
    """Whether the image ends within what it shows."""
    pixels_cm2 = [np.prod(spacing) / step / 100 for step in spacing for _ in range(2)]
    return any(
        np.count_nonzero(face) * cm2 > _CUT_CM2 for face, cm2 in zip(border_faces(filled), pixels_cm2, strict=True)
    )


def _has_noise(relative: np.ndarray, filled: np.ndarray) -> bool:
    """Whether the background is air as scanned: never below its smallest value, and mostly above it."""
    air = relative[~filled]
    return bool(air.size) and float(air.min()) >= 0 and float((air > _NOISE).mean()) > _MOST


def _has_bone(bright: np.ndarray, filled: np.ndarray, spacing: list[float]) -> bool:
    """Whether a dark shell lies below the surface."""
    from scipy import ndimage

    # Slice by slice, whichever way they run: where the image ends in the head, bone is open to the outside.
    solid = filled.copy()
    for axis in range(3):
        for index in range(filled.shape[axis]):
            place = (slice(None),) * axis + (index,)
            solid[place] |= ndimage.binary_fill_holes(filled[place])
    depth = ndimage.distance_transform_edt(solid, sampling=spacing)
    shell = np.digitize(depth, _SHELLS_MM[1:], right=True)
    means = [float(bright[chosen].mean()) if (chosen := (depth > 0) & (shell == n)).any() else 1.0 for n in range(7)]
    return min(means[_BONE_SHELLS]) < _BONE * max(means)
