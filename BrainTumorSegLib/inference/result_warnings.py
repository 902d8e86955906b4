"""What a reader of the result must know: inputs the model was not made for, regions it cannot be trusted with."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..domain.case import Case
from ..domain.labels import REGIONS
from ..domain.modalities import TITLES, listed
from ..models.description import Description
from ..preprocessing import Prepared
from ..quality.orientation import looks_turned
from ..quality.swapped_sequences import mistaken

# Skull-stripped brains fill a quarter of the BraTS grid; heads as scanned have air that is not zero. Where the air was
# set to zero the size tells: the training brains measure 1.2 to 1.7 litres, a head 3 and more.
_FILLED_IF_NOT_STRIPPED = 0.6
_LARGEST_BRAIN_ML = 2400.0

# A region whose measured or expected Dice is lower is not to be relied on; two readers of a tumour agree at about 0.8.
_TRUSTED_DICE = 0.6


def cautions(
    case: Case, description: Description, prepared: Prepared, labels: np.ndarray, confidence: Mapping[str, float]
) -> list[str]:
    """Sentences about the images, the result (``labels`` on the reference grid) and the model, in this order."""
    return [
        *_about_images(case, description, prepared),
        *(_about_doubt(confidence) if labels.any() else ["No tumour was found."]),
        *_about_regions(description),
        *_about_missing(case, description),
    ]


def _about_images(case: Case, description: Description, prepared: Prepared) -> list[str]:
    if description.preprocessing.normalisation != "zscore":  # it was made for heads as scanned
        return []
    reference = case.reference_volume
    filled = np.count_nonzero(reference.array)
    if filled > _FILLED_IF_NOT_STRIPPED * reference.array.size or filled * reference.voxel_volume > (
        _LARGEST_BRAIN_ML * 1000
    ):
        return ["The images do not look skull-stripped; the model was trained on skull-stripped ones."]
    voxel = math.prod(prepared.grid.spacing)
    if description.preprocessing.orientation == "LPS" and looks_turned(prepared.array, voxel):
        return ["By its outline the brain does not lie as the headers say: check the orientation of the images."]
    looks = mistaken(prepared.array, description.modalities, voxel)
    if not looks:
        return []
    given, alike = (", ".join(TITLES[name] for name in names) for names in (looks, looks.values()))
    return [f"The images given as {given} look like {alike}: check whether they were exchanged."]


def _about_doubt(confidence: Mapping[str, float]) -> list[str]:
    unsure = [f"{region} (expected Dice {value:.2f})" for region, value in confidence.items() if value < _TRUSTED_DICE]
    return [f"The model is unsure of {listed(unsure)}: look at it closely."] if unsure else []


def _about_regions(description: Description) -> list[str]:
    unknown = [region for region in REGIONS if region not in description.regions]
    if not unknown:
        return []
    written = "all of the tumour is written as label 2"
    if len(unknown) == 1:
        written = "its voxels carry the label of the region around it"
    return [f"This model does not know {listed(unknown)}; {written}."]


def _about_missing(case: Case, description: Description) -> list[str]:
    """What to expect where sequences that the model could have used were not given."""
    missing = [TITLES[name] for name in description.optional_modalities if name not in case.images]
    if not missing:
        return []
    told = f"{listed(missing)} {'was' if len(missing) == 1 else 'were'} not given"
    measured = description.accuracy_with(case.images)
    if measured is None:
        return [f"{told}; expect a less accurate result."]
    figures = ", ".join(f"{region} {value:.2f}" for region, value in measured.values.items())
    found = [f"{told}; with what was given, Dice was {figures} on {measured.cases} validation patients."]
    doubtful = [region for region, value in measured.values.items() if value < _TRUSTED_DICE]
    if doubtful:
        found.append(f"Do not rely on {listed(doubtful)}: too little of it shows in the images that were given.")
    return found
