"""Raw scans of a synthetic patient that tests share, with the truth about them."""

from __future__ import annotations

import functools
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
