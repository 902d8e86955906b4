"""Heads, brains and parts of them."""

from __future__ import annotations

import numpy as np
import pytest

from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.quality import Examined, check_input
from BrainTumorSegLib.quality.skull_stripping import check

MM = 4.0


def ball(shape_mm: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    """An ellipsoid of 1.4 litres or so in a box of that size, voxels of 4 mm."""
    shape = [round(size / MM) for size in shape_mm]
    index = np.moveaxis(np.indices(shape), 0, -1) - (np.array(shape) - 1) / 2
    return np.asarray(np.linalg.norm(index * MM / radius_mm, axis=-1) < 1, dtype=np.int16) * 300


def examined(image: np.ndarray, brain: str = "extracted", step: float = MM) -> Examined:
    volume = Volume(image, np.diag([-step, -step, step, 1]), "image")
    return Examined(volume, image[None].astype(np.float32), ("t1",), (step, step, step), "LPS", brain)


def test_a_brain_is_a_brain() -> None:
    assert check(examined(ball((160, 240, 240), 70))) == []
    assert check(examined(ball((140, 140, 140), 70))) == [], "cropped to its box"


def test_a_head_is_reported_by_its_size_or_by_the_air_around_it() -> None:
    assert "skull-stripped" in check(examined(ball((240, 240, 240), 100)))[0]
    noise = np.random.default_rng(0).integers(1, 9, (40, 60, 60)).astype(np.int16)
    assert "skull-stripped" in check(examined(noise))[0]
    slab = np.random.default_rng(0).integers(1, 9, (5, 60, 60)).astype(np.int16)
    assert "skull-stripped" in check(examined(slab))[0]


@pytest.mark.parametrize(
    "part",
    [
        (slice(15, 25), slice(None), slice(None)),  # a slab of axial slices
        (slice(None), slice(None), slice(30, None)),  # one half
        (slice(15, 25), slice(25, 35), slice(25, 35)),  # a box inside the brain
    ],
)
def test_a_part_of_a_brain_is_called_that_and_nothing_worse(part: tuple[slice, ...]) -> None:
    (found,) = check_input(examined(ball((160, 240, 240), 70)[part]))
    assert "part of a brain" in found


def test_a_brain_far_too_small_is_one_of_wrong_voxel_sizes() -> None:
    """A brain of half the size in each direction, as when every second voxel was left out and the header stayed."""
    (found,) = check(examined(ball((120, 120, 120), 35)))
    assert "voxel size" in found


@pytest.mark.parametrize("shape", [(160, 240, 240), (140, 140, 140)])
def test_voxel_sizes_in_centimetres_are_said(shape: tuple[int, int, int]) -> None:
    (found,) = check(examined(ball(shape, 70), step=MM / 10))
    assert "voxel size" in found


def test_models_of_heads_are_not_asked() -> None:
    assert check_input(examined(ball((240, 240, 240), 100), "head")) == []
