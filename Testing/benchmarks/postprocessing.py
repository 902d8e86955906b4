"""What each step of post-processing does to a model's Dice.

``python -m Testing.benchmarks.postprocessing MODEL DATA_FOLDER [--patients fold]`` runs the network once a patient and
prints mean Dice with none of the steps, with each alone, and with all together; then with the model's own, where a
region begins at another probability.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.inference.postprocessing import clean, region_mask
from BrainTumorSegLib.models.description import PostprocessingSpec
from Training.export import compare_known
from Training.studies.calibration import uncalibrated

from .asked import model_and_patients

STEPS = {
    "none": PostprocessingSpec(),
    "pieces below 100 mm³ removed": PostprocessingSpec(minimum_component_mm3=100.0),
    "pieces with core < 50 mm³ removed": PostprocessingSpec(minimum_core_mm3=50.0),
    "holes of TC filled": PostprocessingSpec(filled=("TC",)),
    "holes of WT filled": PostprocessingSpec(filled=("WT",)),
    "ET below 50 mm³ to core": PostprocessingSpec(minimum_et_mm3=50.0),
    "pieces of ET and TC < 100 mm³ given away": PostprocessingSpec(minimum_pieces_mm3={"ET": 100.0, "TC": 100.0}),
    "all but holes of WT": PostprocessingSpec({}, ("TC",), 100.0, 50.0, {"ET": 100.0, "TC": 100.0}, 50.0),
}
THRESHOLDS = (0.3, 0.4, 0.45, 0.5, 0.6)


def with_thresholds(own: PostprocessingSpec, regions: tuple[str, ...]) -> dict[str, PostprocessingSpec]:
    """The model's own post-processing with one region's threshold changed at a time; 0.5 for the others."""
    variants = {"thresholds of the model": own}
    for region in regions:
        for value in THRESHOLDS:
            variants[f"{region} from {value}"] = dataclasses.replace(own, thresholds={region: value})
    return variants


def main() -> None:
    """Measure and print."""
    checkpoint, chosen = model_and_patients(__doc__.split("\n")[0])
    description, bare = checkpoint.description, uncalibrated(checkpoint)
    variants = STEPS | with_thresholds(description.postprocessing, tuple(description.regions))
    rows: dict[str, list[list[float]]] = {name: [] for name in variants}
    for labelled in chosen:
        case, reference = labelled.load()
        result = segment_case(case, bare, keep_probabilities=True)
        for name, spec in variants.items():
            masks = {region: region_mask(map_, region, spec) for region, map_ in result.probabilities.items()}
            measures = compare_known(clean(masks, spec, reference.voxel_volume), reference.array)
            rows[name].append([measures[region]["dice"] for region in result.regions])
    for name, row in rows.items():
        means = zip(result.regions, np.mean(row, axis=0), strict=True)
        print(f"{name:42}" + "".join(f"  {region} {mean:.4f}" for region, mean in means))


if __name__ == "__main__":
    main()
