"""Results that cannot be true."""

from __future__ import annotations

import numpy as np

from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.quality import implausible

BRAIN = np.ones((60, 60, 60), bool)


def labels(mask: np.ndarray, mm: float = 1.0) -> Volume:
    return Volume(mask.astype(np.uint8) * 2, np.diag([mm, mm, mm, 1]))


def test_a_large_tumour_can_be_true() -> None:
    tumour = np.zeros_like(BRAIN)
    tumour[:28] = True
    assert implausible(labels(tumour), BRAIN) == ""
    assert implausible(labels(np.zeros_like(BRAIN)), BRAIN) == ""


def test_half_of_the_brain_cannot() -> None:
    tumour = np.zeros_like(BRAIN)
    tumour[:36] = True
    assert "60% of what the images show" in implausible(labels(tumour), BRAIN)


def test_nor_can_most_of_a_litre_however_large_the_head_is() -> None:
    head = np.ones((60, 60, 60), bool)
    tumour = np.zeros_like(head)
    tumour[:9] = True  # 15 % of 60³ voxels of 3 mm: 875 mL
    assert "875 mL" in implausible(labels(tumour, 3.0), head)


def test_nor_can_a_thousand_pieces() -> None:
    tumour = np.zeros_like(BRAIN)
    tumour[::4, ::4, ::4] = True  # 15³ voxels that do not touch
    assert "3375 pieces" in implausible(labels(tumour), BRAIN)
    few = np.zeros_like(BRAIN)
    few[::10, ::10, ::10] = True  # 6³, as many metastases as anybody has had
    assert implausible(labels(few), BRAIN) == ""
