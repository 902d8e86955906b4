"""What is measured: one entry a measure, with what it is for tables and reports and how it is had from two masks.

A new measure is a function or property of its own (in a file of this folder) and one entry of :data:`MEASURES`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...domain.errors import RequestError
from .masks import MaskPair

Of = Callable[[MaskPair], float]


@dataclass(frozen=True)
class Measure:
    """A measure of agreement between a predicted and a reference mask.

    Attributes:
        name: key in results, column name in tables.
        title: short name for people.
        about: what it is, in half a sentence.
        of: its value for two masks of a region; where a mask is empty, only if ``family`` is empty. None for a measure
            of all regions together.
        unit: ``mm``, ``ml``, ``%``, or empty for fractions and counts.
        better: ``higher``, ``lower``, or ``zero`` for signed errors.
        low, high: smallest and largest possible value (infinite where there is none).
        family: which rule of an :class:`~.policy.EmptyPolicy` decides where a mask is empty; empty for
            measures that are defined everywhere.
        digits: decimals in tables.
    """

    name: str
    title: str
    about: str
    of: Of | None
    unit: str = ""
    better: str = "higher"
    low: float = 0.0
    high: float = 1.0
    family: str = ""
    digits: int = 4

    @property
    def label(self) -> str:
        """Title with its unit, such as ``HD95 (mm)``."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def counts(self) -> bool:
        """Whether the values are whole numbers of lesions."""
        return self.digits == 0


def _distance(name: str, title: str, about: str, of: Of) -> Measure:
    return Measure(name, title, about, of, "mm", "lower", high=math.inf, family="distance", digits=2)


def _lesions(name: str, title: str, about: str, of: Of, better: str = "lower") -> Measure:
    return Measure(name, title, about, of, better=better, high=math.inf, digits=0)


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure(
            "dice", "Dice", "overlap, twice the common volume over the sum of both",
            lambda pair: pair.counts.dice, family="overlap",
        ),
        Measure(
            "iou", "IoU", "intersection over union (Jaccard)",
            lambda pair: pair.counts.iou, family="overlap",
        ),
        Measure(
            "sensitivity", "Sensitivity", "share of the reference that was found (recall)",
            lambda pair: pair.counts.sensitivity, family="sensitivity",
        ),
        Measure(
            "specificity", "Specificity", "share of the background that was left alone",
            lambda pair: pair.counts.specificity,
        ),
        Measure(
            "precision", "Precision", "share of the prediction that is right",
            lambda pair: pair.counts.precision, family="precision",
        ),
        Measure("accuracy", "Accuracy", "share of all voxels that are right", lambda pair: pair.counts.accuracy),
        _distance("hd95", "HD95", "Hausdorff distance without the worst 5 %", lambda pair: pair.hd95),
        _distance(
            "hd", "HD", "Hausdorff distance, the largest between the surfaces", lambda pair: pair.surfaces.hd
        ),
        _distance(
            "assd", "ASSD", "average symmetric surface distance, over both surfaces' voxels",
            lambda pair: pair.surfaces.assd,
        ),
        _distance(
            "masd", "MASD", "mean of the two directed average surface distances", lambda pair: pair.surfaces.masd
        ),
        Measure(
            "surface_dice", "Surface Dice", "share of both surfaces within a tolerance",
            lambda pair: pair.surfels.surface_dice(pair.tolerance), family="overlap",
        ),
        Measure(
            "volume_error", "Volume error", "prediction minus reference",
            lambda pair: pair.volume_error, "mL", "zero", -math.inf, math.inf, digits=2,
        ),
        Measure(
            "relative_volume_error", "Rel. volume error", "volume error over the reference's volume",
            lambda pair: pair.counts.relative_volume_error, "%", "zero", -100.0, math.inf, digits=1,
        ),
        Measure(
            "lesion_dice", "Lesion Dice", "mean Dice of the lesions; missed and false ones count 0",
            lambda pair: pair.lesions.dice,
        ),
        Measure(
            "lesion_hd95", "Lesion HD95", "mean HD95 of the lesions; missed and false ones count the penalty",
            lambda pair: pair.lesions.hd95, "mm", "lower", high=math.inf, digits=2,
        ),
        _lesions(
            "lesions_found", "Found", "lesions of the reference that the prediction touches",
            lambda pair: float(pair.lesions.found), "higher",
        ),
        _lesions(
            "lesions_missed", "Missed", "lesions of the reference that it does not touch",
            lambda pair: float(pair.lesions.missed),
        ),
        _lesions(
            "lesions_false", "False", "predicted components that touch no lesion",
            lambda pair: float(pair.lesions.false),
        ),
        Measure("miou", "Mean IoU", "mean of the IoU over ET, TC and WT, or those of them that are known", None),
    )
}  # fmt: skip
DEFAULT_MEASURES = ("dice", "hd95", "sensitivity", "specificity")

# The key under which a measure of all regions together (mIoU) stands beside the regions.
ALL = "all"

# HD95 by three published definitions; see docs/reference/measures.md.
HD95_DEFINITIONS = {
    "directed": "the larger of the two directed 95th percentiles over surface voxels",
    "pooled": "the 95th percentile of both directions together over surface voxels",
    "surfel": "the larger of the two directed 95th percentiles over surface elements weighted by area",
}


def chosen_measures(names: Sequence[str]) -> tuple[str, ...]:
    """Names of measures in the order of :data:`MEASURES`; ``all`` stands for every one.

    Raises:
        RequestError: a name is not known.
    """
    unknown = [name for name in names if name not in MEASURES and name != "all"]
    if unknown:
        raise RequestError(f"There is no measure {unknown[0]!r}.", f"Choose from all, {', '.join(MEASURES)}.")
    return tuple(name for name in MEASURES if name in names or "all" in names)
