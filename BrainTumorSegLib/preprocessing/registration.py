"""Rigid registration of one sequence to another: how a head moved between two series.

Mattes' mutual information (Mattes 2003, doi 10.1109/TMI.2003.809072) from coarse to fine. It has many maxima, so many
starts are looked at (where the headers put the images, their centres and principal axes upon each other, tilts and
shifts around those), the best ones are followed on coarse images, and the best of these is refined.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..domain.alignment_record import Motion
from ..domain.volume import Volume
from .similarity import local_correlation
from .working_image import LPS_TO_RAS, WorkingImage

# Voxel size in mm, optimiser steps and the share of voxels that is looked at, from coarse to fine.
_COARSE_MM, _COARSE_STEPS, _COARSE_SHARE = 4.0, 60, 0.3
_LEVELS = ((2.0, 50, 0.2), (1.0, 30, 0.1))
_FOLLOWED = 3
_BINS = 32
_SEED = 15
# Tilts that the search begins with, about each axis in degrees, and shifts along the body's: necks draw centres down.
_TILTS = (-40.0, -20.0, 20.0, 40.0)
_SHIFTS_MM = (-30.0, 0.0, 30.0)


@dataclass(frozen=True)
class Registration:
    """How a moving image has to be moved to lie over a fixed one.

    Attributes:
        matrix: 4×4, RAS mm in the moving image's space → RAS mm in the fixed one's.
        quality: local correlation of the two when moved so, 0 to 1, see :func:`.local_correlation`.
        before: the same where the headers put them.
        displacement_mm: the farthest that a place of the fixed image's head is moved.
        angle_deg: of the rotation.
    """

    matrix: np.ndarray
    quality: float
    before: float
    displacement_mm: float
    angle_deg: float

    def move(self, volume: Volume) -> Volume:
        """The moving image in the fixed one's space: no voxel is interpolated."""
        return Volume(volume.array, self.matrix @ volume.affine, volume.source)

    def as_motion(self) -> Motion:
        """The same as plain values."""
        rows = tuple(tuple(round(float(value), 6) for value in row) for row in self.matrix)
        figures = (self.quality, self.before, self.displacement_mm, self.angle_deg)
        return Motion(rows, *(round(value, 3) for value in figures))


def register(
    moving: Volume, fixed: Volume, mask: np.ndarray | None = None, tick: Callable[[], None] | None = None
) -> Registration:
    """Find the rigid motion that brings one image over another, of whatever contrast.

    Args:
        moving: ``(Z, Y, X)``, in its own space.
        fixed: the image that stays.
        mask: bool, on the grid of ``fixed``: what has to match, such as the brain; by default what is not air.
        tick: called often; may raise to end it.

    Returns:
        The motion and what it is worth; whether that is enough is for the caller to say.
    """
    search = _Search(WorkingImage(fixed, mask), WorkingImage(moving), tick or (lambda: None))
    matrix = np.linalg.inv(_matrix_of(search.run()))
    points = search.fixed.head_points()
    moved = points @ matrix[:3, :3].T + matrix[:3, 3]
    return Registration(
        matrix,
        local_correlation(moving, fixed, matrix, mask),
        local_correlation(moving, fixed, np.eye(4), mask),
        float(np.linalg.norm(moved - points, axis=1).max()),
        float(np.degrees(np.arccos(np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1, 1)))),
    )


