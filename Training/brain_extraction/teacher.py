"""``python -m Training.brain_extraction.teacher HEADS -o MASKS``: brain masks of whole heads by HD-BET, to learn from.

``HEADS/<person>/<image>.nii.gz`` → ``MASKS/<person>/<image>_brain.nii.gz``. Masks that are there stay.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from BrainTumorSegLib.io.registry import read_volume, write_volume
from BrainTumorSegLib.io.staging import atomic
from BrainTumorSegLib.preprocessing.brain_extraction import extract_brain

from ..command import exit_code


def make_masks(heads: Path, masks: Path) -> int:
    """Ask the teacher for each image."""
    for file in sorted(heads.glob("*/*.nii.gz")):
        destination = masks / file.parent.name / file.name.replace(".nii.gz", "_brain.nii.gz")
        if destination.exists():
            continue
        volume = read_volume(file)
        brain = extract_brain(volume, "hd-bet")
        destination.parent.mkdir(parents=True, exist_ok=True)
        with atomic(destination) as part:
            write_volume(volume.with_array(brain.mask.astype(np.uint8)), part)
        print(f"{file.parent.name}/{file.name}: {brain.words}", flush=True)
    return 0


def main() -> int:
    """Entry point; returns the exit code."""
    p = argparse.ArgumentParser(prog="python -m Training.brain_extraction.teacher", description=__doc__)
    p.add_argument("heads", type=Path, help="folder of people with whole heads")
    p.add_argument("-o", "--masks", type=Path, required=True, help="folder that gets the masks")
    arguments = p.parse_args()
    return exit_code(lambda: make_masks(arguments.heads, arguments.masks))


if __name__ == "__main__":
    sys.exit(main())
