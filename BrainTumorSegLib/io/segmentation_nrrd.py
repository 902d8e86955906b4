"""Segmentations of 3D Slicer (``.seg.nrrd``): segments by their names, values and layers.

Slicer writes a label map (or several layers of them, where segments overlap) of the box around the segments, and names
each segment in the header: ``SegmentN_Name``, ``SegmentN_LabelValue``, ``SegmentN_Layer``.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from ..domain.errors import InputError
from ..domain.labels import REGIONS, TISSUES, from_masks
from ..domain.volume import Volume
from .formats import unreadable
from .itk import affine_of

_KEY = re.compile(r"Segment(\d+)_(Name|ID|LabelValue|Layer)$")
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
        header = file.read(1 << 16).split(b"\n\n", 1)[0]
    return re.search(rb"^Segment\d+_", header, re.MULTILINE) is not None


def read(path: Path, convention: str = "auto") -> Volume:
    """The label map of a segmentation, on its own box of voxels.

    Args:
        path: file to read.
        convention: ``whole`` takes the whole tumour alone; every other name leaves the word to the segments' names.

    Raises:
        InputError: it cannot be read, a segment is no part of a tumour that is known here, or it has the whole tumour
            alone and that was not said: ET and TC would count as missed.
    """
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(path), imageIO="NrrdImageIO")
    except RuntimeError as error:
        raise unreadable(path, error, "Save it again.") from error
    array = sitk.GetArrayFromImage(image)
    layers = np.moveaxis(array, -1, 0) if image.GetNumberOfComponentsPerPixel() > 1 else array
    layers = layers if layers.ndim == 4 else layers[None]
    masks = _masks(path, layers, {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()})
    if set(masks) == {"WT"} and convention != "whole":
        raise InputError(
            f"{path} has a segment of the whole tumour alone.",
            "Name the label convention whole, which leaves ET and TC out, or add their segments.",
        )
    space = image if image.GetDimension() == 3 else image[:, :, :, 0]
    return Volume(from_masks(masks), affine_of(space), str(path))


def _masks(path: Path, layers: np.ndarray, header: dict[str, str]) -> dict[str, np.ndarray]:
    """Region or tissue → mask."""
    segments: dict[str, dict[str, str]] = {}
    for key, text in header.items():
        if found := _KEY.match(key):
            segments.setdefault(found[1], {})[found[2]] = text
    masks: dict[str, np.ndarray] = {}
    unknown: list[str] = []
    try:
        for number, segment in segments.items():
            name = known_name(segment.get("Name", "")) or known_name(segment.get("ID", ""))
            layer = layers[int(segment.get("Layer", 0))]
            mask = layer == int(segment.get("LabelValue", int(number) + 1))
            if name is not None:
                masks[name] = masks.get(name, np.zeros(layer.shape, bool)) | mask
            elif mask.any():
                unknown.append(segment.get("Name") or segment.get("ID", "?"))
    except (IndexError, ValueError) as error:
        raise InputError(f"{path} has a damaged header ({error}).", "Save it again in 3D Slicer.") from error
    masks.pop(_CAVITY, None)
    if unknown or not masks:  # a part of the tumour left out would be a wrong figure that nobody sees
        names = ", ".join(unknown or (segment.get("Name", "?") for segment in segments.values()))
        raise InputError(
            f"{path} has segments that are not called ET, TC, WT, NCR or ED: {names}.",
            "Rename them in 3D Slicer, or remove those that are no part of the tumour.",
        )
    return masks


def known_name(text: str) -> str | None:
    """The region or tissue that a segment's name speaks of; what stands in brackets may repeat it."""
    outside, inside = re.sub(r"\(.*?\)", "", text), " ".join(re.findall(r"\((.*?)\)", text))
    found = [_NAMES.get(_spelt(part)) for part in (text, outside, inside) if re.search("[A-Za-z]", part)]
    return next((name for name in found if name), None)
