"""What uneven brightness, as of a coil that does not receive evenly, does to a model's Dice.

``python -m Testing.benchmarks.bias_field MODEL DATA_FOLDER [--patients fold]`` multiplies each sequence by a smooth
made field of its own (polynomials over the whole image, the same at every run) and prints mean Dice at growing
strength: the standard deviation of the field's logarithm. At 0.1 two thirds of the image keep within 10 %.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.inference.pipeline import segment_case
from Training.export import compare_known

from .asked import model_and_patients

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
    checkpoint, chosen = model_and_patients(__doc__.split("\n")[0])
    cases = [labelled.load() for labelled in chosen]
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
