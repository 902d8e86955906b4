"""Grids: comparison, canonical orientation, resampling in physical space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import nibabel
import numpy as np
from nibabel import orientations

from ..errors import GeometryError
from ..volume import Volume

# Affines of one acquisition that went through different tools differ by rounding; 1e-3 mm is far below
# a voxel and far above float32 rounding of a 300 mm offset.
SAME_GRID_TOLERANCE = 1e-3


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

    def oriented(self, codes: str) -> Grid:
        """The same voxels listed along the axes ``codes`` (such as ``LPS``), nearest to an oblique grid's own."""
        transform = _orientation_transform(self.affine, codes)
        x, y, z = (int(n) for n in np.asarray(self.shape[::-1])[np.argsort(transform[:, 0])])
        affine = self.affine @ orientations.inv_ornt_aff(transform, self.shape[::-1])
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


def check_overlap(volume: Volume, reference: Volume) -> None:
    """Refuse images that do not lie over each other.

    Raises:
        GeometryError: their bounding boxes in space share less than a tenth of the smaller one.
    """
    first, second = Grid.of(volume).corners(), Grid.of(reference).corners()
    low = np.maximum(first.min(0), second.min(0))
    high = np.minimum(first.max(0), second.max(0))
    shared = np.prod(np.clip(high - low, 0, None))
    smaller = min(np.prod(np.ptp(first, axis=0)), np.prod(np.ptp(second, axis=0)))
    if shared < 0.1 * smaller:
        raise GeometryError(
            f"{volume.source} and {reference.source} do not overlap in space.",
            "They are of different patients or sessions, or one lost its position; register them first.",
        )


def reorient(array: np.ndarray, affine: np.ndarray, codes: str) -> np.ndarray:
    """List the voxels of ``(…, Z, Y, X)`` along the axes ``codes``; a view, no voxel changes."""
    transform = _orientation_transform(affine, codes)
    xyz = np.transpose(array, (*range(array.ndim - 3), *range(array.ndim - 1, array.ndim - 4, -1)))
    moved = np.moveaxis(xyz, (-3, -2, -1), (0, 1, 2))
    moved = orientations.apply_orientation(moved, transform)
    xyz = np.moveaxis(moved, (0, 1, 2), (-3, -2, -1))
    return np.transpose(xyz, (*range(array.ndim - 3), *range(array.ndim - 1, array.ndim - 4, -1)))


def _orientation_transform(affine: np.ndarray, codes: str) -> np.ndarray:
    current = nibabel.io_orientation(affine)
    return orientations.ornt_transform(current, orientations.axcodes2ornt(tuple(codes)))


def resample(array: np.ndarray, source: Grid, target: Grid, *, nearest: bool = False) -> np.ndarray:
    """Resample one image ``(Z, Y, X)`` onto another grid, in physical space; outside is 0.

    Linear (nearest for label maps); an image finer than the target is smoothed first, lest it alias.
    Identical grids return the array itself. Works for any invertible affine, sheared ones too: SimpleITK
    is given index space, where geometry is one affine transform.
    """
    if same_grid(source, target):
        return array
    import SimpleITK as sitk

    values = array if nearest else np.asarray(array, dtype=np.float32)
    image = sitk.GetImageFromArray(values.astype(np.uint8) if values.dtype == bool else values)
    to_source = np.linalg.inv(source.affine) @ target.affine
    if not nearest:
        step = np.linalg.norm(to_source[:3, :3], axis=1)  # source voxels per target voxel along source axes
        sigma = np.maximum((step - 1) / 2, 0)
        if sigma.max() > 0.25:
            image = sitk.DiscreteGaussian(image, (sigma**2).tolist(), 16, 0.01, False)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(to_source[:3, :3].ravel().tolist())
    transform.SetTranslation(to_source[:3, 3].tolist())
    interpolator = sitk.sitkNearestNeighbor if nearest else sitk.sitkLinear
    size = [int(n) for n in target.shape[::-1]]
    resampled = sitk.Resample(
        image, size, transform, interpolator, (0.0,) * 3, (1.0,) * 3, np.eye(3).ravel().tolist(), 0.0
    )
    return sitk.GetArrayFromImage(resampled).astype(array.dtype if nearest else np.float32, copy=False)
