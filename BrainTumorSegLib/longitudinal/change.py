"""What changed between two examinations: sizes, what is new, gone or kept, lesions, and what the change is called."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..domain.errors import RequestError
from ..domain.grid import Grid, reorient
from ..domain.json_values import finite
from ..domain.labels import to_regions
from ..domain.measurements import RegionMeasurement, measure
from ..domain.modalities import listed
from ..domain.progress import Progress
from ..domain.result_record import USE
from ..domain.volume import Volume, bounding_box
from ..io.outputs import same_place
from ..preprocessing.brain_extraction import size_ml
from .rano import PRODUCTS, UNMEASURABLE, VOLUMES, response, sum_of_products
from .timepoints import Overlaid, TimePoint, overlay

SCHEMA = 1
# By which the JSON of a comparison is known.
JSON_KEYS = frozenset(("kind", "earlier", "later", "regions"))
# Pieces up to this volume are no lesions, as BraTS counts them; what lies nearer than the second is the same one:
# registration and outlines are off by as much.
SMALLEST_MM3, _SAME_MM = 50.0, 3.0
# Of a region of which less is expected the outline may be off by more than what changed.
_UNSURE_DICE = 0.7
# Slices that differ by this factor cut a tumour so differently that its size changes by that alone.
_OTHER_SLICES = 2.0
DAYS_A_YEAR = 365.25
# Regions whose response RANO knows; what does not enhance may respond a little.
MINOR = {"ET": False, "WT": True}


@dataclass(frozen=True)
class Lesions:
    """How many lesions there are in both examinations, in the later and in the earlier one alone."""

    kept: int
    new: int
    gone: int


@dataclass(frozen=True)
class RegionChange:
    """How a region changed.

    Attributes:
        earlier, later: its sizes.
        products_mm2: earlier and later, see :func:`.sum_of_products`.
        kept_ml, new_ml, gone_ml: what lies in both, in the later, in the earlier one alone, where both images show
            something; NaN where they were not registered.
        lesions: the same in lesions; None where they were not.
        growth_mm_a_year: of the diameter of a ball of its volume (Mandonnet 2003, doi 10.1002/ana.10528); NaN where the
            time between is not known, or a volume is 0.
        by_volume, by_diameters: what RANO calls the change by size alone; empty for regions that it does not know.
    """

    earlier: RegionMeasurement
    later: RegionMeasurement
    products_mm2: tuple[float, float]
    kept_ml: float = math.nan
    new_ml: float = math.nan
    gone_ml: float = math.nan
    lesions: Lesions | None = None
    growth_mm_a_year: float = math.nan
    by_volume: str = ""
    by_diameters: str = ""

    @property
    def change_ml(self) -> float:
        """Later less earlier."""
        return self.later.volume_ml - self.earlier.volume_ml

    @property
    def change_share(self) -> float:
        """Of the earlier volume, growth is positive; NaN where that was 0."""
        return self.change_ml / self.earlier.volume_ml if self.earlier.volume_ml else math.nan

    def as_json(self) -> dict[str, Any]:
        """Plain values; numbers to three decimals, null for undefined ones."""
        sizes = (
            {**dataclasses.asdict(size), "sum_of_products_mm2": product}
            for size, product in zip((self.earlier, self.later), self.products_mm2, strict=True)
        )
        earlier, later = (finite(size) for size in sizes)
        names = ("change_ml", "change_share", "kept_ml", "new_ml", "gone_ml", "growth_mm_a_year")
        return {
            "earlier": earlier,
            "later": later,
            **finite({name: getattr(self, name) for name in names}),
            "lesions": dataclasses.asdict(self.lesions) if self.lesions else None,
            "response": {"by_volume": self.by_volume or None, "by_diameters": self.by_diameters or None},
        }


@dataclass(frozen=True)
class Change:
    """All that is known of the change between two examinations.

    Attributes:
        earlier, later: the examinations.
        regions: region → its change, for those that both know.
        days: between them; None where that is not known.
        overlaid: the earlier one in the later one's space; None where the images were not registered.
        warnings: sentences that a reader must see.
    """

    earlier: TimePoint
    later: TimePoint
    regions: Mapping[str, RegionChange]
    days: int | None = None
    overlaid: Overlaid | None = None
    warnings: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "schema": SCHEMA,
            "kind": "change",
            "earlier": about(self.earlier),
            "later": about(self.later),
            "days": self.days,
            "registration": dataclasses.asdict(self.overlaid.move.as_motion()) if self.overlaid else None,
            "regions": {name: change.as_json() for name, change in self.regions.items()},
            "warnings": list(self.warnings),
            "use": USE,
        }


def compare(earlier: TimePoint, later: TimePoint, days: int | None = None, progress: Progress | None = None) -> Change:
    """How a tumour changed.

    Args:
        earlier: an examination of a patient.
        later: another one of the same patient.
        days: between them; by default as their DICOM series have it.
        progress: hears how far it is; ends it when cancelled.

    Raises:
        RequestError: they are one file, or of one image, have no region in common, or the later one is not later.
        GeometryError: the images are not of one head.
        InputError: one shows a head without a brain.
        CancelledError: cancelled through ``progress``.
    """
    if earlier.file.resolve() == later.file.resolve():
        raise RequestError(f"{later.file} was given twice.", "Give the results of two examinations.")
    on = [Path(point.image.source) for point in (earlier, later) if point.image]
    if len(on) == 2 and os.path.exists(on[1]) and same_place(*on):  # noqa: PTH110 - long names
        raise RequestError(
            f"Both results are of {on[1]}.",
            "Name the image of each examination; two results of one image are compared by evaluate.",
        )
    if days is None and earlier.day and later.day and earlier.day != later.day:
        days = (later.day - earlier.day).days
    if days is not None and days < 1:
        raise RequestError(f"{days} days between the examinations are not possible.", "Give the earlier one first.")
    names = [name for name in earlier.regions if name in later.regions]
    if not names:
        raise RequestError(
            f"{earlier.file} and {later.file} have no region in common.", "Segment both with the same model."
        )
    overlaid = overlay(earlier, later, progress)
    before, after = (measure(point.labels, tuple(names)) for point in (earlier, later))
    products = [_products(point.labels) for point in (earlier, later)]
    masks, regions = to_regions(later.labels.array), {}
    for name in names:
        found = RegionChange(before[name], after[name], (products[0][name], products[1][name]))
        found = dataclasses.replace(found, growth_mm_a_year=_growth(found, days))
        found = _called(found, name, sum(overlaid.unseen_ml[name]) if overlaid else 0.0)
        if overlaid:
            found = _followed(found, overlaid.masks[name], masks[name] & overlaid.seen, later.labels)
        regions[name] = found
    of_one = [f"The {when} result: {doubt}" for when, point in (("earlier", earlier), ("later", later))
              for doubt in doubts(point, names)]  # fmt: skip
    of_both = of_pair(earlier, later, names, overlaid)
    return Change(earlier, later, regions, days, overlaid, (*of_both, *of_one))


def _products(labels: Volume) -> dict[str, float]:
    """Region → sum of products of diameters in axial slices, however the image was acquired."""
    turned, spacing = reorient(labels.array, labels.affine, "LPS"), Grid.of(labels).oriented("LPS").spacing
    return {name: sum_of_products(mask, spacing) for name, mask in to_regions(turned).items()}


def _called(change: RegionChange, name: str, unseen_ml: float) -> RegionChange:
    """The same with what RANO calls it; nothing where a lesion's worth of it lies outside one of the images."""
    if unseen_ml * 1000 > SMALLEST_MM3:  # what is left out in one of them has not shrunk or grown
        unknown = UNMEASURABLE if name in MINOR else ""
        return dataclasses.replace(change, growth_mm_a_year=math.nan, by_volume=unknown, by_diameters=unknown)
    if name not in MINOR:
        return change
    volumes = change.earlier.volume_ml, change.later.volume_ml
    there = volumes[0] > 0, volumes[1] > 0
    return dataclasses.replace(
        change,
        by_volume=response(*volumes, VOLUMES, minor=MINOR[name]),
        by_diameters=response(*change.products_mm2, PRODUCTS, minor=MINOR[name], there=there),
    )


