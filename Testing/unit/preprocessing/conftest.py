"""What several tests of preprocessing begin with."""

from __future__ import annotations

import numpy as np
import pytest

from BrainTumorSegLib.domain.volume import Volume


@pytest.fixture
def head() -> Volume:
    """A bright block of 12 × 8 × 10 cm, off the middle of voxels of 5 mm, stored in the order RSA and tilted by 20°."""
    array = np.full((30, 36, 40), 5, dtype=np.int16)  # (z, y, x)
    array[3:27, 8:24, 10:30] = 100
    turn = np.deg2rad(20)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    axes = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0]]) @ np.diag([5, 5, 5])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = rotation @ axes, (-40, 30, 7)
    return Volume(array, affine, "head.nii.gz")
