"""Slices of a DICOM series as one regular grid, or why they are none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...domain.errors import InputError
from ...domain.grid import LPS_TO_RAS

# Millimetres by which slices may miss their places by rounding; beyond it is said.
_ROUNDING_MM = 0.05
# Shares of the slice distance: slices off their places by more make no regular grid; a distance that is longer by more
# tells of missing slices.
_UNEVEN, _GAP = 0.2, 0.5
# Slices shifted along their own plane by more than this angle are said to be.
_SHEAR_DEGREES = 0.1
# By so much the axes of a slice may miss unit length and the right angle.
_AXES = 0.01


@dataclass(frozen=True, eq=False)
class Frame:
    """A slice as its header describes it, in DICOM's own millimetres (LPS).

    Attributes:
        file: that holds it.
        index: of the slice in its file, from 0.
        size: rows, columns.
        spacing: millimetres between rows, between columns.
        axes: unit vectors along a row and along a column, shape ``(2, 3)``.
        position: centre of the first pixel, shape ``(3,)``.
        rescale: slope and intercept of the grey values.
    """

    file: Path
    index: int
    size: tuple[int, int]
    spacing: tuple[float, float]
    axes: np.ndarray
    position: np.ndarray
    rescale: tuple[float, float] = (1.0, 0.0)

    def lies_as(self, other: Frame) -> bool:
        """Whether another slice has the same place in space, but for rounding."""
        alike = self.size == other.size and np.allclose(self.axes, other.axes, atol=1e-3)
        return alike and bool(np.abs(self.position - other.position).max() <= _ROUNDING_MM)


@dataclass(frozen=True, eq=False)
class Stack:
    """Slices in their order on a regular grid.

    Attributes:
        frames: slices along their common normal.
        affine: 4×4, from index ``(column, row, slice)`` to RAS millimetres; sheared where the slices are.
        warnings: what follows a name: how the slices depart from a regular grid.
    """

    frames: tuple[Frame, ...]
    affine: np.ndarray
    warnings: tuple[str, ...] = ()


def stack(frames: Sequence[Frame]) -> Stack:
    """Order slices along their normal and find their grid.

    Raises:
        InputError: they differ in size or orientation, lie upon each other (4D), or some are missing; the message is
            what follows the series' name.
    """
    _check_alike(frames)
    first = frames[0]
    normal = np.cross(*first.axes)
    ordered = sorted(frames, key=lambda frame: float(frame.position @ normal))
    positions = np.array([frame.position for frame in ordered])
    along = positions @ normal
    _check_single(along)
    _check_complete(ordered, along)
    step = (positions[-1] - positions[0]) / (len(ordered) - 1)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([first.axes[0] * first.spacing[1], first.axes[1] * first.spacing[0], step])
    affine[:3, 3] = positions[0]
    warnings = (*_uneven(positions, step, along), *_sheared(step, normal))
    return Stack(tuple(ordered), LPS_TO_RAS @ affine, warnings)


def _check_alike(frames: Sequence[Frame]) -> None:
    first = frames[0]
    if not np.allclose(first.axes @ first.axes.T, np.eye(2), atol=_AXES):
        raise InputError("does not say how its slices lie: their axes are no unit vectors at a right angle")
    if min(first.spacing) <= 0:
        raise InputError("has pixels without a size")
    sizes = sorted({frame.size for frame in frames})
    if len(sizes) > 1:
        raise InputError(f"has slices of {' and '.join(f'{x} × {y}' for y, x in sizes)} pixels")
    if any(not np.allclose(frame.spacing, first.spacing, rtol=1e-3) for frame in frames):
        raise InputError("has slices of different pixel sizes")
    if any(not np.allclose(frame.axes, first.axes, atol=1e-3) for frame in frames):
        raise InputError("has slices of several orientations, as a localiser has")
    if len(frames) < 2:
        raise InputError("is a single slice")


def _check_single(along: np.ndarray) -> None:
    """One slice a place: more are a series in four dimensions, or slices that were sent twice."""
    places = np.concatenate([[0], np.cumsum(np.diff(along) > _ROUNDING_MM)])
    counts = np.bincount(places)
    if counts.min() > 1:
        each = f"{counts.max()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
        raise InputError(f"is a 4D series: {each} images at each of its {len(counts)} places")
    if counts.max() > 1:
        raise InputError(
            f"has several different images at {np.count_nonzero(counts > 1)} of its {len(counts)} places, such as "
            f"slice {int(counts.argmax()) + 1}"
        )


def _check_complete(frames: Sequence[Frame], along: np.ndarray) -> None:
    distances = np.diff(along)
    usual = float(np.median(distances))
    gaps = np.flatnonzero(distances > (1 + _GAP) * usual)
    lacking = int(sum(max(round(distances[gap] / usual) - 1, 1) for gap in gaps))
    if lacking:
        what = "a slice" if lacking == 1 else f"{lacking} slices"
        raise InputError(
            f"lacks {what}: {distances[gaps[0]]:.1f} mm lie between {frames[gaps[0]].file.name} and "
            f"{frames[gaps[0] + 1].file.name}, {usual:.1f} mm between others"
        )


def _uneven(positions: np.ndarray, step: np.ndarray, along: np.ndarray) -> list[str]:
    """How far slices lie from where equal distances would have them, where that is more than rounding."""
    regular = positions[0] + np.arange(len(positions))[:, None] * step
    off = float(np.linalg.norm(positions - regular, axis=1).max())
    distances = np.diff(along)
    found = f"slice distances from {distances.min():.2f} to {distances.max():.2f} mm"
    if off > _UNEVEN * np.linalg.norm(step):
        raise InputError(f"has unequal {found}, and is no regular grid")
    if off > _ROUNDING_MM:
        return [f"has {found}; equal ones were taken, which moves slices by up to {off:.2f} mm"]
    return []


def _sheared(step: np.ndarray, normal: np.ndarray) -> list[str]:
    across = float(np.linalg.norm(np.cross(step, normal)))
    angle = float(np.degrees(np.arctan2(across, step @ normal)))
    if angle > _SHEAR_DEGREES:
        return [f"has slices that are shifted along their plane, by {angle:.1f}° (as of a tilted gantry)"]
    return []
