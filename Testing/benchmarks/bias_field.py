"""What uneven brightness, as of a coil that does not receive evenly, does to a model's Dice.

``python -m Testing.benchmarks.bias_field MODEL DATA_FOLDER [--patients fold]`` multiplies each sequence by a smooth
made field of its own (polynomials over the whole image, the same at every run) and prints mean Dice at growing
strength: the standard deviation of the field's logarithm. At 0.1 two thirds of the image keep within 10 %.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from BrainTumorSegLib.case import Case
from BrainTumorSegLib.catalogue import load_model
from BrainTumorSegLib.inference.engine import segment_case
from Training.calibration import patients
from Training.datasets.split import FOLD, VALIDATION
from Training.export import compare_known

STRENGTHS = (0.0, 0.15, 0.3)


def uneven(case: Case, strength: float, seed: int) -> Case:
    """The case with a field on each sequence, of degree 2 in each direction."""
    images = {}
    for number, (name, volume) in enumerate(case.images.items()):
        generator = np.random.default_rng([seed, number])
        z, y, x = (np.linspace(-1, 1, size) for size in volume.shape)
        field = np.asarray(np.polynomial.legendre.leggrid3d(z, y, x, generator.normal(size=(3, 3, 3))))
        field = np.exp(strength * (field - field.mean()) / field.std())
        images[name] = dataclasses.replace(volume, array=(volume.array * field).astype(np.float32))
    return dataclasses.replace(case, images=images)


def main() -> None:
    """Measure and print."""
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model")
    p.add_argument("data", type=Path)
    p.add_argument("--patients", choices=(VALIDATION, FOLD), default=VALIDATION)
    arguments = p.parse_args()
    checkpoint = load_model(arguments.model)
    cases = [labelled.load() for labelled in patients(checkpoint, arguments.data, arguments.patients).values()]
    for strength in STRENGTHS:
        rows = []
        for seed, (case, reference) in enumerate(cases):
            result = segment_case(uneven(case, strength, seed), checkpoint)
            measures = compare_known(result.labels.array, reference.array)
            rows.append([measures[region]["dice"] for region in result.regions])
        means = zip(result.regions, np.mean(rows, axis=0), strict=True)
        print(f"strength {strength:.2f}" + "".join(f"  {name} {mean:.4f}" for name, mean in means), flush=True)


if __name__ == "__main__":
    main()
