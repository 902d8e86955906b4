"""Where voxels lie: grids, their comparison and their orientation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .errors import GeometryError

if TYPE_CHECKING:
    from .volume import Volume

# Affines of one acquisition that went through different tools differ by rounding; 1e-3 mm is far below
# a voxel and far above float32 rounding of a 300 mm offset.
SAME_GRID_TOLERANCE = 1e-3

# Images that share less of their boxes are not of one head in one place.
SMALLEST_OVERLAP = 0.1

# Slicer, ITK and DICOM speak LPS, NIfTI and nibabel RAS; this library keeps RAS as NIfTI does.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

# Along each world axis (RAS) the code of falling and of increasing coordinates.
_CODES = ("LR", "PA", "IS")


@dataclass(frozen=True)
class Grid:
    """Where voxels lie: shape ``(Z, Y, X)`` and the 4×4 affine from index ``(x, y, z)`` to RAS mm."""

    shape: tuple[int, int, int]
    affine: np.ndarray

    @classmethod
    def of(cls, volume: Volume) -> Grid:
        """The grid of a volume."""
        return cls(volume.shape, volume.affine)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in millimetres in array order ``(z, y, x)``."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    def corners(self) -> np.ndarray:
        """RAS millimetres of the eight outer voxel corners, shape ``(8, 3)``."""
        size = np.asarray(self.shape[::-1])
        index = np.stack(np.meshgrid(*[(-0.5, n - 0.5) for n in size], indexing="ij"), -1).reshape(-1, 3)
        return index @ self.affine[:3, :3].T + self.affine[:3, 3]

    def oriented(self, codes: str, axes: np.ndarray | None = None) -> Grid:
        """The same voxels listed along the axes ``codes`` (such as ``LPS``), nearest to an oblique grid's own.

        Args:
            codes: of the new axes.
            axes: affine whose axes name those of the grid; by default its own. Of a grid that follows a tilted head,
                the nearest axes of the scanner may be others than those of the head.
        """
        order, flipped = _rearrangement(self.affine if axes is None else axes, codes)
        size = self.shape[::-1]
        x, y, z = (size[axis] for axis in order)
        step = np.zeros((4, 4))
        step[3, 3] = 1
        for new, (old, turned) in enumerate(zip(order, flipped, strict=True)):
            step[old, new] = -1 if turned else 1
            step[old, 3] = size[old] - 1 if turned else 0
        return Grid((z, y, x), self.affine @ step)

    def cropped(self, box: Sequence[slice]) -> Grid:
        """The part of the grid within a box ``(z, y, x)``, whose slices have a start and a stop."""
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ np.array([part.start for part in reversed(box)], dtype=float)
        z, y, x = (int(part.stop - part.start) for part in box)
        return Grid((z, y, x), affine)

    def with_spacing(self, spacing: Sequence[float]) -> Grid:
        """A grid over the same extent with another voxel size ``(z, y, x)``; unchanged within 1 %."""
        old = np.asarray(self.spacing[::-1])
        new = np.asarray(tuple(spacing)[::-1])
        if np.allclose(old, new, rtol=0.01):
            return self
        size = np.maximum(np.round(np.asarray(self.shape[::-1]) * old / new), 1).astype(int)
        affine = self.affine.copy()
        affine[:3, :3] *= new / old
        # Voxel corners stay put, so the first centre moves by half the difference of the voxel sizes.
        affine[:3, 3] += self.affine[:3, :3] @ ((new / old - 1) / 2)
        return Grid((int(size[2]), int(size[1]), int(size[0])), affine)


def same_grid(first: Grid, second: Grid) -> bool:
    """Whether voxel ``i`` of both lies in the same place, to :data:`SAME_GRID_TOLERANCE` mm at every corner."""
    if first.shape != second.shape:
        return False
    return bool(np.abs(first.corners() - second.corners()).max() < SAME_GRID_TOLERANCE)


def overlap(first: Grid, second: Grid) -> float:
    """What the boxes around two grids share in space, as a share of the smaller one."""
    one, other = first.corners(), second.corners()
    shared = np.prod(np.clip(np.minimum(one.max(0), other.max(0)) - np.maximum(one.min(0), other.min(0)), 0, None))
    return float(shared / min(np.prod(np.ptp(one, axis=0)), np.prod(np.ptp(other, axis=0))))


def check_overlap(volume: Volume, reference: Volume) -> None:
    """Refuse images that do not lie over each other.

    Raises:
        GeometryError: their boxes in space share less than :data:`SMALLEST_OVERLAP` of the smaller one.
    """
    if overlap(Grid.of(volume), Grid.of(reference)) < SMALLEST_OVERLAP:
        raise GeometryError(
            f"{volume.source} and {reference.source} do not overlap in space.",
            "They are of different patients or sessions, or one lost its position; register them first.",
        )


def reorient(array: np.ndarray, affine: np.ndarray, codes: str) -> np.ndarray:
    """List the voxels of ``(…, Z, Y, X)`` along the axes ``codes``; a view, no voxel changes."""
    order, flipped = _rearrangement(affine, codes)
    leading = range(array.ndim - 3)
    moved = array.transpose(*leading, *(array.ndim - 1 - order[axis] for axis in (2, 1, 0)))
    return np.flip(moved, tuple(-1 - axis for axis in range(3) if flipped[axis]))


def axis_codes(affine: np.ndarray) -> str:
    """Directions towards which ``x``, ``y``, ``z`` increase, such as ``LPS``; the nearest ones of an oblique grid."""
    return "".join(_CODES[axis][direction] for axis, direction in zip(*_axes_of(affine), strict=True))


def _axes_of(affine: np.ndarray) -> tuple[list[int], list[int]]:
    """For each voxel axis the world axis it runs along, and whether it increases with it (1) or falls (0).

    The rotation nearest to the affine decides (polar decomposition), its clearest axis first, so that no world axis
    is taken twice.
    """
    directions = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    left, _, right = np.linalg.svd(directions)
    rotation = left @ right
    axes, signs = [0] * 3, [0] * 3
    free = np.abs(rotation)
    for voxel_axis in np.argsort(-free.max(axis=0), kind="stable"):
        axis = int(free[:, voxel_axis].argmax())
        axes[voxel_axis], signs[voxel_axis] = axis, int(rotation[axis, voxel_axis] >= 0)
        free[axis] = -1
    return axes, signs


def _rearrangement(affine: np.ndarray, codes: str) -> tuple[list[int], list[bool]]:
    """For each axis of ``codes`` the voxel axis that becomes it, and whether that one has to be turned round."""
    axes, signs = _axes_of(affine)
    wanted = [next((axis, pair.index(code)) for axis, pair in enumerate(_CODES) if code in pair) for code in codes]
    order = [axes.index(axis) for axis, _ in wanted]
    return order, [signs[source] != direction for source, (_, direction) in zip(order, wanted, strict=True)]
