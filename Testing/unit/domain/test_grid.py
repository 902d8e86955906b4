from __future__ import annotations

import itertools

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from BrainTumorSegLib.domain.errors import GeometryError
from BrainTumorSegLib.domain.grid import Grid, check_overlap, reorient, same_grid
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.preprocessing.resampling import resample

SHAPE = (5, 6, 7)  # (z, y, x)
ORIENTATIONS = [
    "".join(axes) for pairs in itertools.permutations(("LR", "PA", "SI")) for axes in itertools.product(*pairs)
]
SHEARED = np.array([[1.0, 0.2, 0, 5], [0, 1.1, 0.1, -6], [0, 0, 2, 7], [0, 0, 0, 1]])


def rotation(degrees: float, axis: int) -> np.ndarray:
    angle = np.deg2rad(degrees)
    first, second = [other for other in range(3) if other != axis]
    matrix = np.eye(3)
    matrix[first, first] = matrix[second, second] = np.cos(angle)
    matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
    return matrix


def affine_of(
    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0),
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    turned: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """Voxel size and origin in (x, y, z)."""
    affine = np.eye(4)
    affine[:3, :3] = rotation(turned[0], 2) @ rotation(turned[1], 0) * spacing
    affine[:3, 3] = origin
    return affine


OBLIQUE = affine_of((0.8, 1.2, 3.0), (-50.5, 20.25, 99.125), (20, -12))


def world(grid: Grid) -> np.ndarray:
    """RAS millimetres of every voxel centre, shape (z, y, x, 3)."""
    z, y, x = np.indices(grid.shape)
    return np.stack([x, y, z], -1) @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def test_there_are_48_orientations() -> None:
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("affine", [np.diag([2.0, 3, 4, 1]), OBLIQUE, SHEARED], ids=["plain", "oblique", "sheared"])
@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_reorienting_moves_no_voxel_in_space(codes: str, affine: np.ndarray) -> None:
    grid = Grid(SHAPE, affine)
    array = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    moved, target = reorient(array, affine, codes), grid.oriented(codes)
    assert moved.shape == target.shape
    assert "".join(nibabel.aff2axcodes(target.affine)) == codes
    places = dict(zip(moved.ravel().tolist(), world(target).reshape(-1, 3), strict=True))
    expected = dict(zip(array.ravel().tolist(), world(grid).reshape(-1, 3), strict=True))
    for value, place in expected.items():
        np.testing.assert_allclose(places[value], place, atol=1e-4)
    back = reorient(moved, target.affine, "".join(nibabel.aff2axcodes(affine)))
    np.testing.assert_array_equal(back, array)
    np.testing.assert_allclose(target.oriented("".join(nibabel.aff2axcodes(affine))).affine, affine, atol=1e-4)


@pytest.mark.parametrize("codes", ["LPS", "SAR", "PIL"])
def test_reorienting_agrees_with_nibabel(codes: str) -> None:
    array = np.random.default_rng(0).integers(0, 99, SHAPE).astype(np.int16)
    image = nibabel.Nifti1Image(array.transpose(), OBLIQUE)
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(OBLIQUE), nibabel.orientations.axcodes2ornt(tuple(codes))
    )
    expected = image.as_reoriented(turn)
    np.testing.assert_array_equal(reorient(array, OBLIQUE, codes), np.asarray(expected.dataobj).transpose())
    np.testing.assert_allclose(Grid(SHAPE, OBLIQUE).oriented(codes).affine, expected.affine, atol=1e-9)


def test_leading_axes_stay() -> None:
    array = np.random.default_rng(0).random((2, *SHAPE))
    moved = reorient(array, OBLIQUE, "SAR")
    for channel in range(2):
        np.testing.assert_array_equal(moved[channel], reorient(array[channel], OBLIQUE, "SAR"))


def test_same_grid() -> None:
    grid = Grid(SHAPE, OBLIQUE)
    assert same_grid(grid, Grid(SHAPE, OBLIQUE.astype(np.float32).astype(np.float64)))
    shifted, stretched = OBLIQUE.copy(), OBLIQUE.copy()
    shifted[0, 3] += 0.01
    stretched[:3, 0] *= 1.001
    assert not same_grid(grid, Grid(SHAPE, shifted))
    assert not same_grid(grid, Grid(SHAPE, stretched))  # small at the origin, 6 µm at the far corner
    assert not same_grid(grid, Grid((5, 6, 8), OBLIQUE))
    assert not same_grid(grid, grid.oriented("SAR"))


def test_spacing_by_hand() -> None:
    """10 voxels of 1 mm become 5 of 2 mm over the same 10 mm: the first centre moves from 0 to 0.5."""
    grid = Grid((10, 10, 10), np.eye(4)).with_spacing((2.0, 1.0, 0.5))
    assert grid.shape == (5, 10, 20)
    assert grid.spacing == (2.0, 1.0, 0.5)
    np.testing.assert_allclose(grid.affine[:3, 3], [-0.25, 0, 0.5])
    assert Grid((10, 10, 10), np.eye(4)).with_spacing((1.005, 1, 1)).spacing == (1, 1, 1)
    assert Grid((1, 1, 1), np.eye(4)).with_spacing((4, 4, 4)).shape == (1, 1, 1)


