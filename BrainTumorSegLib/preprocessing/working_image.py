"""An image as registration looks at it: smaller, without outliers, with a mask of what is not air."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..domain.grid import Grid
from ..domain.volume import Volume
from ..io.itk import LPS_TO_RAS
from .resampling import onto

__all__ = ["LPS_TO_RAS", "WorkingImage", "itk_image"]

# What is darker than this share of what is bright is air.
_AIR = 0.1
_LOW, _HIGH = 1.0, 99.5
# How far around the mask the metric looks: the edge of what is masked says most of where it lies.
_AROUND_MM = 5.0
_RIGHT_ANGLES = 1e-4


class WorkingImage:
    """A volume, smaller versions of it, and where its head lies.

    Args:
        volume: ``(Z, Y, X)``.
        mask: on its grid, what has to match; by default what is not air.
    """

    def __init__(self, volume: Volume, mask: np.ndarray | None = None) -> None:
        grid = _rectangular(Grid.of(volume))
        values = onto(np.asarray(volume.array, dtype=np.float32), Grid.of(volume), grid)
        low, high = np.percentile(values[::2, ::3, ::3], (_LOW, _HIGH))
        self._image = itk_image(np.clip(values, low, high), grid)
        given = mask is not None
        chosen = onto(mask, Grid.of(volume), grid, nearest=True) if given else values > low + _AIR * (high - low)
        self._mask = itk_image(np.asarray(chosen, dtype=np.uint8), grid)
        self.finest_mm = float(min(grid.spacing))

    @functools.cache  # noqa: B019 — lives as long as one registration
    def at(self, mm: float) -> Any:
        """The image with voxels of about this size, float32."""
        return _shrunk(self._image, mm)

    @functools.cache  # noqa: B019
    def mask_at(self, mm: float) -> Any:
        """The mask and a rim around it."""
        import SimpleITK as sitk

        mask = _shrunk(self._mask, mm)
        radius = [round(_AROUND_MM / step) for step in mask.GetSpacing()]
        return sitk.BinaryDilate(mask > 0, radius)

    @functools.cached_property
    def _points(self) -> np.ndarray:
        """LPS mm of voxels of the mask, ``(N, 3)``."""
        import SimpleITK as sitk

        mask = _shrunk(self._mask, 4.0)
        index = np.argwhere(sitk.GetArrayViewFromImage(mask) > 0)[:, ::-1]
        direction = np.reshape(mask.GetDirection(), (3, 3)) * np.asarray(mask.GetSpacing())
        return np.asarray(index @ direction.T + np.asarray(mask.GetOrigin()))

    def head_points(self) -> np.ndarray:
        """RAS mm of voxels of the mask, ``(N, 3)``."""
        return self._points @ LPS_TO_RAS[:3, :3]

    @property
    def centre(self) -> np.ndarray:
        """Centre of the mask, LPS mm."""
        return np.asarray(self._points.mean(axis=0))

    @property
    def axes(self) -> np.ndarray:
        """Principal axes of the mask, in columns, LPS."""
        return np.asarray(np.linalg.eigh(np.cov(self._points.T))[1])


def itk_image(array: np.ndarray, grid: Grid) -> Any:
    """``(Z, Y, X)`` on a grid with right angles as an image of SimpleITK."""
    import SimpleITK as sitk

    affine = LPS_TO_RAS @ grid.affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    return image


def _rectangular(grid: Grid) -> Grid:
    """The grid along LPS; a sheared one by the rotation nearest to it."""
    grid = grid.oriented("LPS")
    steps = np.linalg.norm(grid.affine[:3, :3], axis=0)
    directions = grid.affine[:3, :3] / steps
    if np.allclose(directions.T @ directions, np.eye(3), atol=_RIGHT_ANGLES):
        return grid
    left, _, right = np.linalg.svd(directions)
    corners = grid.corners() @ (left @ right)
    affine = np.eye(4)
    affine[:3, :3] = (left @ right) * steps
    affine[:3, 3] = (left @ right) @ (corners.min(axis=0) + steps / 2)
    x, y, z = (int(n) for n in np.ceil(np.ptp(corners, axis=0) / steps))
    return Grid((z, y, x), affine)


def _shrunk(image: Any, mm: float) -> Any:
    """Means over boxes of voxels; what is coarser stays."""
    import SimpleITK as sitk

    factors = [
        max(1, min(round(mm / step), size)) for step, size in zip(image.GetSpacing(), image.GetSize(), strict=True)
    ]
    return sitk.BinShrink(image, factors) if max(factors) > 1 else image
