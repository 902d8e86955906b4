"""Lesion by lesion: which were found, and Dice and HD95 of each, as BraTS 2023 scores them.

The definition is that of the challenge's published evaluation program (Saluja et al. 2023, "BraTS-2023-Metrics"), for
the glioma task; :data:`BRATS2023` carries its figures and its name, since later years may change both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...domain.volume import bounding_box
from .overlap import dice
from .surface import surfel_distances


@dataclass(frozen=True)
class LesionProtocol:
    """How lesions are told apart and matched.

    Attributes:
        name: tag that goes with the numbers.
        dilation: steps by which the reference grows (each to the 18 voxels that share a face or an edge);
            parts that meet are one lesion.
        smallest: reference lesions up to this volume in mm³ do not count.
    """

    name: str
    dilation: int
    smallest: float


BRATS2023 = LesionProtocol("BraTS 2023 GLI", 3, 50.0)


@dataclass(frozen=True)
class Lesion:
    """A lesion of the reference.

    Attributes:
        volume: in mm³.
        found: a predicted component touches the lesion or its dilated rim.
        dice, hd95: against the predicted components that touch it, together.
    """

    volume: float
    found: bool
    dice: float
    hd95: float


@dataclass(frozen=True)
class LesionScores:
    """Scores over the lesions of one mask pair.

    Attributes:
        lesions: those of the reference that count, in the order in which their first voxels come.
        ignored: reference lesions too small to count; what was predicted there counts neither way.
        false: predicted components that touch no lesion.
        penalty: distance in mm that stands for a missed or a false lesion.
    """

    lesions: tuple[Lesion, ...]
    ignored: int
    false: int
    penalty: float

    @property
    def found(self) -> int:
        """Reference lesions that were found."""
        return sum(lesion.found for lesion in self.lesions)

    @property
    def missed(self) -> int:
        """Reference lesions that were not."""
        return len(self.lesions) - self.found

    @property
    def dice(self) -> float:
        """Σ Dice / (lesions + false lesions); 1 where there is neither."""
        return sum(lesion.dice for lesion in self.lesions) / self._count if self._count else 1.0

    @property
    def hd95(self) -> float:
        """(Σ HD95 + penalty · false lesions) / (lesions + false lesions) in mm; 0 where there is neither."""
        total = sum(lesion.hd95 for lesion in self.lesions) + self.penalty * self.false
        return total / self._count if self._count else 0.0

    @property
    def _count(self) -> int:
        return len(self.lesions) + self.false


def score_lesions(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: Sequence[float],
    penalty: float,
    protocol: LesionProtocol = BRATS2023,
    *,
    distances: bool = True,
) -> LesionScores:
    """Match the lesions of two masks and score each.

    The dilated reference's 26-connected components, cut back to the reference, are the lesions. A predicted component
    (26-connected) that touches the dilated lesion belongs to it, to two lesions if it touches both; those of one
    lesion are scored together. HD95 is that of area-weighted surfels, as in the challenge.

    Args:
        prediction, reference: boolean masks ``(Z, Y, X)`` of one shape; either may be empty.
        spacing: voxel size ``(z, y, x)`` in mm.
        penalty: distance in mm for a missed or false lesion; 374 on the BraTS grid.
        protocol: by which lesions are told apart.
        distances: compute HD95 too; without, it is the penalty everywhere.
    """
    from scipy import ndimage

    box = bounding_box(prediction | reference, protocol.dilation)
    prediction, reference = prediction[box], reference[box]
    components, number = ndimage.label(prediction, np.ones((3, 3, 3)))
    blobs, _ = ndimage.label(dilate(reference, protocol.dilation), np.ones((3, 3, 3)))
    rimmed = prediction & (blobs > 0)
    pairs = np.divmod(np.unique(blobs[rimmed].astype(np.int64) * (number + 1) + components[rimmed]), number + 1)
    places = ndimage.find_objects(components)
    lesions, ignored = [], 0
    for blob, place in enumerate(ndimage.find_objects(blobs), start=1):
        partners = pairs[1][pairs[0] == blob]
        around = _union([place, *(places[partner - 1] for partner in partners)])
        truth = reference[around] & (blobs[around] == blob)
        volume = np.count_nonzero(truth) * float(np.prod(spacing))
        if volume <= protocol.smallest:
            ignored += 1
        elif not partners.size:
            lesions.append(Lesion(volume, False, 0.0, penalty))
        else:
            predicted = np.isin(components[around], partners)
            hd95 = surfel_distances(predicted, truth, spacing).hd95("surfel") if distances else penalty
            lesions.append(Lesion(volume, True, dice(predicted, truth), hd95))
    return LesionScores(tuple(lesions), ignored, number - len(np.unique(pairs[1])), penalty)


def _union(boxes: Sequence[tuple[slice, ...]]) -> tuple[slice, ...]:
    """The box around boxes."""
    axes = zip(*boxes, strict=True)
    return tuple(slice(min(s.start for s in axis), max(s.stop for s in axis)) for axis in map(tuple, axes))


def dilate(mask: np.ndarray, steps: int) -> np.ndarray:
    """Grow a mask ``(Z, Y, X)`` by the 18 voxels around each that share a face or an edge, ``steps`` times.

    The neighbourhood is the union of three flat squares, and a square is a line grown along a line: a few shifts of
    whole arrays do what a general dilation does voxel by voxel.
    """
    for _ in range(steps):
        z, y = _along(mask, 0), _along(mask, 1)
        mask = _along(z, 1) | _along(z, 2) | _along(y, 2)
    return mask


def _along(mask: np.ndarray, axis: int) -> np.ndarray:
    grown = mask.copy()
    target, source = np.moveaxis(grown, axis, 0), np.moveaxis(mask, axis, 0)
    target[1:] |= source[:-1]
    target[:-1] |= source[1:]
    return grown