@pytest.mark.parametrize("affine", [OBLIQUE, SHEARED], ids=["oblique", "sheared"])
def test_another_spacing_covers_the_same_space(affine: np.ndarray) -> None:
    grid = Grid((8, 12, 16), affine)
    half = grid.with_spacing(tuple(step / 2 for step in grid.spacing))
    assert half.shape == (16, 24, 32)
    np.testing.assert_allclose(half.corners(), grid.corners(), atol=1e-9)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (Grid((20, 24, 28), affine_of()), Grid((14, 15, 16), affine_of((1.0, 1.0, 1.0), (5.3, 4.6, 3.2)))),
        (Grid((20, 24, 28), affine_of()), Grid((9, 10, 11), affine_of((0.7, 0.8, 0.9), (8, 7, 5), (15, 10)))),
        (Grid((12, 40, 40), affine_of((0.6, 0.6, 2.5))), Grid((10, 10, 10), affine_of((1, 1, 1), (5, 6, 9)))),
        (Grid((20, 24, 28), OBLIQUE), Grid((10, 9, 8), OBLIQUE @ affine_of((1.1, 0.9, 0.5), (4, 5, 6)))),
        (Grid((20, 24, 28), SHEARED), Grid((10, 9, 8), SHEARED @ affine_of((1, 1, 1), (9, 8, 5), (10, 0)))),
    ],
    ids=["shifted", "turned", "anisotropic", "oblique", "sheared"],
)
def test_resampling_reproduces_a_ramp_in_space(source: Grid, target: Grid) -> None:
    """Linear interpolation (and smoothing) keep an intensity that is linear in millimetres."""
    slope = np.array([1.5, -2.25, 0.75])
    ramp = (world(source) @ slope + 100).astype(np.float32)
    result = resample(ramp, source, target)
    assert result.shape == target.shape and result.dtype == np.float32
    np.testing.assert_allclose(result, world(target) @ slope + 100, atol=2e-2)


def test_resampling_agrees_with_scipy() -> None:
    source, target = (
        Grid((12, 14, 16), affine_of()),
        Grid((13, 11, 12), affine_of((0.9, 1, 1), (1.3, 1.7, 1.1), (9, 7))),
    )
    image = np.random.default_rng(3).normal(size=source.shape).astype(np.float32)
    index = (world(target) @ np.linalg.inv(source.affine)[:3, :3].T)[..., ::-1].transpose(3, 0, 1, 2)
    inside = np.all([(axis >= 0) & (axis <= n - 1) for axis, n in zip(index, source.shape, strict=True)], axis=0)
    assert inside.mean() > 0.5
    for nearest in (False, True):
        expected = ndimage.map_coordinates(image, index, order=0 if nearest else 1)
        result = resample(image, source, target, nearest=nearest)
        # Where a point lies half-way between voxels the two may choose either.
        clear = inside & (np.abs(index - np.floor(index) - 0.5).min(axis=0) > 1e-3)
        np.testing.assert_allclose(result[clear], expected[clear], atol=1e-4)


def test_outside_is_zero_and_labels_keep_their_type() -> None:
    source, target = Grid(SHAPE, np.eye(4)), Grid(SHAPE, affine_of(origin=(3.0, 0, 0)))
    for dtype in (np.uint8, np.int16, bool):
        result = resample(np.ones(SHAPE, dtype), source, target, nearest=True)
        assert result.dtype == dtype
        assert result[..., :4].all() and not result[..., 4:].any()
    assert resample(np.ones(SHAPE, np.uint8), source, target).dtype == np.float32


def test_nearest_invents_no_label() -> None:
    labels = np.random.default_rng(0).choice([0, 1, 4], SHAPE).astype(np.uint8)
    result = resample(
        labels, Grid(SHAPE, np.eye(4)), Grid((9, 9, 9), affine_of((0.7, 0.6, 0.5), (0.2, 0, 0))), nearest=True
    )
    assert set(np.unique(result)) <= {0, 1, 4}


def test_an_identical_grid_returns_the_array_itself() -> None:
    array = np.ones(SHAPE)
    assert resample(array, Grid(SHAPE, OBLIQUE), Grid(SHAPE, OBLIQUE)) is array


def test_a_finer_image_is_smoothed_first() -> None:
    """Stripes of one voxel are 0.5 on a grid four times as coarse, not 0 or 1 by chance."""
    source = Grid((8, 8, 64), np.eye(4))
    stripes = np.broadcast_to(np.arange(64) % 2, source.shape).astype(np.float32)
    result = resample(stripes, source, source.with_spacing((1, 1, 4)))
    np.testing.assert_allclose(result[:, :, 2:-2], 0.5, atol=0.02)


@pytest.mark.parametrize(
    ("origin", "overlap"),
    [((0, 0, 0), True), ((9.0, 0, 0), True), ((9.9, 0, 0), False), ((10, 0, 0), False), ((500, 0, 0), False)],
)
def test_images_must_overlap(origin: tuple[float, float, float], overlap: bool) -> None:
    first = Volume(np.ones((10, 10, 10)), np.eye(4), "a_t1.nii")
    second = Volume(np.ones((10, 10, 10)), affine_of(origin=origin), "a_t2.nii")
    if overlap:
        check_overlap(first, second)
        return
    with pytest.raises(GeometryError, match="do not overlap") as caught:
        check_overlap(first, second)
    assert "a_t1.nii" in str(caught.value) and "a_t2.nii" in str(caught.value) and caught.value.remedy


def test_a_small_image_inside_a_large_one_overlaps() -> None:
    large = Volume(np.ones((50, 50, 50)), np.eye(4))
    small = Volume(np.ones((5, 5, 5)), affine_of(origin=(20, 20, 20)))
    check_overlap(small, large)
    check_overlap(large, small)
