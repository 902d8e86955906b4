"""What each step of post-processing does to a model's Dice.

``python -m Testing.benchmarks.postprocessing MODEL DATA_FOLDER [--patients fold]`` runs the network once a patient and
prints mean Dice with none of the steps, with each alone, and with all together.
"""

from __future__ import annotations

import numpy as np

from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.inference.postprocessing import clean, region_mask
from BrainTumorSegLib.models.description import PostprocessingSpec
from Training.export import compare_known

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


def main() -> None:
    """Measure and print."""
    checkpoint, chosen = model_and_patients(__doc__.split("\n")[0])
    rows: dict[str, list[list[float]]] = {name: [] for name in STEPS}
    for labelled in chosen:
        case, reference = labelled.load()
        result = segment_case(case, checkpoint, keep_probabilities=True)
        for name, spec in STEPS.items():
            masks = {region: region_mask(map_, region, spec) for region, map_ in result.probabilities.items()}
            measures = compare_known(clean(masks, spec, reference.voxel_volume), reference.array)
            rows[name].append([measures[region]["dice"] for region in result.regions])
    for name, row in rows.items():
        means = zip(result.regions, np.mean(row, axis=0), strict=True)
        print(f"{name:42}" + "".join(f"  {region} {mean:.4f}" for region, mean in means))


if __name__ == "__main__":
    main()
