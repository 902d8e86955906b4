"""A segmentation as it is: its segments measured one by one, whether they lie within each other, what its run said."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.labels import REGIONS, from_masks, to_regions
from BrainTumorSegLib.domain.measurements import RegionMeasurement, measure, measure_masks
from BrainTumorSegLib.io import mrml

from .lesions import Lesions, find_lesions
from .wording import panel_words


@dataclass(frozen=True)
class Examined:
    """What is known of a segmentation.

    Attributes:
        sizes: region or tissue class → its sizes, in the order in which they are listed.
        colours: name → colour of its segment, 0 to 255; those that have one.
        lesions: of the whole tumour.
        expected_dice: region → what the model expects of it; none where the segments were edited since.
        warnings: what the run said, and what has become of its segments since.
        is_nested: whether ET lies within TC, and TC within WT.
        digest: of the voxels.
    """

    sizes: Mapping[str, RegionMeasurement] = field(default_factory=dict)
    colours: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    lesions: Lesions = field(default_factory=Lesions)
    expected_dice: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    is_nested: bool = True
    digest: str = ""


def examine(node: Any) -> Examined:
    """Measure the segments of a segmentation node, each as it is.

    Raises:
        InputError, GeometryError: they cannot be read.
    """
    masks, affine = mrml.masks_of(node)
    listed = _listed(node, masks)
    digest = mrml.fingerprint(node)
    stored = node.GetAttribute(f"{mrml.ATTRIBUTE}fingerprint")
    untouched = stored == digest
    provenance = mrml.provenance_of(node)
    outside = _outside(masks, abs(float(np.linalg.det(affine[:3, :3]))) / 1000)
    said = provenance.get("warnings")
    warnings = [panel_words(line) for line in said if isinstance(line, str)] if isinstance(said, list) else []
    if stored and not untouched:
        warnings.append(_("The segments were edited since the run: its expected Dice holds no more."))
    return Examined(
        sizes=measure_masks(listed, affine),
        colours=colours_of(node),
        lesions=find_lesions(listed["WT"] if "WT" in listed else np.any(list(listed.values()), axis=0), affine),
        expected_dice=_expected(provenance) if untouched else {},
        warnings=(*warnings, *outside),
        is_nested=not outside,
        digest=digest,
    )


def sizes_of(node: Any) -> dict[str, RegionMeasurement]:
    """The sizes alone; also of a label volume node."""
    if not node.IsA("vtkMRMLSegmentationNode"):
        return measure(mrml.labels_of(node))
    masks, affine = mrml.masks_of(node)
    return measure_masks(_listed(node, masks), affine)


def _listed(node: Any, masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The regions, those without a segment of their own composed; tissue classes and a model's own where there are."""
    known = mrml.known_regions(node) if set(masks) & set(mrml.STYLES) else ()  # of a model with its own alone
    missing = [name for name in known if name not in masks]
    composed = to_regions(from_masks(masks)) if missing else {}
    regions = {name: masks[name] if name in masks else composed[name] for name in REGIONS if name in known}
    return regions | {name: mask for name, mask in masks.items() if name not in REGIONS}


def colours_of(node: Any) -> dict[str, tuple[int, int, int]]:
    """Name → colour of its segment, 0 to 255."""
    segmentation = node.GetSegmentation()
    found = {}
    for name, identifier in mrml.segment_ids(node).items():
        red, green, blue = (round(255 * part) for part in segmentation.GetSegment(identifier).GetColor())
        found[name] = (red, green, blue)
    return found


def _expected(provenance: Mapping[str, Any]) -> dict[str, float]:
    given = provenance.get("confidence")
    values = given.items() if isinstance(given, dict) else ()
    return {str(name): float(v) for name, v in values if isinstance(v, int | float) and math.isfinite(v)}


def _pairs(masks: Mapping[str, np.ndarray]) -> list[tuple[str, str]]:
    """Inner and outer regions that follow each other."""
    return list(itertools.pairwise(name for name in REGIONS if name in masks))


def _outside(masks: Mapping[str, np.ndarray], voxel_ml: float) -> list[str]:
    """Sentences that a region does not lie within the next."""
    found = []
    for inner, outer in _pairs(masks):
        count = int(np.count_nonzero(masks[inner] & ~masks[outer]))
        if count:
            volume = count * voxel_ml
            found.append(
                _("{volume:.2f} mL of {inner} lie outside {outer}.").format(volume=volume, inner=inner, outer=outer)
            )
    return found


def nest(node: Any) -> None:
    """Let each region take in what belongs within it and lies outside."""
    masks, _affine = mrml.masks_of(node)
    for inner, outer in _pairs(masks):
        if (masks[inner] & ~masks[outer]).any():
            masks[outer] = masks[outer] | masks[inner]
            mrml.replace_mask(node, outer, masks[outer])
