"""Raw scans of a synthetic patient that tests share, with the truth about them; chance motions and protocols."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from BrainTumorSegLib.domain.grid import Grid
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import write_volume
from BrainTumorSegLib.phantom import make_phantom
from BrainTumorSegLib.phantom.scanned import Protocol, Scanned, scan
from BrainTumorSegLib.preprocessing.resampling import onto

SHAPE = (78, 120, 120)  # of the phantom, 2 mm
FINE, THICK = Protocol((2.0, 2.0)), Protocol((5.0, 1.5))


def motion(
    degrees: tuple[float, float, float] = (8.0, -6.0, 12.0), shift: tuple[float, ...] = (20.0, -8.0, 14.0)
) -> np.ndarray:
    """A rigid motion in RAS: turns about x, y and z, then a shift in mm."""
    x, y, z = np.radians(degrees)
    about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = about_z @ about_y @ about_x, shift
    return matrix


@functools.cache
def raw_scans(seed: int = 0, *, skull: bool = True, moved: bool = True) -> Scanned:
    """T1ce of 2 mm and T2 of 5 mm slices of one phantom, the T2 after a motion."""
    case = make_phantom(seed, SHAPE).case
    return scan(case, {"t1ce": FINE, "t2": THICK}, {"t2": motion()} if moved else {}, skull=skull, seed=seed)


def random_motion(rng: np.random.Generator, degrees: float, mm: float, centre: Sequence[float]) -> np.ndarray:
    """A rigid motion in RAS: a turn by up to ``degrees`` about any axis through ``centre``, a shift by up to ``mm``."""
    axis, shift = rng.standard_normal((2, 3))
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(rng.uniform(0, degrees))
    matrix = np.eye(4)
    matrix[:3, :3] = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    middle = np.asarray(centre)
    matrix[:3, 3] = middle - matrix[:3, :3] @ middle + shift / np.linalg.norm(shift) * rng.uniform(0, mm)
    return matrix


def random_protocols(rng: np.random.Generator, modalities: Iterable[str]) -> dict[str, Protocol]:
    """Clinical protocols: 3D ones of about a millimetre and 2D ones with slices of up to 6 mm, mixed."""
    found = {}
    for name in modalities:
        thick = rng.random() < 0.65
        spacing = (rng.uniform(3, 6), rng.uniform(0.5, 1.0)) if thick else (rng.uniform(0.8, 1.3),) * 2
        plane = "z" if thick and rng.random() < 0.8 else str(rng.choice(["x", "y", "z"]))
        found[name] = Protocol((float(spacing[0]), float(spacing[1])), plane, float(rng.uniform(215, 250)))
    return found


def true_move(scanned: Scanned, modality: str) -> np.ndarray:
    """4×4 that brings a scan over the reference: RAS mm in its space → RAS mm in the reference's."""
    return np.asarray(scanned.motions[scanned.case.reference] @ np.linalg.inv(scanned.motions[modality]))


def someone_elses_t2() -> Volume:
    """The T2 of another phantom, its slices in reverse: synthetic people resemble each other more than real ones do."""
    t2 = raw_scans(3).case.images["t2"]
    return t2.with_array(np.ascontiguousarray(t2.array[::-1]))


def true_brain(scanned: Scanned) -> Volume:
    """The brain on the reference's grid."""
    reference = scanned.case.reference_volume
    affine = scanned.motions[scanned.case.reference] @ scanned.brain.affine
    inside = onto(scanned.brain.array.astype(np.float32), Grid(scanned.brain.shape, affine), Grid.of(reference)) > 0.5
    return Volume(inside.astype(np.uint8), reference.affine)


def write_raw(folder: Path, scanned: Scanned) -> tuple[Path, Path]:
    """The scans as a case folder, and the brain's mask beside it."""
    place, mask = folder / "raw", folder / "mask.nii.gz"
    place.mkdir(parents=True)
    for name, volume in scanned.case.images.items():
        write_volume(volume, place / f"{name}.nii.gz")
    write_volume(true_brain(scanned), mask)
    return place, mask
