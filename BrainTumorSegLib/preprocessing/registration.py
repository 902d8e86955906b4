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
from ..domain.grid import LPS_TO_RAS
from ..domain.volume import Volume
from .similarity import local_correlation
from .working_image import WorkingImage

# Voxel size in mm and the most optimiser steps, from coarse to fine; finer images find nothing better.
_COARSE, _FINE = ((6.0, 60), (4.0, 60)), ((2.0, 50),)
# The same for the affine motion that tells whether two heads are of one size, and below which quality it is looked for:
# pairs of one head mostly have more, no two people did (.39 at most).
_AFFINE, _SURE = ((4.0, 60), (3.0, 40)), 0.42
# A turn by one radian counts as much as a shift by this: how far a place in the head lies from its centre on average.
# From the images' corners, far out in the air, turns would seem so strong that they are hardly tried.
_LEVER_MM = 50.0
_COMPARED_MM = 3.0
_SAMPLES = 30_000
_BINS = 32
# How many starts are followed, and how many where none of those leads to what is clearly one head.
_FOLLOWED, _MOST_FOLLOWED, _CLEAR = 3, 8, 0.28
# An affine motion went astray where it leaves less than this share of the rigid one's quality. Then it says nothing of
# the heads' sizes where headers had put them over each other better than this: no two people's did (.18 at most).
_ASTRAY, _LAID = 0.6, 0.2
# A motion below the first that gains less quality than the second is the method's own.
_STILL_MM, _GAIN = 1.0, 0.02
# Share of the mask that the moving image has to cover to be looked at, and to count in full.
_LEAST_COVERED, _COVERED = 0.3, 0.5
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
        stretch: by what share the moving head would have to be made longer or shorter in some direction to lie over the
            fixed one; 0 where there is no doubt that it is the same head: by the quality, or since nothing lies better
            than where the headers put it; and where that cannot be told.
    """

    matrix: np.ndarray
    quality: float
    before: float
    displacement_mm: float
    angle_deg: float
    stretch: float = 0.0

    def move(self, volume: Volume) -> Volume:
        """The moving image in the fixed one's space: no voxel is interpolated."""
        return Volume(volume.array, self.matrix @ volume.affine, volume.source)

    def as_motion(self) -> Motion:
        """The same as plain values."""
        rows = tuple(tuple(round(float(value), 6) for value in row) for row in self.matrix)
        figures = (self.quality, self.before, self.displacement_mm, self.angle_deg, self.stretch)
        return Motion(rows, *(round(value, 3) for value in figures))


def register(
    moving: Volume,
    fixed: Volume,
    mask: np.ndarray | None = None,
    *,
    skull: bool = True,
    tick: Callable[[], None] | None = None,
) -> Registration:
    """Find the rigid motion that brings one image over another, of whatever contrast.

    Args:
        moving: ``(Z, Y, X)``, in its own space.
        fixed: the image that stays.
        mask: bool, on the grid of ``fixed``: what has to match, such as the brain; by default what is not air.
        skull: whether the moving image shows a head around the brain, if the fixed one does; else the fixed one's is
            left out of the search, too.
        tick: called often; may raise to end it.

    Returns:
        The motion and what it is worth; whether that is enough is for the caller to say.
    """
    search = _Search(fixed, moving, mask, skull, tick or (lambda: None))
    header, found = search.header(), search.run()
    before, quality = search.quality(header), search.quality(found)
    matrix = np.linalg.inv(_matrix_of(found))
    distance = _farthest(search.fixed.points @ LPS_TO_RAS[:3, :3], matrix)
    # The search follows mutual information. Where local correlation, another measure, is no better after it, the
    # headers are right: slices of 5 mm that lie over each other are else moved by millimetres. Two people do not lie so
    # by chance, while an affine motion between such slices easily goes astray.
    if quality <= before + (_GAIN if distance < _STILL_MM else 0.0):
        return Registration(np.eye(4), before, before, 0.0, 0.0)
    angle = float(np.degrees(np.arccos(np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1, 1))))
    stretch = 0.0
    if quality < _SURE:
        stretch, stretched = search.stretch(found)
        if stretched < _ASTRAY * quality and before > _LAID:
            stretch = 0.0
    return Registration(matrix, quality, before, distance, angle, stretch)


def _farthest(points: np.ndarray, matrix: np.ndarray) -> float:
    """How far points, (N, 3) in mm, are moved at most."""
    return float(np.linalg.norm(points @ matrix[:3, :3].T + matrix[:3, 3] - points, axis=1).max())