class _Search:
    """One search for the transform from the fixed image's points to the moving one's (LPS, as ITK has it)."""

    def __init__(self, fixed: WorkingImage, moving: WorkingImage, tick: Callable[[], None]) -> None:
        self.fixed, self.moving, self._tick = fixed, moving, tick

    def run(self) -> Any:
        """The best transform found."""
        coarse = self._method(_COARSE_MM, _COARSE_SHARE)
        images = self.fixed.at(_COARSE_MM), self.moving.at(_COARSE_MM)
        rated = []
        for start in self._starts():
            self._tick()
            coarse.SetInitialTransform(start)
            rated.append((self._rate(coarse, images), start))
        rated.sort(key=lambda pair: pair[0])
        ends = [self._optimise(_COARSE_MM, _COARSE_STEPS, _COARSE_SHARE, start) for _, start in rated[:_FOLLOWED]]
        transform = min(ends, key=lambda end: end[0])[1]
        for mm, steps, share in _LEVELS:
            if self.fixed.finest_mm < 1.5 * mm or mm == _LEVELS[0][0]:
                transform = self._optimise(mm, steps, share, transform)[1]
        return transform

    def _starts(self) -> Iterator[Any]:
        """Transforms to begin with."""
        import SimpleITK as sitk

        centre, other = self.fixed.centre, self.moving.centre
        turns = [np.eye(3), *(_rotation(axis, angle) for axis in range(3) for angle in _TILTS)]
        turns += _axes_onto(self.fixed.axes, self.moving.axes)
        shifts = [np.array([0.0, 0.0, mm]) for mm in _SHIFTS_MM]
        yield sitk.Euler3DTransform(_euler(np.eye(3), centre, np.zeros(3)))
        for turn, shift in itertools.product(turns, shifts):
            yield _euler(turn, centre, other - centre + shift)

    def _method(self, mm: float, share: float) -> Any:
        import SimpleITK as sitk

        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfThreads(1)  # sequences run side by side, and sums in one order give one result
        method.SetMetricAsMattesMutualInformation(_BINS)
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(share, _SEED)
        method.SetMetricFixedMask(self.fixed.mask_at(mm))
        method.SetInterpolator(sitk.sitkLinear)
        return method

    def _rate(self, method: Any, images: tuple[Any, Any]) -> float:
        """The metric of a start, lower is better; images that do not overlap are worth nothing."""
        try:
            return float(method.MetricEvaluate(*images))
        except RuntimeError:
            return 0.0

    def _optimise(self, mm: float, steps: int, share: float, start: Any) -> tuple[float, Any]:
        """Metric and transform at the maximum that a start leads to."""
        import SimpleITK as sitk

        method = self._method(mm, share)
        method.SetOptimizerAsRegularStepGradientDescent(mm / 2, mm / 200, steps, 0.6)
        method.SetOptimizerScalesFromPhysicalShift()
        transform = sitk.Euler3DTransform(start)
        method.SetInitialTransform(transform, inPlace=True)
        method.AddCommand(sitk.sitkIterationEvent, self._tick)
        try:
            method.Execute(self.fixed.at(mm), self.moving.at(mm))
        except RuntimeError:  # the images lost each other
            return 0.0, start
        return float(method.GetMetricValue()), transform


def _rotation(axis: int, degrees: float) -> np.ndarray:
    """Rotation about one axis."""
    angle, (one, other) = np.radians(degrees), [a for a in range(3) if a != axis]
    turn = np.eye(3)
    turn[one, one] = turn[other, other] = np.cos(angle)
    turn[one, other], turn[other, one] = -np.sin(angle), np.sin(angle)
    return turn


def _axes_onto(fixed: np.ndarray, moving: np.ndarray) -> list[np.ndarray]:
    """The rotation that brings principal axes (columns) upon each other, each the way that is the smaller turn."""
    signs = np.sign(np.sum(fixed * moving, axis=0))
    turn = (moving * np.where(signs == 0, 1, signs)) @ fixed.T
    return [turn] if np.linalg.det(turn) > 0 else []


def _euler(turn: np.ndarray, centre: np.ndarray, shift: np.ndarray) -> Any:
    import SimpleITK as sitk

    transform = sitk.Euler3DTransform()
    transform.SetCenter(centre.tolist())
    transform.SetMatrix(turn.ravel().tolist(), 1e-6)
    transform.SetTranslation(shift.tolist())
    return transform


def _matrix_of(transform: Any) -> np.ndarray:
    """4×4 in RAS of an ITK transform, which knows LPS."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    centre = np.asarray(transform.GetCenter())
    matrix[:3, 3] = np.asarray(transform.GetTranslation()) + centre - matrix[:3, :3] @ centre
    return np.asarray(LPS_TO_RAS @ matrix @ LPS_TO_RAS)
