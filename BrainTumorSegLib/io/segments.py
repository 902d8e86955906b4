"""Segments by their names, as 3D Slicer and DICOM segmentations hold them: which region or tissue each speaks of."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..domain.errors import InputError
from ..domain.labels import REGIONS, TISSUES, from_masks
from .evidence import shown

# Characters of a name that can be known; names that a message gives.
_LONGEST_NAME, _SHOWN = 200, 10
# What is in no region (BraTS 2024).
_CAVITY = "cavity"
# Words that a name may have or lack, after it was brought to one spelling.
_IDLE = re.compile(r"(tumor|region|area|segment|label|mask|tissue)")
# Names that segments have beside the regions' and tissues' own, by :func:`_spelt`.
_OTHERS = {
    "ET": ("enhancing", "enhancinglesion", "enhancement", "active", "gdenhancing", "contrastenhancing"),
    "TC": ("core", "grosscore"),
    "WT": ("tumor", "whole", "lesion", "complete"),
    "NCR": (
        *("necrosis", "necrotic", "necroticcore", "nonenhancing", "nonenhancingcore", "netc", "net", "ncrnet"),
        *("necroticnonenhancing", "necroticnonenhancingcore", "necroticandnonenhancing", "nonenhancingandnecroticcore"),
    ),
    "ED": (
        *("edema", "peritumoraledema", "peritumoral", "snfh", "invaded", "peritumoraledemainvaded", "vasogenicedema"),
        *("surroundingnonenhancingflairhyperintensity", "flairhyperintensity"),
    ),
    _CAVITY: ("rc", "cavity", "resectioncavity", "background"),
}


def _spelt(text: str) -> str:
    """A name in one spelling: American, letters alone, without words that tell nothing."""
    letters = re.sub(r"[^a-z]", "", text.lower().replace("tumour", "tumor").replace("oedema", "edema"))
    telling = _IDLE.sub("", letters.replace("peritumor", "peri"))  # "peritumoral" is no "tumor"
    return telling.replace("peri", "peritumor") or ("tumor" if "tumor" in letters else letters)


_NAMES = {
    **{_spelt(name): name for name in (*REGIONS, *TISSUES)},
    **{_spelt(known.title): name for name, known in (*TISSUES.items(), *REGIONS.items())},
    **{name: meaning for meaning, names in _OTHERS.items() for name in names},
}


def label_map(
    path: Path, masks: Mapping[str, np.ndarray], unknown: Sequence[str], names: Sequence[str], convention: str
) -> np.ndarray:
    """One label map of segments that may overlap.

    Args:
        path: of the segmentation, for messages.
        masks: what :func:`known_name` says → bool ``(Z, Y, X)``.
        unknown: names of segments with voxels that speak of nothing known.
        names: of all segments.
        convention: ``whole`` takes the whole tumour alone; every other name leaves the word to the segments' names.

    Raises:
        InputError: a segment is no part of a tumour that is known here, or the whole tumour is there alone and that was
            not said: ET and TC would count as missed.
    """
    masks = {name: mask for name, mask in masks.items() if name != _CAVITY}
    if unknown or not masks:  # a part of the tumour left out would be a wrong figure that nobody sees
        strange = ", ".join(map(shown, (unknown or names)[:_SHOWN]))
        raise InputError(
            f"{path} has segments that are not called ET, TC, WT, NCR or ED: {strange}.",
            "Rename them in 3D Slicer, or remove those that are no part of the tumour.",
        )
    if set(masks) == {"WT"} and convention != "whole":
        raise InputError(
            f"{path} has a segment of the whole tumour alone.",
            "Name the label convention whole, which leaves ET and TC out, or add their segments.",
        )
    return from_masks(masks)


def known_name(text: str) -> str | None:
    """The region or tissue that a segment's name speaks of; what stands in brackets may repeat it."""
    if len(text) > _LONGEST_NAME:
        return None
    outside, inside = re.sub(r"\(.*?\)", "", text), " ".join(re.findall(r"\((.*?)\)", text))
    found = [_NAMES.get(_spelt(part)) for part in (text, outside, inside) if re.search("[A-Za-z]", part)]
    return next((name for name in found if name), None)
