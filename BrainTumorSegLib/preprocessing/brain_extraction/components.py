"""A mask in one piece."""

from __future__ import annotations

import numpy as np


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest part of a mask ``(Z, Y, X)`` that is connected by faces; an empty one stays empty."""
    from scipy import ndimage

    pieces, count = ndimage.label(mask)
    if count < 2:
        return np.asarray(mask, dtype=bool)
    return np.asarray(pieces == np.bincount(pieces.ravel())[1:].argmax() + 1)
