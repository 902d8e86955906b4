"""What a reader must know of the model: its doubt, regions it does not know, sequences it went without."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from ..domain.case import Case
from ..domain.labels import ET, REGIONS, label_names
from ..domain.modalities import TITLES, listed
from ..models.description import Description

# A region whose measured or expected Dice is lower is not to be relied on; two readers of a tumour agree at about 0.8.
TRUSTED_DICE = 0.6
# Of 14 heads without a tumour, 11 of them with multiple sclerosis, an earlier model expected WT to have .12 to .62, in
# twelve of them less than this (Testing/benchmarks/raw_patient.py --healthy); of the tumours of the validation patients
# brats-ensemble 2.0 expects .84 to .96.
LIKELY_DICE = 0.5


def about_confidence(confidence: Mapping[str, float], *, found: bool) -> list[str]:
    """Regions of which the model's own probabilities promise little."""
    if not found:
        return ["No tumour was found."]
    if (whole := confidence.get("WT", 1.0)) < LIKELY_DICE:
        return [
            f"No tumour is likely (WT: expected Dice {whole:.2f}): as much is found in heads without one and in other"
            " diseases. Look at it closely."
        ]
    unsure = [f"{region} (expected Dice {value:.2f})" for region, value in confidence.items() if value < TRUSTED_DICE]
    return [f"The model is unsure of {listed(unsure)}: look at it closely."] if unsure else []


def about_enhancement(
    labels: np.ndarray, doubted: float | None, regions: Collection[str], given: Collection[str]
) -> list[str]:
    """That a tumour does not enhance, where that could be seen.

    Args:
        labels: the label map.
        doubted: expected Dice of the enhancing tumour that was taken for core.
        regions: those that the model knows.
        given: the sequences.
    """
    if "ET" not in regions or "t1ce" not in given or not labels.any() or (labels == ET).any():
        return []
    if doubted is None:
        return ["No enhancement was found."]
    return [f"No enhancement was found: what looks like some (expected Dice {doubted:.2f}) is counted as core."]


def about_model(case: Case, description: Description, regions: Collection[str]) -> list[str]:
    """Regions of which nothing is known, and what the sequences that were not given cost."""
    return [*_about_regions(regions, bool(description.own)), *_about_missing(case, description)]


def _about_regions(regions: Collection[str], own: bool) -> list[str]:
    if own and not regions:
        return ["This model has labels of its own, none of which is ET, TC or WT."]
    unknown = [region for region in REGIONS if region not in regions]
    if not unknown:
        return []
    return [f"This model does not know {listed(unknown)}; {listed(_written(regions))}."]


def _written(regions: Collection[str]) -> list[str]:
    """Labels that stand for more than a tissue (every convention has the same), and tissues that none stands for."""
    if "WT" in regions and len(regions) > 1:
        return ["its voxels carry the label of the region around it"]
    names = label_names(regions).items()
    found = [f"all of {name} is written as label {label}" for label, name in names if name in ("TC", "WT")]
    if "WT" not in regions:
        found.append("oedema is not marked" if "TC" in regions else "necrosis and oedema are not marked")
    return found


def _about_missing(case: Case, description: Description) -> list[str]:
    """What to expect where sequences that the model could have used were not given."""
    missing = [TITLES[name] for name in description.optional_modalities if name not in case.images]
    if not missing:
        return []
    absent = f"{listed(missing)} {'was' if len(missing) == 1 else 'were'} not given"
    measured = description.accuracy_with(case.images)
    if measured is None:
        return [f"{absent}; expect a less accurate result."]
    figures = ", ".join(f"{region} {value:.2f}" for region, value in measured.values.items())
    found = [f"{absent}; with what was given, Dice was {figures} on {measured.cases} validation patients."]
    doubtful = [region for region, value in measured.values.items() if value < TRUSTED_DICE]
    if doubtful:
        found.append(f"Do not rely on {listed(doubtful)}: too little of it shows in the images that were given.")
    return found
