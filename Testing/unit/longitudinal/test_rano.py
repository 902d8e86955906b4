"""Diameters and what a change of size is called, by figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from BrainTumorSegLib.longitudinal.rano import (
    COMPLETE,
    MINOR,
    PARTIAL,
    PRODUCTS,
    PROGRESSIVE,
    STABLE,
    UNMEASURABLE,
    VOLUMES,
    Criterion,
    Diameters,
    diameters,
    response,
    responses,
    sum_of_products,
)


def ellipse(half: tuple[float, float], degrees: float = 0.0, size: int = 61) -> np.ndarray:
    """Half axes in voxels, the first along x before the turn, ``(Y, X)``."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    angle = np.radians(degrees)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return np.asarray((along / half[0]) ** 2 + (across / half[1]) ** 2 <= 1)


def stack(*slices: np.ndarray) -> np.ndarray:
    return np.stack(slices)


@pytest.mark.parametrize("degrees", [0, 30, 45, 90])
def test_diameters_of_an_ellipse_are_its_axes(degrees: float) -> None:
    (found,) = diameters(stack(*[ellipse((20, 9), degrees)] * 3), (1, 0.5, 0.5))
    assert found.longest_mm == pytest.approx(20, abs=0.6) and found.perpendicular_mm == pytest.approx(9, abs=0.6)


def test_the_slice_with_the_largest_product_counts_not_that_of_the_longest_diameter() -> None:
    long_and_thin, round_one = ellipse((25, 2)), ellipse((15, 15))
    (found,) = diameters(stack(long_and_thin, round_one, long_and_thin), (1, 1, 1))
    assert found == Diameters(30.0, 30.0)


def test_a_ring_is_measured_across() -> None:
    ring = ellipse((15, 15)) & ~ellipse((12, 12))
    (found,) = diameters(stack(ring, ring), (1, 1, 1))
    assert found.product_mm2 == pytest.approx(900, rel=0.02)


def test_the_sum_is_that_of_measurable_lesions() -> None:
    """Two of 20 × 20 and 12 × 10 mm count; not what shows in one slice, nor what is 8 mm wide."""
    mask = np.zeros((3, 61, 140), bool)
    mask[:, :, :61] = ellipse((10, 10))
    mask[:2, 25:36, 80:93] = True  # 10 and 12 mm between the centres of its outer voxels
    mask[1, 45:58, 80:93] = True
    mask[:, 5:14, 110:130] = True
    by_hand = 20 * 20 + np.hypot(10, 12) * found_across(11, 13)
    assert sum_of_products(mask, (1, 1, 1)) == pytest.approx(by_hand, rel=0.02)


def found_across(rows: int, columns: int) -> float:
    """Of a rectangle of voxels: the longest line at a right angle to its diagonal, between two of its sides."""
    a, b = rows - 1, columns - 1
    return min(a, b) * np.hypot(a, b) / max(a, b)


def test_thick_slices_ask_for_larger_lesions() -> None:
    disc = stack(*[ellipse((6, 6))] * 2)  # 12 mm
    assert sum_of_products(disc, (5, 1, 1)) == pytest.approx(144) and sum_of_products(disc, (7, 1, 1)) == 0


@pytest.mark.parametrize(
    ("criterion", "earlier", "later", "minor", "expected"),
    [
        (PRODUCTS, 400, 500, False, PROGRESSIVE),
        (PRODUCTS, 400, 499, False, STABLE),
        (PRODUCTS, 400, 201, False, STABLE),
        (PRODUCTS, 400, 201, True, MINOR),
        (PRODUCTS, 400, 301, True, STABLE),
        (PRODUCTS, 400, 200, False, PARTIAL),
        (PRODUCTS, 400, 0, False, COMPLETE),
        (PRODUCTS, 0, 400, False, PROGRESSIVE),
        (PRODUCTS, 0, 0, False, UNMEASURABLE),
        (VOLUMES, 10, 14, True, PROGRESSIVE),
        (VOLUMES, 10, 13.9, True, STABLE),
        (VOLUMES, 10, 6, True, MINOR),
        (VOLUMES, 10, 6, False, STABLE),
        (VOLUMES, 10, 3.5, True, PARTIAL),
        (VOLUMES, 1.2, 0.4, False, PARTIAL),
        (VOLUMES, 0.9, 0.1, True, UNMEASURABLE),
    ],
)
def test_changes_are_called_by_the_thresholds_of_rano(
    criterion: Criterion, earlier: float, later: float, minor: bool, expected: str
) -> None:
    assert response(earlier, later, criterion, minor=minor) == expected


@pytest.mark.parametrize(
    ("sizes", "there", "expected"),
    [
        ((400, 0), (True, True), UNMEASURABLE),  # a rest that is too small to be measured has not gone
        ((400, 0), (True, False), COMPLETE),
        ((0, 400), (True, True), UNMEASURABLE),
        ((0, 400), (False, True), PROGRESSIVE),
        ((400, 200), (True, True), PARTIAL),
    ],
)
def test_what_is_too_small_to_be_measured_is_not_nothing(
    sizes: tuple[float, float], there: tuple[bool, bool], expected: str
) -> None:
    assert response(*sizes, PRODUCTS, minor=False, there=there) == expected


@pytest.mark.parametrize(
    ("volumes", "called"),
    [
        # From 20 mL to 8 is −60 %, to 6 −70 % (a partial response begins at −65 %); 9 is +50 % of 6, if −55 % of 20.
        ([20, 8, 6, 9], [STABLE, PARTIAL, PROGRESSIVE]),
        ([20, 0, 2], [COMPLETE, PROGRESSIVE]),
        ([10, 13, 14], [STABLE, PROGRESSIVE]),
        ([0, 0, 3], [UNMEASURABLE, PROGRESSIVE]),
    ],
)
def test_growth_is_since_the_smallest_and_a_decrease_since_the_first(volumes: list[float], called: list[str]) -> None:
    there, whole = [volume > 0 for volume in volumes], [True] * len(volumes)
    assert responses(volumes, VOLUMES, minor=False, there=there, whole=whole) == called


def test_what_is_not_shown_as_a_whole_or_too_small_is_compared_with_nothing() -> None:
    volumes, there = [20.0, 2.0, 20.0], [True] * 3
    assert responses(volumes, VOLUMES, minor=False, there=there, whole=[True, False, True]) == [UNMEASURABLE, STABLE]
    products = [0.0, 400.0, 450.0]  # there from the first on, and too small for diameters then
    assert responses(products, PRODUCTS, minor=False, there=there, whole=[True] * 3) == [UNMEASURABLE] * 2
    assert responses(products, PRODUCTS, minor=False, there=[False, True, True], whole=[True] * 3) == [PROGRESSIVE] * 2
