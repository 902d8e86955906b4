"""``python -m Training.atlas DATA -o FILE``: the average brain that shows how the training brains lie.

``DATA`` is a folder of BraTS patients with ``split.json``: all are skull-stripped, on one grid, in one position. Of the
training patients' T1, each over its median, the mean at 2 mm where most of them have brain, 0 elsewhere.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.domain.grid import Grid, same_grid
from BrainTumorSegLib.domain.volume import Volume, bounding_box
from BrainTumorSegLib.io.registry import read_volume, write_volume
from BrainTumorSegLib.io.staging import atomic
from BrainTumorSegLib.preprocessing.resampling import onto

from .command import exit_code

_SPACING_MM = 2.0
# The mean of an image over its median is about 1; this is what stands for it in 8 bits.
_ONE = 120.0
_MARGIN = 2  # voxels around the brain


def make_atlas(folder: Path, patients: list[str]) -> Volume:
    """The mean of some patients' T1, uint8 ``(Z, Y, X)``.

    Raises:
        RequestError: they do not lie on one grid.
    """
    first: Grid | None = None
    for patient in patients:
        volume = read_volume(folder / patient / f"{patient}_t1.nii.gz")
        own = Grid.of(volume).oriented("LPS")
        if first is None:
            first = own
            total, count = np.zeros((2, *own.shape), dtype=np.float32)
        if not same_grid(first, own):
            raise RequestError(f"{patient} lies on another grid.", "An atlas is made of patients in one position.")
        values = onto(volume.array.astype(np.float32), Grid.of(volume), own)
        inside = values > 0
        total += values / np.median(values[inside])
        count += inside
    assert first is not None
    mean = np.where(2 * count > len(patients), total / np.maximum(count, 1), 0)
    coarse = first.with_spacing((_SPACING_MM,) * 3)
    stored = np.clip(np.rint(_ONE * onto(mean, first, coarse)), 0, 255).astype(np.uint8)
    box = bounding_box(stored > 0, _MARGIN)
    return Volume(stored[box], coarse.cropped(box).affine)


def main() -> int:
    """Entry point; returns the exit code."""
    p = argparse.ArgumentParser(prog="python -m Training.atlas", description=__doc__)
    p.add_argument("data", type=Path, help="folder of BraTS patients with split.json")
    p.add_argument("-o", "--output", type=Path, required=True, help="NIfTI file to write")
    arguments = p.parse_args()

    def run() -> int:
        names = json.loads((arguments.data / "split.json").read_text(encoding="utf-8"))["train"]
        atlas = make_atlas(arguments.data, sorted(names))
        with atomic(arguments.output) as part:
            write_volume(atlas, part)
        print(f"Wrote {arguments.output}: {len(names)} patients, {' × '.join(map(str, atlas.shape))} voxels")
        return 0

    return exit_code(run)


if __name__ == "__main__":
    sys.exit(main())
