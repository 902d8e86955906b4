"""Overlap measures of two masks."""

from __future__ import annotations

import numpy as np


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Dice coefficient 2|P∩R| / (|P|+|R|); 1 where both are empty, as BraTS has it."""
    size = np.count_nonzero(prediction) + np.count_nonzero(reference)
    return 1.0 if size == 0 else 2.0 * np.count_nonzero(prediction & reference) / size
