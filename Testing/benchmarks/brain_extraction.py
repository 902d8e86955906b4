"""How well the brain is extracted, against HD-BET's masks, and how alike from the sequences of one patient.

``python -m Testing.benchmarks.brain_extraction LGG_FOLDER [--method included] [--raw FOLDER]``

``LGG_FOLDER`` holds ``kaggle_3m``, ``brain_masks`` (HD-BET 1, first model, no mirroring, of FLAIR) and ``split.json``,
whose validation patients are measured: whole heads, each sequence by itself and then, with the included network, all of
a patient together, on their own grid. Tumour lost is the share of the reference's tumour that lies outside the brain.
``--raw`` is a folder with several sequences of one patient as scanned (NIfTI files): each is extracted by itself,
registered rigidly to the first, its mask brought over with it, and compared where all sequences have voxels.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from BrainTumorSegLib.domain.grid import Grid
from BrainTumorSegLib.io.registry import read_volume
from BrainTumorSegLib.preprocessing.brain_extraction import Brain, extract_brain, extract_together
from BrainTumorSegLib.preprocessing.registration import register
from BrainTumorSegLib.preprocessing.resampling import onto
from Training.brain_extraction.heads import lgg_slices, read_lgg

# What is measured last of a patient: the brain by all sequences, which lie over each other.
TOGETHER = "together"

Row = tuple[str, str, float, float, float, float]


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice of two masks."""
    return 2 * float((first & second).sum()) / float(first.sum() + second.sum())


def lgg_rows(folder: Path, patients: list[str], method: str) -> list[Row]:
    """Patient, sequence or ``together``, Dice, tumour lost, tumour that the reference loses, seconds."""
    return [row for patient in patients for row in patient_rows(folder, patient, method)]


def patient_rows(folder: Path, patient: str, method: str) -> list[Row]:
    """The same of one patient."""
    from PIL import Image

    stack = read_lgg(folder, patient)
    reference = read_volume(folder / "brain_masks" / f"{patient}_brain.nii.gz").array > 0
    files = [file.with_name(f"{file.stem}_mask.tif") for file in lgg_slices(folder, patient)]
    tumour = np.stack([np.asarray(Image.open(file)) > 0 for file in files])
    missed = float((tumour & ~reference).sum() / tumour.sum())
    volumes = {name: stack.volume(name) for name in stack.images}
    rows: list[Row] = []

    def measure(name: str, find: Callable[[], Brain]) -> Brain:
        began = time.perf_counter()
        brain = find()
        seconds = time.perf_counter() - began
        lost = float((tumour & ~brain.mask).sum() / tumour.sum())
        rows.append((patient, name, dice(brain.mask, reference), lost, missed, seconds))
        print("{:<24} {:<8} Dice {:.4f}  tumour lost {:.4f} (HD-BET {:.4f})  {:.2f} s".format(*rows[-1]), flush=True)
        return brain

    brains = {name: measure(name, partial(extract_brain, volume, method)) for name, volume in volumes.items()}
    *others, last = volumes
    if brains[last].method == "included":
        together = partial(extract_together, brains[last], volumes[last], {name: volumes[name] for name in others})
        measure(TOGETHER, together)
    return rows


def summarise(rows: list[Row]) -> None:
    """Means and worst figures, of all and by sequence."""
    for name in ("all", *sorted({row[1] for row in rows})):
        chosen = [row for row in rows if name == row[1] or (name == "all" and row[1] != TOGETHER)]
        figures = np.array([row[2:] for row in chosen])
        mean, worst = figures.mean(axis=0), figures[:, 0].min()
        print(
            f"{name:<8} {len(chosen)} images: mean Dice {mean[0]:.4f}, worst {worst:.4f}, tumour lost {mean[1]:.4f} "
            f"(HD-BET {mean[2]:.4f}), {mean[3]:.2f} s each (slowest {figures[:, 3].max():.2f})"
        )


def compare_sequences(folder: Path, method: str) -> None:
    """Dice of each pair of sequences of one patient, after registration."""
    volumes = {file.name.split(".")[0]: read_volume(file) for file in sorted(folder.glob("*.nii.gz"))}
    fixed = next(iter(volumes.values()))
    masks, seen = {}, np.ones(fixed.shape, dtype=bool)
    for name, volume in volumes.items():
        began = time.perf_counter()
        brain = extract_brain(volume, method)
        print(f"{name:<6} {brain.words}, {time.perf_counter() - began:.2f} s", flush=True)
        moved = volume if volume is fixed else register(volume, fixed).move(volume)
        source, target = Grid.of(moved), Grid.of(fixed)
        masks[name] = onto(brain.mask.astype(np.float32), source, target) >= 0.5
        seen &= onto(np.ones(volume.shape, dtype=np.float32), source, target) >= 0.5
    found = {pair: dice(masks[pair[0]] & seen, masks[pair[1]] & seen) for pair in itertools.combinations(masks, 2)}
    for (first, second), value in found.items():
        print(f"{first} and {second}: Dice {value:.4f}")
    print(f"pairs: mean Dice {np.mean(list(found.values())):.4f}, worst {min(found.values()):.4f}")


def main() -> None:
    """Measure and print."""
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    p.add_argument("data", type=Path)
    p.add_argument("--method", default="included")
    p.add_argument("--raw", type=Path)
    arguments = p.parse_args()
    patients = json.loads((arguments.data / "split.json").read_text(encoding="utf-8"))["validation"]
    summarise(lgg_rows(arguments.data, patients, arguments.method))
    if arguments.raw:
        compare_sequences(arguments.raw, arguments.method)


if __name__ == "__main__":
    main()
