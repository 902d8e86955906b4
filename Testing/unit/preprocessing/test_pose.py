"""How a head is held, and what the network sees of a tilted one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.grid import Grid
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import write_volume
from BrainTumorSegLib.models.description import PreprocessingSpec
from BrainTumorSegLib.preprocessing import align_case, prepare
from BrainTumorSegLib.preprocessing.pose import atlas, pose_of
from BrainTumorSegLib.preprocessing.resampling import onto
from Testing.raw_scans import motion

UPRIGHT, TILTED = (2.0, -4.0, 3.0), (25.0, -6.0, 10.0)
FAR = (62.0, -6.0, 10.0)  # the scanner's axes nearest to those of the head are others than their names say


def held(degrees: tuple[float, float, float]) -> tuple[Volume, np.ndarray]:
    """The average brain in another contrast, tilted within a straight grid of 3 mm, and the motion that did it."""
    mean, moved = atlas(), motion(degrees)
    low, high = (pick(Grid(mean.shape, moved @ mean.affine).corners(), axis=0) for pick in (np.min, np.max))
    affine = np.diag([-3.0, -3.0, 3.0, 1])
    affine[:3, 3] = high[0], high[1], low[2]
    x, y, z = (int(n) for n in np.ceil((high - low) / 3))
    values = onto(mean.array.astype(np.float32), Grid(mean.shape, moved @ mean.affine), Grid((z, y, x), affine))
    return Volume(np.where(values > 40, 250 - values, 0).astype(np.float32), affine, "tilted"), moved


def angle_between(one: np.ndarray, other: np.ndarray) -> float:
    """Degrees between the axes of two grids."""
    turn = (one[:3, :3] / np.linalg.norm(one[:3, :3], axis=0)).T @ (
        other[:3, :3] / np.linalg.norm(other[:3, :3], axis=0)
    )
    return float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))


@pytest.mark.parametrize(("degrees", "tilted"), [(UPRIGHT, False), (TILTED, True)])
def test_a_tilt_is_found(degrees: tuple[float, float, float], tilted: bool) -> None:
    image, moved = held(degrees)
    pose = pose_of(image, image.array > 0)
    assert pose.tilted is tilted
    assert pose.tilt_deg == pytest.approx(angle_between(np.eye(4), moved), abs=2)
    assert angle_between(pose.grid.affine, moved @ atlas().affine) < 2
    # All of the brain lies on it.
    inside = onto((image.array > 0).astype(np.float32), Grid.of(image), pose.grid)
    assert inside.sum() == pytest.approx(np.count_nonzero(image.array) * 27, rel=0.01)


@pytest.mark.parametrize("degrees", [TILTED, FAR])
def test_the_network_sees_a_tilted_head_upright_and_its_result_lies_on_the_scan(
    degrees: tuple[float, float, float], tmp_path: Path
) -> None:
    image, moved = held(degrees)
    write_volume(image.with_array((image.array > 0).astype(np.uint8)), tmp_path / "mask.nii.gz")
    aligned = align_case(Case("tilted", {"t1ce": image}), RunOptions(brain_mask=tmp_path / "mask.nii.gz"))
    assert aligned.pose is not None and f"tilted by {aligned.pose.tilt_deg:.0f}°" in " ".join(aligned.record)
    assert set(aligned.as_record().moves) == {"atlas"}
    prepared = prepare(aligned.case, ("t1ce",), PreprocessingSpec(), aligned.grid)
    assert angle_between(prepared.grid.affine, moved @ atlas().affine) < 3
    seen = prepared.array[0] != 0
    own = Grid.of(Volume(seen, prepared.grid.affine)).cropped(prepared.box)
    upright = Grid(atlas().shape, moved @ atlas().affine)
    wanted = onto((atlas().array > 40).astype(np.float32), upright, own) > 0.5
    assert 2 * (seen & wanted).sum() / (seen.sum() + wanted.sum()) > 0.93  # linear interpolation widens what is seen
    brain = image.array > 0
    share = onto(brain.astype(np.float32), Grid.of(image), prepared.grid)[prepared.box]
    back = prepared.restore(share) > 0.5
    assert back.shape == brain.shape
    assert 2 * (back & brain).sum() / (back.sum() + brain.sum()) > 0.97
