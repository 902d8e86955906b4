"""The voxels of a phantom in millimetres, and smooth noise on them.

Coordinates: ``x`` to the left, ``y`` to the back, ``z`` up, in mm from the middle of the cerebrum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FIELD_OF_VIEW = (155.0, 240.0, 240.0)
CENTRE = (74.0, 127.0, 119.5)  # of the cerebrum, mm from the first voxel of the 1 mm grid
HEAD = (74.0, 92.0, 74.0)  # half the box that is computed, mm
NOISE_POWER = 151 / 315  # mean over all places of the sum of squared cubic B-spline weights


@dataclass(frozen=True)
class Lattice:
    """A regular grid.

    Attributes:
        axes: voxel centres along ``z``, ``y``, ``x`` in mm, float32.
        spacing: voxel size in mm, in the same order.
    """

    axes: tuple[np.ndarray, np.ndarray, np.ndarray]
    spacing: tuple[float, float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels ``(Z, Y, X)``."""
        z, y, x = (len(axis) for axis in self.axes)
        return z, y, x

    @property
    def open(self) -> tuple[np.ndarray, ...]:
        """``z``, ``y``, ``x`` shaped to broadcast."""
        return np.ix_(*self.axes)

    def cut(self, box: tuple[slice, ...]) -> Lattice:
        """A part of the grid."""
        z, y, x = (axis[part] for axis, part in zip(self.axes, box, strict=True))
        return Lattice((z, y, x), self.spacing)

    def around(self, centre: Sequence[float], half: Sequence[float]) -> tuple[slice, ...]:
        """The part within ``half`` mm of a point."""
        return tuple(
            slice(int(np.searchsorted(axis, c - h)), int(np.searchsorted(axis, c + h)))
            for axis, c, h in zip(self.axes, centre, half, strict=True)
        )

    def voxels(self, millimetres: Sequence[float] | float) -> list[float]:
        """Lengths in mm as numbers of voxels along each axis."""
        return list(np.broadcast_to(millimetres, 3) / np.asarray(self.spacing))

    def noise(self, rng: np.random.Generator, scale: float) -> np.ndarray:
        """Smooth noise of unit variance that varies over ``scale`` mm: cubic B-splines on random knots.

        The knots span the whole head, so every grid reads off the same noise.
        """
        knots = rng.standard_normal([int(2 * half / scale) + 5 for half in HEAD], dtype=np.float32)
        weights = []
        for axis, half, count in zip(self.axes, HEAD, knots.shape, strict=True):
            t = np.abs((axis[:, None] + half) / scale - np.arange(-1, count - 1))
            weights.append(
                np.where(t < 1, 2 / 3 - t**2 + t**3 / 2, np.clip(2 - t, 0, None) ** 3 / 6).astype(np.float32)
            )
        rows = np.matmul(weights[1], knots @ weights[2].T)
        noise = weights[0] @ rows.reshape(len(rows), -1)
        noise *= np.float32(NOISE_POWER**-1.5)
        return noise.reshape(self.shape)


def spacing_of(shape: tuple[int, int, int]) -> tuple[float, float, float]:
    """Voxel size ``(z, y, x)`` in mm of a phantom with so many voxels."""
    z, y, x = (extent / size for extent, size in zip(FIELD_OF_VIEW, shape, strict=True))
    return z, y, x


def head_lattice(shape: tuple[int, int, int]) -> tuple[Lattice, tuple[slice, ...]]:
    """The part of the field of view that can hold brain, and where it lies in the image."""
    spacing = spacing_of(shape)
    z, y, x = (
        ((np.arange(size) + 0.5) * step - 0.5 - middle).astype(np.float32)
        for size, step, middle in zip(shape, spacing, CENTRE, strict=True)
    )
    whole = Lattice((z, y, x), spacing)
    box = whole.around((0, 0, 0), HEAD)
    return whole.cut(box), box


def affine_of(shape: tuple[int, int, int]) -> np.ndarray:
    """LPS like BraTS: at 1 mm the first voxel is at RAS (0, 239, 0); larger voxels share the outer faces."""
    z, y, x = spacing_of(shape)
    affine = np.diag([-x, -y, z, 1.0])
    affine[:3, 3] = 0.5 - x / 2, 239.5 - y / 2, z / 2 - 0.5
    return affine
