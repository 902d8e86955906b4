from __future__ import annotations

import numpy as np
import pytest

from BrainTumorSegLib.metrics import dice


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        ([1, 1, 0, 0], [1, 1, 0, 0], 1.0),
        ([1, 1, 0, 0], [0, 1, 1, 1], 2 * 1 / (2 + 3)),
        ([1, 0, 0, 0], [0, 1, 0, 0], 0.0),
        ([0, 0, 0, 0], [0, 0, 0, 0], 1.0),
        ([1, 0, 0, 0], [0, 0, 0, 0], 0.0),
        ([0, 0, 0, 0], [1, 0, 0, 0], 0.0),
    ],
)
def test_dice_by_hand(prediction: list[int], reference: list[int], expected: float) -> None:
    assert dice(np.array(prediction, bool), np.array(reference, bool)) == pytest.approx(expected)
