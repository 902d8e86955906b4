"""Response by size alone: sums of products of perpendicular diameters, or volumes, of two points in time or more.

Thresholds are those of RANO (Wen 2010, doi 10.1200/JCO.2009.26.3541; for T2 and FLAIR van den Bent 2011, doi
10.1016/S1470-2045(11)70057-2; for volumes Ellingson 2017, doi 10.1007/s13311-016-0507-6; RANO 2.0, Wen 2023, doi
10.1200/JCO.23.01059). RANO asks for more than size: clinical state, corticosteroids, and another examination four weeks
later. None of that is known here; what the smallest tumour so far was is known of several points in time alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

COMPLETE, PARTIAL, MINOR, STABLE, PROGRESSIVE, UNMEASURABLE = "CR", "PR", "MR", "SD", "PD", "not measurable"
TITLES = {
    COMPLETE: "complete response",
    PARTIAL: "partial response",
    MINOR: "minor response",
    STABLE: "stable disease",
    PROGRESSIVE: "progressive disease",
    UNMEASURABLE: "not measurable",
}


@dataclass(frozen=True)
class Criterion:
    """By what share a tumour has to change; growth is positive.

    Attributes:
        progressive, minor, partial: from these on.
        least: below it at both points in time nothing can be said.
    """

    progressive: float
    minor: float
    partial: float
    least: float


# A lesion counts whose two diameters measure this much, or twice the distance of slices that lie farther apart; a cube
# of that size is the least volume.
LEAST_MM, _THICK_MM = 10.0, 5.0
PRODUCTS = Criterion(0.25, -0.25, -0.50, LEAST_MM**2)
VOLUMES = Criterion(0.40, -0.40, -0.65, LEAST_MM**3 / 1000)


@dataclass(frozen=True)
class Diameters:
    """Of a lesion, in the axial slice where their product is largest.

    Attributes:
        longest_mm: between two voxel centres.
        perpendicular_mm: the longest at a right angle to it.
    """

    longest_mm: float
    perpendicular_mm: float

    @property
    def product_mm2(self) -> float:
        """Of the two."""
        return self.longest_mm * self.perpendicular_mm


def response(
    earlier: float, later: float, criterion: Criterion, *, minor: bool, there: tuple[bool, bool] | None = None
) -> str:
    """What a change of size is called.

    Args:
        earlier, later: sums of products in mm², or volumes in mL.
        criterion: :data:`PRODUCTS` or :data:`VOLUMES`.
        minor: whether there is a minor response, as in tumours that do not enhance; else that is stable.
        there: whether anything of it was there earlier, and is there later, be it too small to be measured; by default
            what has a size. A lesion of which one size is not known has not gone, nor grown from nothing.
    """
    known = earlier > 0, later > 0
    if max(earlier, later) < criterion.least or (there or known) != known:
        return UNMEASURABLE
    if later == 0:
        return COMPLETE
    change = round(later / earlier - 1, 9) if earlier else math.inf
    if change >= criterion.progressive:
        return PROGRESSIVE
    if change <= criterion.partial:
        return PARTIAL
    return MINOR if minor and change <= criterion.minor else STABLE


def responses(
    sizes: Sequence[float], criterion: Criterion, *, minor: bool, there: Sequence[bool], whole: Sequence[bool]
) -> list[str]:
    """What a change of size is called at each of several points in time but the first.

    Growth is since the smallest size before, as RANO has progression; a decrease is since the first size. What is too
    small to be measured, or not shown as a whole, is no size to compare with.

    Args:
        sizes: sums of products in mm², or volumes in mL, in the order of time.
        criterion, minor: as in :func:`response`.
        there: whether anything of it is there, one a size.
        whole: whether all of it is shown, one a size.
    """
    known = [all_of_it and (size > 0) == some for size, some, all_of_it in zip(sizes, there, whole, strict=True)]
    called = []
    for number, size in enumerate(sizes[1:], start=1):
        before = [sizes[each] for each in range(number) if known[each]]
        if not known[number] or not before:
            called.append(UNMEASURABLE)
        elif response(min(before), size, criterion, minor=minor) == PROGRESSIVE:
            called.append(PROGRESSIVE)
        else:
            called.append(response(sizes[0], size, criterion, minor=minor) if known[0] else UNMEASURABLE)
    return called


def sum_of_products(mask: np.ndarray, spacing: Sequence[float]) -> float:
    """Sum over all measurable lesions in mm²; a reader would take the largest ones.

    Args:
        mask: bool ``(Z, Y, X)``, axial slices.
        spacing: voxel size ``(z, y, x)`` in mm.
    """
    least = LEAST_MM if spacing[0] <= _THICK_MM else 2 * spacing[0]
    return sum(d.product_mm2 for d in diameters(mask, spacing) if d.perpendicular_mm >= least)


def diameters(mask: np.ndarray, spacing: Sequence[float]) -> Iterator[Diameters]:
    """Those of each lesion (26 neighbours); of one that shows in a single slice nothing is measured.

    Args:
        mask: bool ``(Z, Y, X)``, axial slices.
        spacing: voxel size ``(z, y, x)`` in mm.
    """
    from scipy import ndimage

    pieces, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        lesion = pieces[box] == number
        if len(lesion) > 1:
            yield max((_in_slice(level, spacing[1:]) for level in lesion), key=lambda found: found.product_mm2)


def _in_slice(mask: np.ndarray, spacing: Sequence[float]) -> Diameters:
    """Of a mask ``(Y, X)``. What is hollow is measured across: a ring encloses what belongs to it."""
    from scipy.spatial.distance import cdist

    points = _outline(mask) * np.asarray(spacing)
    if len(points) < 2:
        return Diameters(0.0, 0.0)
    apart = cdist(points, points)
    first, last = np.unravel_index(int(apart.argmax()), apart.shape)
    longest = float(apart[first, last])
    along = (points[last] - points[first]) / longest
    # Lines at a right angle to it, as far apart as voxels; of each the ends that lie farthest from each other.
    place, across = points @ along, points @ np.array([-along[1], along[0]])
    line = np.rint((place - place.min()) / max(spacing)).astype(int)
    top, bottom = np.full(line.max() + 1, -np.inf), np.full(line.max() + 1, np.inf)
    np.maximum.at(top, line, across)
    np.minimum.at(bottom, line, across)
    return Diameters(longest, float(max((top - bottom).max(), 0.0)))


def _outline(mask: np.ndarray) -> np.ndarray:
    """Indices of the first and last voxel of each row and column ``(N, 2)``: no others can be ends of a diameter."""
    ends = np.zeros(mask.shape, dtype=bool)
    for axis in (0, 1):
        lines = np.flatnonzero(mask.any(axis=1 - axis))
        for flipped in (False, True):
            view, marks = (np.flip(each, 1 - axis) if flipped else each for each in (mask, ends))
            first = view.argmax(axis=1 - axis)[lines]
            marks[(lines, first) if axis == 0 else (first, lines)] = True
    return np.argwhere(ends)
