"""Imported models beside their originals, on real patients: Dice between both label maps.

``python -m Testing.benchmarks.importers nnunet WORK BRATS [NAME…]`` takes the folders that ``nnunet_models`` trained
and predicted in ``WORK`` (with an environment that has nnunetv2), imports each model by ``braintumorseg models add``,
segments the same patients of ``BRATS`` by ``braintumorseg segment`` with its settings (mirrorings, steps of half a
window) and prints a line a patient: Dice of every label.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from BrainTumorSegLib.io.registry import read_volume

LABELS = {"NCR": 1, "ED": 2, "ET": 3}
# Label in nnU-Net's file of the data set whose name begins so -> here.
CONVENTION = {"regions": {0: 0, 1: 1, 2: 2, 3: 3}, "classes": {0: 0, 1: 2, 2: 1, 3: 3}}
LEAST = 0.995


def dice(found: np.ndarray, wanted: np.ndarray) -> float:
    """Of two masks; 1 where both are empty."""
    size = np.count_nonzero(found) + np.count_nonzero(wanted)
    return 2 * np.count_nonzero(found & wanted) / size if size else 1.0


def braintumorseg(*arguments: str) -> str:
    """The command's output."""
    done = subprocess.run(
        [sys.executable, "-m", "BrainTumorSegLib.cli", *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout


def compare(model: str, case: Path, wanted: np.ndarray, folder: Path, precision: str) -> float:
    """Segment a case and print the Dice of each label; the least of them."""
    file = folder / model / f"{case.name}.nii.gz"
    file.parent.mkdir(parents=True, exist_ok=True)
    started = time.time()
    braintumorseg("segment", str(case), "-o", str(file), "--model", model, "--tta", "--precision", precision)
    found = read_volume(file).array
    values = {name: dice(found == label, wanted == label) for name, label in LABELS.items()}
    values["whole map"] = dice(found > 0, wanted > 0)
    figures = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
    sizes = "/".join(str(np.count_nonzero(wanted == label)) for label in LABELS.values())
    print(f"{model}  {case.name}  {figures}  voxels {sizes}  {time.time() - started:.0f} s", flush=True)
    return min(values.values())


def nnunet(work: Path, brats: Path, names: list[str]) -> None:
    """Every model of ``nnunet_models``."""
    results = {folder.name.partition("_")[2]: folder for folder in (work / "results").iterdir()}
    least = 1.0
    for name in names or sorted(results):
        braintumorseg("models", "add", str(results[name]), "--id", name)
        table = CONVENTION[name.partition("-")[0]]
        for file in sorted((work / "predicted" / name).glob("*.nii.gz")):
            values = read_volume(file).array
            wanted = np.vectorize(table.__getitem__)(values.astype(int))
            least = min(least, compare(name, brats / file.name.removesuffix(".nii.gz"), wanted, work / "here", "fp32"))
    print(f"least Dice {least:.4f}: {'equal' if least >= LEAST else 'NOT EQUAL'} (line {LEAST})")


def main() -> None:
    """See the module."""
    kind, work, brats, *names = sys.argv[1:]
    os.environ["BRAINTUMORSEG_HOME"] = str(Path(work) / "home")
    {"nnunet": nnunet}[kind](Path(work), Path(brats), names)


if __name__ == "__main__":
    main()