def _growth(change: RegionChange, days: int | None) -> float:
    if not days or not change.earlier.volume_ml or not change.later.volume_ml:
        return math.nan
    before, after = (ball_diameter(size.volume_ml) for size in (change.earlier, change.later))
    return (after - before) / days * DAYS_A_YEAR


def ball_diameter(volume_ml: float) -> float:
    """Of a ball of that volume, in mm."""
    return float((6 * 1000 * volume_ml / math.pi) ** (1 / 3))


def _followed(change: RegionChange, before: np.ndarray, after: np.ndarray, labels: Volume) -> RegionChange:
    """The same with what is in both examinations, and what in one alone, in millilitres and in lesions."""
    margin = [math.ceil(_SAME_MM / mm) for mm in labels.spacing]
    box = bounding_box(before | after, margin)
    before, after = before[box], after[box]
    kept, new, gone = (size_ml(mask, labels) for mask in (before & after, after & ~before, before & ~after))
    lesions = _lesions(before, after, labels)
    return dataclasses.replace(change, kept_ml=kept, new_ml=new, gone_ml=gone, lesions=lesions)


def _lesions(before: np.ndarray, after: np.ndarray, labels: Volume) -> Lesions:
    """Lesions of each mask, and of which something of the other lies near."""
    (earlier, left), (later, kept) = _met(before, after, labels), _met(after, before, labels)
    return Lesions(kept, later - kept, earlier - left)


