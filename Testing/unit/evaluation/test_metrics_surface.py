"""Surface distances by hand, on grids where they can be counted."""

from __future__ import annotations

import math

import numpy as np
import pytest

from BrainTumorSegLib.domain.errors import GeometryError
from BrainTumorSegLib.evaluation.metrics import surfel_distances, voxel_surface_distances
from BrainTumorSegLib.evaluation.metrics.surfel import neighbour_codes, surfel_areas

SHAPE = (9, 10, 11)


def mask(*boxes: tuple[slice, slice, slice]) -> np.ndarray:
    array = np.zeros(SHAPE, bool)
    for box in boxes:
        array[box] = True
    return array


def test_two_voxels_in_array_order() -> None:
    """2 steps along z, 3 along y, 6 along x of 3, 2 and 0.5 mm: √(6² + 6² + 3²) = 9."""
    first, second = mask(np.s_[1:2, 1:2, 1:2]), mask(np.s_[3:4, 4:5, 7:8])
    found = voxel_surface_distances(first, second, (3, 2, 0.5))
    assert found.hd == found.assd == found.masd == 9
    assert [found.hd95(definition) for definition in ("directed", "pooled", "surfel")] == [9, 9, 9]
    # Surfels of a voxel are its eight corners; each is nearest to one that is a step less away along every axis.
    assert surfel_distances(first, second, (3, 2, 0.5)).to_reference.min() == math.hypot(3, 4, 2.5)


def test_a_box_and_a_longer_one() -> None:
    """A 1×1×4 row against the same with 4 more voxels: 0 from the short one; 0, 0, 0, 0, 1, 2, 3, 4 back."""
    short, long = mask(np.s_[4:5, 4:5, 1:5]), mask(np.s_[4:5, 4:5, 1:9])
    found = voxel_surface_distances(short, long, (1, 1, 1))
    assert found.to_reference.tolist() == [0, 0, 0, 0]
    assert found.to_prediction.tolist() == [0, 0, 0, 0, 1, 2, 3, 4]
    assert found.hd == 4
    assert found.hd95("directed") == pytest.approx(3 + 0.65)  # 0.95 · 7 = 6.65 of the way from first to last
    assert found.hd95("pooled") == pytest.approx(3 + 0.45)  # 0.95 · 11 = 10.45
    assert found.assd == pytest.approx(10 / 12)
    assert found.masd == pytest.approx((0 + 10 / 8) / 2)
    assert found.surface_dice(0) == pytest.approx(8 / 12)
    assert found.surface_dice(2) == pytest.approx(10 / 12)


def test_only_the_outside_of_a_solid_is_surface_and_the_edge_of_the_grid_is_outside() -> None:
    inner = voxel_surface_distances(mask(np.s_[2:7, 2:7, 2:7]), mask(np.s_[2:7, 2:7, 2:7]), (1, 1, 1))
    assert inner.to_reference.size == 5**3 - 3**3
    whole = voxel_surface_distances(np.ones((4, 4, 4), bool), np.ones((4, 4, 4), bool), (1, 1, 1))
    assert whole.to_reference.size == 4**3 - 2**3


def test_a_tolerance_of_whole_steps_is_met_exactly() -> None:
    """2 × 1.1 mm is within 2.2 mm, wherever on the grid, though 1.1 · 7 − 1.1 · 5 is not in binary numbers."""
    for start in range(8):
        first, second = mask(np.s_[4:5, 4:5, start : start + 1]), mask(np.s_[4:5, 4:5, start + 2 : start + 3])
        assert voxel_surface_distances(first, second, (1.1, 1.1, 1.1)).surface_dice(2.2) == 1


def test_cropping_changes_nothing() -> None:
    generator = np.random.default_rng(3)
    first, second = np.zeros((2, 40, 40, 40), bool)
    first[20:26, 20:26, 20:26], second[20:26, 20:26, 20:26] = generator.random((2, 6, 6, 6)) > 0.5
    for distances in (voxel_surface_distances, surfel_distances):
        large = distances(first, second, (1, 2, 3))
        small = distances(first[20:26, 20:26, 20:26], second[20:26, 20:26, 20:26], (1, 2, 3))
        assert np.array_equal(large.to_reference, small.to_reference)
        assert np.array_equal(large.reference_area, small.reference_area)


def test_area_of_simple_states() -> None:
    z, y, x = 2.0, 3.0, 5.0
    areas = surfel_areas((z, y, x))
    assert areas[0] == areas[255] == 0
    corner = math.hypot(y * x, z * x, z * y) / 8  # triangle through the middles of three edges
    assert areas[1] == areas[128] == areas[254] == pytest.approx(corner)
    assert areas[0b1111] == pytest.approx(y * x)  # the lower half along z is inside: a cut across the cell
    assert areas[0b01010101] == pytest.approx(z * y)
    assert np.allclose(areas, areas[::-1])  # a state and its complement have one surface


def test_area_of_a_box_lacks_its_bevelled_edges() -> None:
    """Marching cubes bevels a box of n voxels a side: faces of (n−1)², 12 edges of (n−1)·√½, 8 corners of √3/8."""
    codes = neighbour_codes(mask(np.s_[2:7, 2:7, 2:7]))
    expected = 6 * 16 + 12 * 4 * math.sqrt(0.5) + 8 * math.sqrt(3) / 8
    assert surfel_areas((1, 1, 1))[codes].sum() == pytest.approx(expected)


@pytest.mark.parametrize("distances", [voxel_surface_distances, surfel_distances])
def test_what_has_no_distance(distances) -> None:
    full, empty = np.ones((3, 3, 3), bool), np.zeros((3, 3, 3), bool)
    for arguments, words in (
        ((full, empty, (1, 1, 1)), "empty"),
        ((empty, full, (1, 1, 1)), "empty"),
        ((full, full[:2], (1, 1, 1)), "shapes"),
        ((full, full, (1, 1)), "2 spacings"),
        ((full, full, (1, 0, 1)), "spacing"),
        ((full, full, (1, math.nan, 1)), "spacing"),
    ):
        with pytest.raises(GeometryError, match=words):
            distances(*arguments)
