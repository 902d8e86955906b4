"""How a head is held: along the axes of the brains that models learnt from, or tilted against its own image's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..domain.alignment_record import Motion
from ..domain.grid import Grid
from ..domain.volume import Volume
from ..io.registry import read_volume
from .registration import Registration, register

# The mean of training brains (python -m Training.atlas): skull-stripped T1, LPS, 2 mm.
ATLAS = Path(__file__).with_name("atlas.nii.gz")
# From this tilt on the network's grid follows the head. Brains differ, so an atlas shows a tilt to some 3 degrees.
TILTED_DEG = 15.0
# Below this local correlation nothing is known: brains and the atlas have .25 and more.
_ALIKE = 0.15
_SPACING_MM, _AROUND_MM = 1.0, 10.0
# Every so many voxels of the brain are looked at for its extent.
_STRIDE = 3


@dataclass(frozen=True)
class Pose:
    """How a head is held.

    Attributes:
        move: from the image's space to the atlas's.
        tilt_deg: the turn between the axes of the image's grid and those of the atlas.
        grid: around the brain along the axes of the atlas, in the image's space, voxels of 1 mm.
    """

    move: Registration
    tilt_deg: float
    grid: Grid

    @property
    def tilted(self) -> bool:
        """Whether it is known to be held unlike what the models learnt from."""
        return self.move.quality >= _ALIKE and self.tilt_deg >= TILTED_DEG

    def as_motion(self) -> Motion:
        """The motion to the atlas as plain values."""
        return self.move.as_motion()


@functools.cache
def atlas() -> Volume:
    """The mean of the training brains, uint8, 0 outside."""
    return read_volume(ATLAS)


def pose_of(image: Volume, brain: np.ndarray, tick: Callable[[], None] | None = None) -> Pose:
    """Find how a head is held by a rigid registration of its brain to the atlas, to a few degrees.

    Args:
        image: ``(Z, Y, X)``, of whatever sequence.
        brain: bool, its brain.
        tick: called often; may raise to end it.
    """
    mean = atlas()
    stripped = image.with_array(np.where(brain, image.array, 0))
    move = register(stripped, mean, mean.array > 0, skull=False, tick=tick)
    own = Grid.of(image).oriented("LPS")
    points = np.argwhere(brain)[::_STRIDE, ::-1] @ image.affine[:3, :3].T + image.affine[:3, 3]
    grid = _around(points @ move.matrix[:3, :3].T + move.matrix[:3, 3])
    grid = Grid(grid.shape, np.linalg.inv(move.matrix) @ grid.affine)
    turn = _directions(own).T @ _directions(grid)
    return Pose(move, float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))), grid)


def _around(points: np.ndarray) -> Grid:
    """A grid along LPS around points ``(N, 3)`` in RAS mm."""
    low, high = points.min(axis=0) - _AROUND_MM, points.max(axis=0) + _AROUND_MM
    x, y, z = (int(n) for n in np.ceil((high - low) / _SPACING_MM))
    affine = np.diag([-_SPACING_MM, -_SPACING_MM, _SPACING_MM, 1.0])
    affine[:3, 3] = high[0], high[1], low[2]
    return Grid((z, y, x), affine)


def _directions(grid: Grid) -> np.ndarray:
    """The rotation nearest to a grid's axes."""
    left, _, right = np.linalg.svd(grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0))
    return np.asarray(left @ right)
