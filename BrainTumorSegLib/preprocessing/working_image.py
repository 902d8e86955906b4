"""An image as registration looks at it: smaller, without outliers, with a mask of what has to match."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..domain.grid import LPS_TO_RAS, Grid
from ..domain.volume import Volume, bounding_box
from .resampling import onto

# What is darker than this share of what is bright is air.
_AIR = 0.1
_LOW, _HIGH = 1.0, 99.5
_AROUND_MM = 5.0  # kept around a mask
_PAD_MM, _PADDED_FROM_MM = 40.0, 4.0
# Reach of the local mean that stands for the bias field, on voxels of what size; what is this much brighter is cut.
_FIELD_MM, _FIELD_VOXEL_MM, _BRIGHTEST = 20.0, 5.0, 2.0
_FILTERED_VOXELS = 4
_RIGHT_ANGLES = 1e-4
_POINTS_MM = 5.0


def _once(make: Callable[[WorkingImage, float], Any]) -> Callable[[WorkingImage, float], Any]:
    """A method whose results lie with the image and go with it; ``functools.cache`` would keep every image for good."""

    @functools.wraps(make)
    def made(image: WorkingImage, mm: float) -> Any:
        key = make.__name__, mm
        if key not in image._made:
            image._made[key] = make(image, mm)
        return image._made[key]

    return made


class WorkingImage:
    """A volume, smaller versions of it, and where its head lies; values from 0 (air) to 1 (what is bright).

    Args:
        volume: ``(Z, Y, X)``.
        mask: on its grid, what has to match; by default what is not air. The image is cropped to what is around it.
    """

    def __init__(self, volume: Volume, mask: np.ndarray | None = None) -> None:
        self._made: dict[tuple[str, float], Any] = {}
        grid = _rectangular(Grid.of(volume))
        values = onto(np.asarray(volume.array, dtype=np.float32), Grid.of(volume), grid)
        low, high = np.percentile(values[::2, ::3, ::3], (_LOW, _HIGH))
        values = np.clip((values - low) / np.float32(max(high - low, 1e-6)), 0, 1).astype(np.float32)
        chosen = values > _AIR if mask is None else onto(mask, Grid.of(volume), grid, nearest=True)
        if mask is not None:
            box = bounding_box(chosen, [int(_AROUND_MM / step) + 1 for step in grid.spacing])
            values, chosen, grid = values[box], chosen[box], grid.cropped(box)
        self._mask = itk_image(chosen.astype(np.uint8), grid)
        self._image = _without_bias(itk_image(values, grid), itk_image((values > _AIR).astype(np.float32), grid))

    @_once
    def at(self, mm: float) -> Any:
        """The image with voxels of about this size, float32."""
        return _shrunk(self._image, mm)

    @_once
    def padded_at(self, mm: float) -> Any:
        """The same with its outermost voxels repeated around it: else mutual information drives images apart."""
        import SimpleITK as sitk

        image = self.at(mm)
        if mm < _PADDED_FROM_MM:  # the images cannot drift apart any more
            return image
        width = [int(_PAD_MM / step) for step in image.GetSpacing()]
        return sitk.ZeroFluxNeumannPad(image, width, width)

    @_once
    def mask_at(self, mm: float) -> Any:
        """What has to match, with voxels of about this size."""
        return _shrunk(self._mask, mm) > 0

    @functools.cached_property
    def points(self) -> np.ndarray:
        """LPS mm of some voxels of the mask, ``(N, 3)``."""
        import SimpleITK as sitk

        mask = _shrunk(self._mask, _POINTS_MM)
        index = np.argwhere(sitk.GetArrayViewFromImage(mask) > 0)[:, ::-1]
        direction = np.reshape(mask.GetDirection(), (3, 3)) * np.asarray(mask.GetSpacing())
        return np.asarray(index @ direction.T + np.asarray(mask.GetOrigin()))

    @property
    def centre(self) -> np.ndarray:
        """Centre of the mask, LPS mm."""
        return np.asarray(self.points.mean(axis=0))

    @property
    def axes(self) -> np.ndarray:
        """Principal axes of the mask, in columns, LPS."""
        return np.asarray(np.linalg.eigh(np.cov(self.points.T))[1])

    def share_of(self, points: np.ndarray) -> float:
        """Share of points (LPS mm) that lie within the image."""
        direction = np.reshape(self._image.GetDirection(), (3, 3)) * np.asarray(self._image.GetSpacing())
        index = (points - np.asarray(self._image.GetOrigin())) @ np.linalg.inv(direction).T
        return float(((index > -0.5) & (index < np.asarray(self._image.GetSize()) - 0.5)).all(axis=1).mean())


def _without_bias(image: Any, foreground: Any) -> Any:
    """The image over its local mean: uneven coils would be taken for anatomy."""
    import SimpleITK as sitk

    parts = (_shrunk(part, _FIELD_VOXEL_MM) for part in (image * foreground, foreground))
    small, weight = (sitk.ZeroFluxNeumannPad(part, *_widened(part)) for part in parts)
    sigma = [_FIELD_MM] * 3
    field = sitk.SmoothingRecursiveGaussian(small, sigma) / (sitk.SmoothingRecursiveGaussian(weight, sigma) + 1e-3)
    whole = sitk.Resample(field, image, sitk.Transform(), sitk.sitkLinear, 1.0)
    whole = sitk.Cast(sitk.Maximum(sitk.Cast(whole, sitk.sitkFloat32), _AIR), sitk.sitkFloat32)
    return sitk.Clamp(image / whole, sitk.sitkFloat32, 0.0, _BRIGHTEST)


def _widened(image: Any) -> tuple[list[int], list[int]]:
    """Voxels to be added before and behind each axis: the recursive filter takes no axis of fewer than four."""
    missing = [max(_FILTERED_VOXELS - size, 0) for size in image.GetSize()]
    return [number // 2 for number in missing], [number - number // 2 for number in missing]


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

    steps = zip(image.GetSpacing(), image.GetSize(), strict=True)
    factors = [max(1, min(round(mm / step), size)) for step, size in steps]
    return sitk.BinShrink(image, factors) if max(factors) > 1 else image
