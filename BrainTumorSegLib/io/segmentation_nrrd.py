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
from ..domain.volume import Volume
from . import nrrd
from .evidence import shown
from .segments import known_name, label_map

_KEY = re.compile(r"Segment(\d+)_(Name|ID|LabelValue|Layer)$")
_DAMAGED = "Its header is damaged; save it again in 3D Slicer."


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
    layers = pixels.array if pixels.array.ndim == 4 else pixels.array[None]
    return Volume(label_map(path, *_masks(path, layers, keys), convention), pixels.affine, str(path))


def _masks(
    path: Path, layers: np.ndarray, header: Mapping[str, str]
) -> tuple[dict[str, np.ndarray], list[str], list[str]]:
    """Region or tissue → mask; names that are not known, of segments with voxels; all names."""
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
    return masks, unknown, [segment.get("Name", "?") for segment in segments.values()]


def _whole(path: Path, text: str) -> int:
    """A number that a header states of a segment."""
    if not re.fullmatch(r"\d{1,9}", text):
        raise InputError(f"{path} has {shown(text)} where the number of a segment is due.", _DAMAGED)
    return int(text)