def _met(mask: np.ndarray, other: np.ndarray, labels: Volume) -> tuple[int, int]:
    """How many lesions a mask has, and how many of them lie near the other mask."""
    from scipy import ndimage

    pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
    large = np.bincount(pieces.ravel(), minlength=count + 1) * labels.voxel_volume > SMALLEST_MM3
    large[0] = False
    near = np.zeros(count + 1, dtype=bool)
    if other.any():
        distance = ndimage.distance_transform_edt(~other, sampling=labels.spacing)
        near[np.unique(pieces[distance <= _SAME_MM])] = True
    return int(large.sum()), int((large & near).sum())


def about(point: TimePoint) -> dict[str, Any]:
    """Which examination it is."""
    record = point.record
    model = record.provenance.model if record else None
    return {
        "case": point.case,
        "file": str(point.file),
        "image": point.image.source if point.image else None,
        "model": {"id": model.id, "version": model.version, "sha256": model.sha256} if model else None,
    }


def of_pair(earlier: TimePoint, later: TimePoint, names: Sequence[str], overlaid: Overlaid | None) -> list[str]:
    """What a reader of the change must know of the two together."""
    found = list(overlaid.warnings) if overlaid else []
    bare = [str(point.file) for point in (earlier, later) if point.image is None]
    if bare:
        found.append(
            f"No image is known for {listed(bare)}, so the examinations were not registered: sizes are compared,"
            " lesions are not followed. Name the images to have that."
        )
    unseen = {name: sum(overlaid.unseen_ml[name]) for name in names} if overlaid else {}
    if sizes := ", ".join(f"{name} {ml:.1f} mL" for name, ml in unseen.items() if ml * 1000 > SMALLEST_MM3):
        found.append(
            f"The two images do not show the same part of the head: {sizes} of one lie outside the other. Lesions are"
            " followed where both show something, and what RANO would say is left out."
        )
    if unknown := [name for name in dict.fromkeys((*earlier.regions, *later.regions)) if name not in names]:
        found.append(f"{listed(unknown)} is not compared: one of the results does not tell it.")
    models = [point.record.provenance.model if point.record else None for point in (earlier, later)]
    if models[0] != models[1]:
        titles = [f"{model.id} {model.version}".strip() if model else "" for model in models]
        titles = [title or "a program unknown here" for title in titles]
        found.append(f"The results are of {titles[0]} and of {titles[1]}: part of the change may be theirs.")
    steps = [point.labels.spacing for point in (earlier, later)]
    if max(max(a / b, b / a) for a, b in zip(*map(sorted, steps), strict=True)) > _OTHER_SLICES:
        words = ["×".join(f"{mm:.2g}" for mm in step[::-1]) for step in steps]
        found.append(f"Voxels measure {words[0]} mm and {words[1]} mm: part of the change may come from that.")
    return found


def doubts(point: TimePoint, names: Sequence[str]) -> list[str]:
    """What a reader of a comparison must know of one examination."""
    if not point.record:
        return []
    unsure = [name for name in names if point.record.confidence.get(name, 1.0) < _UNSURE_DICE]
    found = [f"The expected Dice of {listed(unsure)} is below {_UNSURE_DICE}: look at it."] if unsure else []
    return [*found, *point.record.warnings]
