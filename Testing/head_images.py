"""Heads that tests extract the brain of: a made brain with fluid, skull, scalp and a neck around it."""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import ndimage

from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.phantom import make_phantom

SHAPE = (78, 120, 120)  # 2 mm

# Grey value of fluid, bone and scalp as shares of the brain's brightest, and of noise.
_AROUND = {"t1": (0.15, 0.1, 0.95), "t1ce": (0.15, 0.1, 0.95), "t2": (1.0, 0.08, 0.5), "flair": (0.1, 0.08, 0.6)}
_NOISE = 0.02


@cache
def make_head(modality: str = "t1", seed: int = 0) -> tuple[Volume, Volume]:
    """A head of 2 mm in LPS, float32, and its brain, bool."""
    image = make_phantom(seed, SHAPE).case.images[modality]
    brain = image.array > 0
    away = 2 * ndimage.distance_transform_edt(~brain)
    fluid, bone, scalp = _AROUND[modality]
    bright = np.percentile(image.array[brain], 99)
    z, y, x = np.ogrid[tuple(slice(size) for size in SHAPE)]
    neck = ((y - 62) / 30.0) ** 2 + ((x - 60) / 28.0) ** 2 < 1
    around = np.select([away < 3, away < 9, away < 16, neck & (z < 20)], [fluid, bone, scalp, 0.6 * scalp])
    head = np.where(brain, image.array, around * bright)
    noise = np.random.default_rng(seed).normal(0, _NOISE * bright, SHAPE)
    array = np.abs(head + noise).astype(np.float32)
    return Volume(array, image.affine, f"{modality} of head {seed}"), Volume(brain, image.affine)


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice of two masks."""
    return 2 * float((first & second).sum()) / float(first.sum() + second.sum())
