"""Is one image given as several sequences?

A file that was exported twice under two names looks like two sequences, and a network finds nothing of what the other
one would have shown.
"""

from __future__ import annotations

import numpy as np

from ..domain.modalities import TITLES, listed
from .examined import Examined


def check(examined: Examined) -> list[str]:
    """Which sequences have the same voxels; those that are not given are none."""
    given = [index for index, image in enumerate(examined.array) if image.any()]
    for place, first in enumerate(given):
        others = (other for other in given[place + 1 :] if np.array_equal(examined.array[first], examined.array[other]))
        if alike := [examined.modalities[index] for index in others]:
            names = listed([TITLES[name] for name in (examined.modalities[first], *alike)])
            return [f"{names} are one image, voxel for voxel: give each sequence's own, or leave out what is none."]
    return []
