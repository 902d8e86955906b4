"""Properties of what reads images: any bytes are read or refused in our own words; what is written is read the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from BrainTumorSegLib.domain.errors import GeometryError, RequestError
from BrainTumorSegLib.domain.grid import Grid, axis_codes, reorient, same_grid
from BrainTumorSegLib.domain.labels import read_labels, write_labels
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import read_volume, write_volume
from Testing.fuzz import images
from Testing.unit.domain.test_grid import ORIENTATIONS, affine_of

# The same examples at every run.
some = settings(max_examples=60, deadline=None, derandomize=True, database=None)

KINDS = ("u1", "i2", "u2", "i4", "f4", "f8")
lengths = st.floats(0.05, 20)
places = st.floats(-1e3, 1e3)
turns = st.tuples(st.floats(-90, 90), st.floats(-90, 90))
shapes = st.tuples(*[st.integers(1, 6)] * 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("images")


@some
@given(
    st.binary(max_size=800),
    st.sampled_from([b"", b"NRRD0004\n", b"ObjectType = Image\n", b"\x5c\x01\0\0", b"\x1f\x8b"]),
)
def test_any_bytes(folder: Path, content: bytes, beginning: bytes) -> None:
    path = folder / "any.nii.gz"
    path.write_bytes(beginning + content)
    try:
        images.read(path)
    except RequestError as error:
        assert str(error) and error.remedy


@some
@given(
    st.sampled_from([".nii", ".nii.gz", ".mha", ".nrrd"]), st.sampled_from(KINDS), shapes,
    st.tuples(lengths, lengths, lengths), st.tuples(places, places, places), turns, st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_voxels_and_place_come_back(
    folder: Path, suffix: str, kind: str, shape: tuple[int, int, int], spacing: tuple[float, float, float],
    origin: tuple[float, float, float], turned: tuple[float, float], seed: int,
) -> None:  # fmt: skip
    voxels = np.random.default_rng(seed).integers(0, 200, shape).astype(kind)
    volume = Volume(voxels, affine_of(spacing, origin, turned))
    write_volume(volume, folder / f"back{suffix}")
    back = read_volume(folder / f"back{suffix}")
    assert back.array.dtype == voxels.dtype
    np.testing.assert_array_equal(back.array, voxels)
    assert same_grid(Grid.of(back), Grid.of(volume))


@some
@given(shapes, st.sampled_from(ORIENTATIONS), turns)
def test_a_grid_turned_and_turned_back_is_the_same(
    shape: tuple[int, int, int], codes: str, turned: tuple[float, float]
) -> None:
    grid = Grid(shape, affine_of((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), turned))
    voxels = np.arange(np.prod(shape)).reshape(shape)
    other = grid.oriented(codes)
    assert other.shape == reorient(voxels, grid.affine, codes).shape
    own = axis_codes(grid.affine)
    assert same_grid(other.oriented(own), grid)
    np.testing.assert_array_equal(reorient(reorient(voxels, grid.affine, codes), other.affine, own), voxels)


@some
@given(st.sampled_from(["brats2023", "brats2021"]), st.lists(st.integers(0, 3), min_size=1, max_size=60))
def test_labels_written_in_a_convention_are_read_in_it(convention: str, values: list[int]) -> None:
    labels = np.array(values, np.uint8).reshape(1, 1, -1)
    np.testing.assert_array_equal(read_labels(write_labels(labels, convention), convention, "labels"), labels)


@some
@given(st.lists(st.floats() | st.integers(-5, 300), min_size=1, max_size=30))
def test_any_values_are_labels_or_refused(values: list[float]) -> None:
    array = np.array(values, np.float64).reshape(1, 1, -1)
    try:
        found = read_labels(array, "auto", "labels")
    except RequestError:
        return
    assert set(np.unique(found)) <= {0, 1, 2, 3}


@some
@given(st.lists(st.floats(), min_size=12, max_size=12))
def test_an_affine_is_usable_or_refused(numbers: list[float]) -> None:
    affine = np.vstack([np.reshape(numbers, (3, 4)), [0, 0, 0, 1]])
    with np.errstate(all="ignore"):
        try:
            volume = Volume(np.ones((2, 2, 2)), affine)
        except GeometryError:
            return
        assert volume.voxel_volume > 0 and len(set(volume.orientation)) == 3


@pytest.mark.parametrize("suffix", images.SUFFIXES)
def test_what_the_campaign_begins_with_is_sound(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t1{suffix}"
    path.write_bytes(images.sound(suffix, np.random.default_rng(0), tmp_path))
    images.read(path)


@pytest.mark.parametrize("number", range(150))
def test_files_of_the_campaign(tmp_path: Path, number: int) -> None:
    """The first ones, in this process; thousands by ``python -m Testing.fuzz.campaign images``."""
    sample = images.make((1, number), tmp_path)
    try:
        images.read(sample.path)
    except RequestError as error:
        assert str(error) and error.remedy
    finally:
        shutil.rmtree(tmp_path, ignore_errors=True)
