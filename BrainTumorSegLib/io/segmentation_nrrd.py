"""Segmentations of 3D Slicer (``.seg.nrrd``): segments by their names, values and layers.

Slicer writes a label map (or several layers of them, where segments overlap) of the box around the segments, and names
each segment in the header: ``SegmentN_Name``, ``SegmentN_LabelValue``, ``SegmentN_Layer``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..domain.errors import InputError
from ..domain.labels import REGIONS, TISSUES, from_masks
from ..domain.volume import Volume
from . import nrrd
from .evidence import shown

_KEY = re.compile(r"Segment(\d+)_(Name|ID|LabelValue|Layer)$")
# Characters of a name that can be known; names that a message gives.
_LONGEST_NAME, _SHOWN = 200, 10
_DAMAGED = "Its header is damaged; save it again in 3D Slicer."
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


def names_segments(path: Path) -> bool:
    """Whether a NRRD file names segments in its header."""
    with path.open("rb") as file:
        return any(_KEY.match(key) for key in nrrd.read_header(file, path).keys)


def read(path: Path, convention: str = "auto") -> Volume:
    """The label map of a segmentation, on its own box of voxels.

    Args:
        path: file to read.
        convention: ``whole`` takes the whole tumour alone; every other name leaves the word to the segments' names.

    Raises:
        InputError: it cannot be read, a segment is no part of a tumour that is known here, or it has the whole tumour
            alone and that was not said: ET and TC would count as missed.
    """
    pixels, keys = nrrd.read(path)
    masks = _masks(path, pixels.array if pixels.array.ndim == 4 else pixels.array[None], keys)
    if set(masks) == {"WT"} and convention != "whole":
        raise InputError(
            f"{path} has a segment of the whole tumour alone.",
            "Name the label convention whole, which leaves ET and TC out, or add their segments.",
        )
    return Volume(from_masks(masks), pixels.affine, str(path))


def _masks(path: Path, layers: np.ndarray, header: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Region or tissue → mask."""
    segments: dict[str, dict[str, str]] = {}
    for key, text in header.items():
        if found := _KEY.match(key):
            segments.setdefault(found[1], {})[found[2]] = text
    values: dict[tuple[str, int], list[int]] = {}  # name and layer → its values: one look at the voxels for each
    strange: list[tuple[str, int, int]] = []
    for number, segment in segments.items():
        name = known_name(segment.get("Name", "")) or known_name(segment.get("ID", ""))
        layer = _whole(path, segment.get("Layer", "0"))
        value = _whole(path, segment["LabelValue"]) if "LabelValue" in segment else _whole(path, number) + 1
        if layer >= len(layers):
            raise InputError(f"{path} has {len(layers)} layers, and a segment in layer {layer}.", _DAMAGED)
        if name is not None:
            values.setdefault((name, layer), []).append(value)
        else:
            strange.append((segment.get("Name") or segment.get("ID", "?"), layer, value))
    masks: dict[str, np.ndarray] = {}
    for (name, layer), those in values.items():
        mask = np.isin(layers[layer], those) if len(those) > 1 else layers[layer] == those[0]
        masks[name] = masks[name] | mask if name in masks else mask
    present = {layer: set(np.unique(layers[layer]).tolist()) for layer in {layer for _, layer, _ in strange}}
    unknown = [name for name, layer, value in strange if value in present[layer]]
    masks.pop(_CAVITY, None)
    if unknown or not masks:  # a part of the tumour left out would be a wrong figure that nobody sees
        names = unknown or [segment.get("Name", "?") for segment in segments.values()]
        raise InputError(
            f"{path} has segments that are not called ET, TC, WT, NCR or ED: {', '.join(map(shown, names[:_SHOWN]))}.",
            "Rename them in 3D Slicer, or remove those that are no part of the tumour.",
        )
    return masks


def _whole(path: Path, text: str) -> int:
    """A number that a header states of a segment."""
    if not re.fullmatch(r"\d{1,9}", text):
        raise InputError(f"{path} has {shown(text)} where the number of a segment is due.", _DAMAGED)
    return int(text)


def known_name(text: str) -> str | None:
    """The region or tissue that a segment's name speaks of; what stands in brackets may repeat it."""
    if len(text) > _LONGEST_NAME:
        return None
    outside, inside = re.sub(r"\(.*?\)", "", text), " ".join(re.findall(r"\((.*?)\)", text))
    found = [_NAMES.get(_spelt(part)) for part in (text, outside, inside) if re.search("[A-Za-z]", part)]
    return next((name for name in found if name), None)
