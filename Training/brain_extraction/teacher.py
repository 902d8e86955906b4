"""``python -m Training.brain_extraction.teacher DATA -o MASKS``: brain masks of whole heads by HD-BET, to learn from.

``DATA/heads/<person>/<image>.nii.gz`` → ``MASKS/<person>/<image>_brain.nii.gz``, and of the training patients of the
LGG set in ``DATA/lgg``, from FLAIR with the missing slices filled in, ``MASKS/lgg/<patient>_brain.nii.gz``: without
them HD-BET would see a shorter head. Masks that are there stay.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from BrainTumorSegLib.domain.progress import Progress
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import read_volume, write_volume
from BrainTumorSegLib.io.staging import atomic
from BrainTumorSegLib.preprocessing.brain_extraction import METHODS

from ..command import exit_code
from .heads import is_whole, read_lgg


def make_masks(data: Path, masks: Path) -> int:
    """Ask the teacher for each image."""
    for file in sorted((data / "heads").glob("*/*.nii.gz")):
        name = file.name.replace(".nii.gz", "_brain.nii.gz")
        _make_mask(partial(read_volume, file), masks / file.parent.name / name)
    split = json.loads((data / "lgg" / "split.json").read_text(encoding="utf-8"))
    for patient in split["train"]:
        stack = read_lgg(data / "lgg", patient)
        if is_whole(stack):
            _make_mask(partial(stack.volume, "flair"), masks / "lgg" / f"{patient}_brain.nii.gz")
    return 0


def _make_mask(read: Callable[[], Volume], destination: Path) -> None:
    """The brain of one image."""
    if destination.exists():
        return
    volume = read()
    mask = METHODS["hd-bet"].find(volume, Progress())  # of any size: spacing may be assumed
    destination.parent.mkdir(parents=True, exist_ok=True)
    with atomic(destination) as part:
        write_volume(volume.with_array(mask.astype(np.uint8)), part)
    size = np.count_nonzero(mask) * volume.voxel_volume / 1000
    print(f"{destination.parent.name}/{destination.name}: {size:,.0f} mL", flush=True)


def main() -> int:
    """Entry point; returns the exit code."""
    p = argparse.ArgumentParser(prog="python -m Training.brain_extraction.teacher", description=__doc__)
    p.add_argument("data", type=Path, help="folder with heads and lgg")
    p.add_argument("-o", "--masks", type=Path, required=True, help="folder that gets the masks")
    arguments = p.parse_args()
    return exit_code(lambda: make_masks(arguments.data, arguments.masks))


if __name__ == "__main__":
    sys.exit(main())