class _Search:
    """One search for the transform from the fixed image's points to the moving one's (LPS, as ITK has it).

    Whole images are brought over each other, since the outline of a head leads from far away; the mask says where they
    are compared.
    """

    def __init__(
        self, fixed: Volume, moving: Volume, mask: np.ndarray | None, skull: bool, tick: Callable[[], None]
    ) -> None:
        outline = fixed if skull or mask is None else fixed.with_array(np.where(mask, fixed.array, 0))
        self.fixed, self.whole, self.moving = WorkingImage(fixed, mask), WorkingImage(outline), WorkingImage(moving)
        self._tick = tick

    def run(self) -> Any:
        """The best transform found."""
        starts = sorted(self._starts(), key=self._rating())
        best, quality = starts[0], -1.0
        for number, start in enumerate(starts[:_MOST_FOLLOWED]):
            if number >= _FOLLOWED and quality > _CLEAR:
                break
            end = start
            for mm, steps in _COARSE:
                end = self._optimise(mm, steps, end)
            if (found := self.quality(end)) > quality:
                best, quality = end, found
        for mm, steps in _FINE:
            best = self._optimise(mm, steps, best)
        return best

    def header(self) -> Any:
        """The transform that leaves the images where their headers put them."""
        return _euler(np.eye(3), self.whole.centre, np.zeros(3))

    def quality(self, transform: Any) -> float:
        """Local correlation over the mask, times the share of it that the moving image covers."""
        import SimpleITK as sitk

        self._tick()
        fixed, moving = self.fixed.at(_COMPARED_MM), self.moving.at(_COMPARED_MM)
        other = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear, -1.0))
        mask = sitk.GetArrayViewFromImage(self.fixed.mask_at(_COMPARED_MM)) > 0
        where = mask & (other >= 0)
        share = float(np.mean(where[mask])) if mask.any() else 0.0
        found = local_correlation(sitk.GetArrayViewFromImage(fixed), other, where, fixed.GetSpacing()[::-1])
        return found * min(1.0, share / _COVERED)

    def stretch(self, transform: Any) -> tuple[float, float]:
        """See :class:`Registration`: of the affine transform that a rigid one leads to; and that one's quality."""
        import SimpleITK as sitk

        affine = sitk.AffineTransform(3)
        affine.SetCenter(transform.GetCenter())
        affine.SetMatrix(transform.GetMatrix())
        affine.SetTranslation(transform.GetTranslation())
        for mm, steps in _AFFINE:
            affine = self._optimise(mm, steps, affine)
        lengths = np.linalg.svd(_lps_matrix_of(affine)[:3, :3], compute_uv=False)
        return float(np.abs(lengths - 1).max()), self.quality(affine)

    def _starts(self) -> Iterator[Any]:
        """Transforms to begin with."""
        centre, other = self.whole.centre, self.moving.centre
        turns = [np.eye(3), *(_rotation(axis, angle) for axis in range(3) for angle in _TILTS)]
        turns += _axes_onto(self.whole.axes, self.moving.axes)
        yield self.header()
        for turn, mm in itertools.product(turns, _SHIFTS_MM):
            yield _euler(turn, centre, other - centre + turn[:, 2] * mm)

    def _rating(self) -> Callable[[Any], float]:
        """What a start is worth, the lower the better."""
        mm = _COARSE[0][0]
        method, images = self._method(mm), (self.whole.at(mm), self.moving.padded_at(mm))

        def rate(start: Any) -> float:
            self._tick()
            matrix = _lps_matrix_of(start)
            share = self.moving.share_of(self.fixed.points @ matrix[:3, :3].T + matrix[:3, 3])
            if share < _LEAST_COVERED:  # few voxels in common promise much
                return 0.0
            method.SetInitialTransform(start)
            return float(method.MetricEvaluate(*images)) * share

        return rate

    def _method(self, mm: float) -> Any:
        import SimpleITK as sitk

        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfThreads(1)  # sequences run side by side, and sums in one order give one result
        method.SetMetricAsMattesMutualInformation(_BINS)
        count = float(np.prod(self.whole.at(mm).GetSize()))
        method.SetMetricSamplingStrategy(method.RANDOM)
        method.SetMetricSamplingPercentage(min(1.0, _SAMPLES / count), _SEED)
        method.SetInterpolator(sitk.sitkLinear)
        return method

    def _optimise(self, mm: float, steps: int, start: Any) -> Any:
        """The maximum of mutual information that a start leads to."""
        import SimpleITK as sitk

        method = self._method(mm)
        method.SetOptimizerAsRegularStepGradientDescent(mm / 2, mm / 100, steps, 0.6, 1e-8)
        transform = type(start)(start)
        method.SetOptimizerScales([_LEVER_MM**2] * (transform.GetNumberOfParameters() - 3) + [1.0] * 3)
        method.SetInitialTransform(transform, inPlace=True)
        method.AddCommand(sitk.sitkIterationEvent, self._tick)
        try:
            method.Execute(self.whole.at(mm), self.moving.padded_at(mm))
        except RuntimeError:  # the images lost each other on the way
            self._tick()
            return start
        return transform


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
    return np.asarray(LPS_TO_RAS @ _lps_matrix_of(transform) @ LPS_TO_RAS)


def _lps_matrix_of(transform: Any) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    centre = np.asarray(transform.GetCenter())
    matrix[:3, 3] = np.asarray(transform.GetTranslation()) + centre - matrix[:3, :3] @ centre
    return matrix
