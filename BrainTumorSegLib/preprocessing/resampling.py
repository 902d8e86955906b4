"""Resampling in physical space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..domain.grid import Grid, axis_codes, reorient, same_grid


def onto(array: np.ndarray, source: Grid, target: Grid, *, nearest: bool = False, cubic: bool = False) -> np.ndarray:
    """Bring ``(Z, Y, X)`` from one grid to another; where they differ only by order and direction of the
    axes no voxel is interpolated.
    """
    codes = axis_codes(target.affine)
    return resample(reorient(array, source.affine, codes), source.oriented(codes), target, nearest=nearest, cubic=cubic)


def resample(
    array: np.ndarray, source: Grid, target: Grid, *, nearest: bool = False, cubic: bool = False
) -> np.ndarray:
    """Resample one image ``(Z, Y, X)`` onto another grid, in physical space; outside is 0.

    Linear (nearest for label maps); an image finer than the target is smoothed first, lest it alias. ``cubic`` takes
    B-splines of third order without smoothing along all axes, as nnU-Net does unless voxels are more than three times
    as long as wide: there it takes the nearest slice.
    Identical grids return the array itself. Works for any invertible affine, sheared ones too: SimpleITK
    is given index space, where geometry is one affine transform.
    """
    if same_grid(source, target):
        return array
    import SimpleITK as sitk

    values = array if nearest else np.asarray(array, dtype=np.float32)
    image = sitk.GetImageFromArray(values.astype(np.uint8) if values.dtype == bool else values)
    to_source = np.linalg.inv(source.affine) @ target.affine
    if not nearest and not cubic:
        step = np.linalg.norm(to_source[:3, :3], axis=1)  # source voxels per target voxel along source axes
        sigma = np.maximum((step - 1) / 2, 0)
        if sigma.max() > 0.25:
            image = sitk.DiscreteGaussian(image, (sigma**2).tolist(), 16, 0.01, False)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(to_source[:3, :3].ravel().tolist())
    transform.SetTranslation(to_source[:3, 3].tolist())
    interpolator = sitk.sitkNearestNeighbor if nearest else sitk.sitkBSpline if cubic else sitk.sitkLinear
    size = [int(n) for n in target.shape[::-1]]
    resampled = sitk.Resample(
        image, size, transform, interpolator, (0.0,) * 3, (1.0,) * 3, np.eye(3).ravel().tolist(), 0.0
    )
    return sitk.GetArrayFromImage(resampled).astype(array.dtype if nearest else np.float32, copy=False)


@dataclass(frozen=True)
class Resampling:
    """The step from the reference's grid to the network's."""

    reference: Grid
    network: Grid

    def undo(self, values: np.ndarray) -> np.ndarray:
        """Values on the network's grid → float32 on the reference's."""
        return onto(values, self.network, self.reference)
