"""``python -m Training.datasets.make_lgg1p19q BRATS_FOLDER -o DIR``: BraTS patients as LGG-1p19qDeletion has its own.

Of each patient T2 and post-contrast T1, and a segmentation of three axial slices: the one where the whole tumour has
its largest diameter, and one on either side. Nothing is said of the others. ``split.json`` goes along, so a recipe of
kind ``lgg1p19q`` trains on the same patients and is scored on their annotated slices.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.domain.grid import Grid, reorient
from BrainTumorSegLib.domain.labels import CONVENTIONS
from BrainTumorSegLib.domain.measurements import measure
from BrainTumorSegLib.domain.modalities import T1CE, T2
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import write_volume
from BrainTumorSegLib.io.staging import atomic, staged

from ..command import exit_code
from .brats import find_brats
from .case import LabelledCase
from .split import read_split

SPLIT = "split.json"
_ORIENTATION = "LPS"  # whose first array axis is the axial one, as BraTS stores its images
_ROLES = {T1CE: "_T1", T2: "_T2"}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m Training.datasets.make_lgg1p19q",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("brats", type=Path, metavar="BRATS_FOLDER", help="labelled patients")
    p.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder that is written")
    p.add_argument("--labels", choices=("auto", *CONVENTIONS), default="auto", help="label convention of the patients")
    p.add_argument("--distance", type=float, default=3.0, metavar="MM", help="between annotated slices (default 3)")
    return p


def chosen_slices(labels: np.ndarray, affine: np.ndarray, distance: float) -> list[int]:
    """Three levels of a label map ``(Z, Y, X)``: of the largest axial diameter, and ``distance`` mm on either side.

    Where the tumour ends before, its last slice is taken; where the largest slice is the last one, there are fewer.
    """
    levels = np.flatnonzero(labels.any(axis=(1, 2)))
    if not levels.size:
        return []
    diameters = [measure(Volume(labels[z : z + 1], affine), ("WT",))["WT"].largest_axial_diameter_mm for z in levels]
    middle = int(levels[int(np.argmax(diameters))])
    step = max(round(distance / float(np.linalg.norm(affine[:3, 2]))), 1)
    below = levels[(levels < middle) & (levels >= middle - step)]
    above = levels[(levels > middle) & (levels <= middle + step)]
    return [*(int(z) for z in below[:1]), middle, *(int(z) for z in above[-1:])]


def convert(labelled: LabelledCase, output: Path, distance: float) -> int:
    """Write a patient's files, all or none, and say how many slices are annotated; 0 where nothing was written.

    Raises:
        InputError: names all that is wrong with the patient.
    """
    case, labels = labelled.load(tuple(_ROLES))
    grid = Grid.of(labels).oriented(_ORIENTATION)
    whole = reorient(labels.array, labels.affine, _ORIENTATION) > 0
    levels = chosen_slices(whole.astype(np.uint8), grid.affine, distance)
    if not levels:
        return 0
    sparse = np.zeros(whole.shape, dtype=np.uint8)
    sparse[levels] = whole[levels]
    folder = output / labelled.id
    with staged(labelled.files()) as staging:
        for modality, ending in _ROLES.items():
            image = case.images[modality]
            array = reorient(image.array, image.affine, _ORIENTATION)
            affine = Grid.of(image).oriented(_ORIENTATION).affine
            write_volume(Volume(array, affine), staging.path(folder / f"{labelled.id}{ending}.nii.gz"))
        write_volume(Volume(sparse, grid.affine), staging.path(folder / f"{labelled.id}-Segmentation.nii.gz"))
    return len(levels)


def run(arguments: argparse.Namespace) -> int:
    """Convert every patient.

    Raises:
        BrainTumorSegError: there are none, one cannot be read, or the folder is that of the patients.
    """
    if arguments.distance <= 0:
        raise RequestError(f"Slices cannot lie {arguments.distance:g} mm apart.", "Give a distance above 0.")
    if arguments.output.resolve().is_relative_to(arguments.brats.resolve()):
        raise RequestError(f"{arguments.output} lies among the patients.", "Choose another folder.")
    found = find_brats(arguments.brats, arguments.labels, "--labels")
    kept = set()
    for labelled in found.cases.values():
        slices = convert(labelled, arguments.output, arguments.distance)
        print(f"{labelled.id}: {f'{slices} annotated slices' if slices else 'no tumour, left out'}", flush=True)
        kept |= {labelled.id} if slices else set()
    if (arguments.brats / SPLIT).is_file():
        split = read_split(arguments.brats, list(found.cases), folds=2, fold=-1)
        parts = {"train": split.training, "validation": split.validation}
        left = {part: [name for name in names if name in kept] for part, names in parts.items()}
        with atomic(arguments.output / SPLIT) as part:
            part.write_text(json.dumps(left, indent=1) + "\n", encoding="utf-8")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return exit_code(lambda: run(parser().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
