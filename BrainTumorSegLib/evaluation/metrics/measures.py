"""What is measured: one description a measure, which tables and reports ask for titles, units and sense."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...domain.errors import RequestError


@dataclass(frozen=True)
class Measure:
    """A measure of agreement between a predicted and a reference mask.

    Attributes:
        name: key in results, column name in tables.
        title: short name for people.
        about: what it is, in half a sentence.
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


def _distance(name: str, title: str, about: str) -> Measure:
    return Measure(name, title, about, "mm", "lower", high=math.inf, family="distance", digits=2)


def _lesions(name: str, title: str, about: str, better: str = "lower") -> Measure:
    return Measure(name, title, about, better=better, high=math.inf, digits=0)


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("dice", "Dice", "overlap, twice the common volume over the sum of both", family="overlap"),
        Measure("iou", "IoU", "intersection over union (Jaccard)", family="overlap"),
        Measure("sensitivity", "Sensitivity", "share of the reference that was found (recall)", family="sensitivity"),
        Measure("specificity", "Specificity", "share of the background that was left alone"),
        Measure("precision", "Precision", "share of the prediction that is right", family="precision"),
        Measure("accuracy", "Accuracy", "share of all voxels that are right"),
        _distance("hd95", "HD95", "Hausdorff distance without the worst 5 %"),
        _distance("hd", "HD", "Hausdorff distance, the largest between the surfaces"),
        _distance("assd", "ASSD", "average symmetric surface distance, over both surfaces' voxels"),
        _distance("masd", "MASD", "mean of the two directed average surface distances"),
        Measure("surface_dice", "Surface Dice", "share of both surfaces within a tolerance", family="overlap"),
        Measure(
            "volume_error", "Volume error", "prediction minus reference",
            "mL", "zero", -math.inf, math.inf, digits=2,
        ),
        Measure(
            "relative_volume_error", "Rel. volume error", "volume error over the reference's volume",
            "%", "zero", -100.0, math.inf, digits=1,
        ),
        Measure("lesion_dice", "Lesion Dice", "mean Dice of the lesions; missed and false ones count 0"),
        Measure(
            "lesion_hd95", "Lesion HD95", "mean HD95 of the lesions; missed and false ones count the penalty",
            "mm", "lower", high=math.inf, digits=2,
        ),
        _lesions("lesions_found", "Found", "lesions of the reference that the prediction touches", "higher"),
        _lesions("lesions_missed", "Missed", "lesions of the reference that it does not touch"),
        _lesions("lesions_false", "False", "predicted components that touch no lesion"),
        Measure("miou", "Mean IoU", "mean of the IoU over ET, TC and WT"),
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
