"""Images written as DICOM series and read back: how far voxels move, and whether their values stay.

``python -m Testing.benchmarks.dicom_round_trip CASE_FOLDER [--keep DIR]`` writes each sequence of a case as an axial, a
coronal and a sagittal acquisition, as a classic and as an enhanced series, and prints the largest distance between
where a corner of the grid was and where it is. ``--keep`` leaves the axial classic series, a study to be segmented.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from BrainTumorSegLib.domain.grid import Grid, reorient
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.case_folder import find_case, read_case
from Testing.dicom_series import PLANES, write_series, write_study


def round_trip(volume: Volume, modality: str, folder: Path, plane: str, enhanced: bool) -> tuple[float, bool]:
    """Millimetres by which the corners of the grid move, and whether all values stay."""
    write_series(volume, folder, modality, plane=plane, enhanced=enhanced)
    back = find_case((), {modality: folder}).read().images[modality]
    grid = Grid.of(back).oriented(volume.orientation)
    same = np.array_equal(reorient(back.array, back.affine, volume.orientation), volume.array)
    return float(np.abs(grid.corners() - Grid.of(volume).corners()).max()), same


def main() -> None:
    """Write, read and print."""
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("case", type=Path)
    p.add_argument("--keep", type=Path)
    arguments = p.parse_args()
    images = read_case(arguments.case).images
    if arguments.keep:
        write_study(images, arguments.keep, plane="axial")
    for modality, volume in images.items():
        for plane in PLANES:
            for enhanced in (False, True):
                with tempfile.TemporaryDirectory() as folder:
                    apart, same = round_trip(volume, modality, Path(folder), plane, enhanced)
                kind = "enhanced" if enhanced else "classic"
                print(f"{modality} {plane} {kind}: {apart:.1e} mm, values {'the same' if same else 'CHANGED'}")


if __name__ == "__main__":
    main()
