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
# Names that segments have beside the regions' and tissues' own, without case, spaces and hyphens.
_NAMES = {
    **{name.lower(): name for name in (*REGIONS, *TISSUES)},
    **{re.sub(r"[^a-z]", "", tissue.title.lower()): name for name, tissue in TISSUES.items()},
    **{re.sub(r"[^a-z]", "", region.title.lower()): name for name, region in REGIONS.items()},
    **dict.fromkeys(("enhancing", "enhancingtumor", "enhancinglesion", "activetumor"), "ET"),
    **dict.fromkeys(("tumorcore", "core"), "TC"),
    **dict.fromkeys(("wholetumor", "tumor", "tumour", "lesion"), "WT"),
    **dict.fromkeys(("necrosis", "necroticcore", "nonenhancing", "nonenhancingcore", "nonenhancingtumor"), "NCR"),
    **dict.fromkeys(("edema", "oedema", "peritumoraledema", "peritumoraloedema"), "ED"),
}


def names_segments(path: Path) -> bool:
    """Whether a NRRD file names segments in its header."""
    with path.open("rb") as file:
        header = file.read(1 << 16).split(b"\n\n", 1)[0]
    return re.search(rb"^Segment\d+_", header, re.MULTILINE) is not None


def read(path: Path) -> Volume:
    """The label map of a segmentation, on its own box of voxels.

    Raises:
        InputError: it cannot be read, or its segments are not those of a tumour.
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
    space = image if image.GetDimension() == 3 else image[:, :, :, 0]
    return Volume(from_masks(masks), affine_of(space), str(path))


def _masks(path: Path, layers: np.ndarray, header: dict[str, str]) -> dict[str, np.ndarray]:
    """Region or tissue → mask."""
    segments: dict[str, dict[str, str]] = {}
    for key, text in header.items():
        if found := _KEY.match(key):
            segments.setdefault(found[1], {})[found[2]] = text
    masks: dict[str, np.ndarray] = {}
    try:
        for number, segment in segments.items():
            name = known_name(segment.get("Name", "")) or known_name(segment.get("ID", ""))
            if name is None:
                continue
            layer = layers[int(segment.get("Layer", 0))]
            value = int(segment.get("LabelValue", int(number) + 1))
            masks[name] = masks.get(name, np.zeros(layer.shape, bool)) | (layer == value)
    except (IndexError, ValueError) as error:
        raise InputError(f"{path} has a damaged header ({error}).", "Save it again in 3D Slicer.") from error
    if not masks:
        names = ", ".join(segment.get("Name", "?") for segment in segments.values())
        raise InputError(
            f"{path} has no segment called ET, TC, WT, NCR or ED (it has {names}).", "Rename its segments in 3D Slicer."
        )
    return masks


def known_name(text: str) -> str | None:
    """The region or tissue that a segment's name speaks of."""
    return _NAMES.get(re.sub(r"[^a-z]", "", text.lower()))
