"""Writes docs/reference/models/ID.md: a model's card, its validation patients one by one, a picture of the worst.

``python -m docs.tools.draw_model_card ID DATA_FOLDER`` from the root of a clone.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.models.catalogue import load_model
from BrainTumorSegLib.models.checkpoint_file import Checkpoint
from BrainTumorSegLib.models.model_card import model_card
from BrainTumorSegLib.report.figures.overlays import overlays, sheet
from Training.datasets.case import LabelledCase
from Training.studies.calibration import RegionEvidence, gather, patients

FOLDER = Path(__file__).resolve().parents[1] / "reference" / "models"
Evidence = Mapping[str, RegionEvidence]


def main(model: str, data: Path) -> None:
    """Segment the validation patients, write the card and the picture."""
    checkpoint = load_model(model)
    cases = patients(checkpoint, data, "validation")
    evidence = dict(zip(cases, gather(checkpoint, cases.values()), strict=True))
    worst = min(evidence, key=lambda name: np.mean([one.measured for one in evidence[name].values()]))
    draw(checkpoint, cases[worst], FOLDER / f"{model}-worst.jpg")
    text = f"{model_card(checkpoint.description)}\n{single_patients(model, worst, evidence)}"
    (FOLDER / f"{model}.md").write_text(text, encoding="utf-8")


def draw(checkpoint: Checkpoint, labelled: LabelledCase, file: Path) -> None:
    """The patient's worst slices, one a region."""
    case, reference = labelled.load()
    result = segment_case(case, checkpoint)
    regions = [name for name in ("WT", "TC", "ET") if name in result.regions]
    rows = overlays(case, result.labels, reference, regions)
    picture = Image.open(io.BytesIO(sheet(f"{case.id}, segmented by {checkpoint.description.id}", rows)))
    picture.convert("RGB").save(file, quality=85, optimize=True)


def single_patients(model: str, worst: str, evidence: Mapping[str, Evidence]) -> str:
    """The section on single patients: Dice, and what the model expected it to be."""
    regions = list(evidence[worst])
    rows = [["Patient", *(f"{region} (expected)" for region in regions)], ["---"] * (len(regions) + 1)]
    rows += [
        [name, *(f"{one[r].measured:.3f} ({one[r].expected:.2f})" for r in regions)] for name, one in evidence.items()
    ]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return (
        "## Where it fails\n\nDice of each validation patient, and what the model's own probabilities promised:"
        f"\n\n{table}\n\nThe patient with the lowest mean, the worst slice of each region:"
        f"\n\n![{worst}, segmented by {model}]({model}-worst.jpg)\n"
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
