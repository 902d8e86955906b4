"""CarveMix (Zhang 2021, arXiv 2108.06883): one patient's tumour, and a rim round it, in another patient's brain."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt

from .case import UNKNOWN_LABEL

Pair = tuple[np.ndarray, np.ndarray]


def carve(host: Pair, donor: Pair, generator: np.random.Generator) -> Pair:
    """The host with a region of the donor in it, at the same place.

    The region is what has less than a drawn signed distance from the donor's tumour (section 2.2): with even odds it
    is a part of the tumour, or all of it and up to as much round it as the tumour is deep. It ends where either
    brain does. The host stays as it is where the donor has no tumour here, or other sequences.

    Args:
        host, donor: ``(C, Z, Y, X)`` and ``(Z, Y, X)``, images 0 outside the brain, labels as cached; both z-scored.

    Returns:
        Arrays of their own where something was carved.
    """
    (image, labels), (other, theirs) = host, donor
    tumour = (theirs > 0) & (theirs != UNKNOWN_LABEL)
    given, lent = (part.any(axis=(1, 2, 3)) for part in (image, other))
    if not tumour.any() or (given != lent).any():
        return host
    flat = tumour[0] if len(tumour) == 1 else tumour  # distances in space, or in the plane of a slice
    inside, outside = distance_transform_edt(flat), distance_transform_edt(~flat)
    deepest = float(inside.max())
    reach = generator.uniform(0, deepest) if generator.random() < 0.5 else -generator.uniform(0, deepest / 2)
    region = (np.where(flat, -inside, outside) <= reach).reshape(tumour.shape)
    region &= (image != 0).any(axis=0) & (other != 0).any(axis=0) & (theirs != UNKNOWN_LABEL)
    return np.where(region, other, image), np.where(region, theirs, labels)
