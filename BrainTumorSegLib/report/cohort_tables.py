"""The figures of a cohort as plain data: headline, tables, conventions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..domain.labels import REGIONS
from ..evaluation.metrics.measures import Measure
from ..evaluation.metrics.policy import PENALTY, EmptyPolicy
from ..evaluation.metrics.summary import Paired, Summary
from ..evaluation.results import CaseResult, Evaluation
from .agreement import VolumeAgreement
from .page import Group, Row, Table
from .words import NOTHING, measured, millilitres, number

_KINDS = {"both": "both empty", "reference": "reference empty", "prediction": "prediction empty"}
_FAMILIES = {
    "overlap": "Dice, IoU, surface Dice",
    "sensitivity": "Sensitivity",
    "precision": "Precision",
    "distance": "Distances",
}


@dataclass(frozen=True)
class TileEntry:
    """A measure of a tile: its value, of what kind that is, and its interval or quartiles."""

    label: str
    value: str
    small: str


@dataclass(frozen=True)
class Tile:
    """A region's first measures at a glance."""

    region: str
    entries: tuple[TileEntry, ...]


@dataclass(frozen=True)
class CaseRow:
    """A case and its cells: value, and whether a mask is empty."""

    case: str
    cells: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class CaseTable:
    """A row a case, a column a measure and region.

    Attributes:
        measures: label and number of regions, in the order of the columns.
        columns: the regions of the columns.
        rows: one a case.
    """

    measures: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    rows: tuple[CaseRow, ...]

    @property
    def marked(self) -> bool:
        """Whether a mask of any cell is empty."""
        return any(empty for row in self.rows for _, empty in row.cells)


@dataclass(frozen=True)
class Conventions:
    """What decides the numbers: sentences, what an empty mask counts as, and where that is from."""

    sentences: tuple[str, ...]
    table: Table
    source: str


def headline(evaluation: Evaluation) -> list[Tile]:
    """A tile a region with the first two measures: mean of fractions, median of distances."""
    fit = [measure for measure in _by_measure(evaluation) if not measure.counts and measure.name != "miou"]
    first: dict[str, Measure] = {}  # of each unit: Dice and HD95, if they are there
    for measure in fit:
        first.setdefault(measure.unit, measure)
    measures = list(first.values())[:2]
    shown = [region for region in REGIONS if region in evaluation.settings.regions]
    return [Tile(region, tuple(_entry(measure, evaluation, region) for measure in measures)) for region in shown]


def _entry(measure: Measure, evaluation: Evaluation, region: str) -> TileEntry:
    summary = evaluation.summary(region, measure.name)
    value, around, kind, spread = summary.mean, summary.interval, "mean", "95 % interval"
    if not np.isfinite(measure.high):  # a penalty for a missing mask would rule the mean
        value, around, kind, spread = summary.median, (summary.q25, summary.q75), "median", "quartiles"
    digits = 3 if measure.high == 1 else 1
    low, high = (measured(measure.name, end, digits=digits) for end in around)
    small = f"{kind}; {spread} {low} to {high}" if summary.n > 1 else ""
    return TileEntry(measure.label, measured(measure.name, value, digits=digits), small)


def _by_measure(evaluation: Evaluation) -> dict[Measure, list[str]]:
    """Measure → its regions, in the order of the columns."""
    found: dict[Measure, list[str]] = {}
    for region, measure in evaluation.columns():
        found.setdefault(measure, []).append(region)
    return found


def summary_table(evaluation: Evaluation) -> Table:
    """A row a measure and region."""
    heads = (
        "Region", "n", "Mean", "SD", "95 % interval of the mean", "Median", "25 %", "75 %", "Min", "Max",
        "Empty masks",
    )  # fmt: skip
    groups = []
    for measure, regions in _by_measure(evaluation).items():
        rows = (
            Row(region, tuple(_summary_cells(measure, evaluation.summary(region, measure.name))), region=True)
            for region in regions
        )
        groups.append(Group(tuple(rows), measure.label))
    return Table("Summary over the cases", heads, tuple(groups), "grid")


def _summary_cells(measure: Measure, summary: Summary) -> Iterator[str | tuple[str, ...]]:
    def spelt(value: float) -> str:
        return measured(measure.name, value, digits=max(measure.digits, 2))

    low, high = (spelt(end) for end in summary.interval)
    yield str(summary.n)
    yield spelt(summary.mean)
    yield spelt(summary.sd)
    yield f"{low} to {high}" if low != NOTHING else NOTHING
    yield from (spelt(value) for value in (summary.median, summary.q25, summary.q75))
    yield from (measured(measure.name, value) for value in (summary.low, summary.high))
    yield tuple(_empties(measure, summary)) or "none"


def _empties(measure: Measure, summary: Summary) -> Iterator[str]:
    """Such as ``1 × prediction empty: 373.13``."""
    counted = 0
    for empty in summary.empties:
        values = " or ".join(measured(measure.name, value) for value in empty.values)
        counted += 0 if values else empty.cases
        yield f"{empty.cases} × {_KINDS[empty.kind]}: {values or 'left out'}"
    if summary.left_out > counted:
        yield f"{summary.left_out - counted} × undefined: left out"


def paired_table(comparisons: Mapping[str, Mapping[str, Paired]], evaluation: Evaluation, other: str) -> Table:
    """A row a measure and region: both means, their difference, the paired test.

    Args:
        comparisons: region → measure → comparison of this evaluation with the other.
        evaluation: this one, whose columns are followed.
        other: title of the other.
    """
    heads = ("Region", "Pairs", "This, mean", "Other, mean", "Difference", "95 % interval", "Wilcoxon p")
    groups = []
    for measure, regions in _by_measure(evaluation).items():
        rows = (  # the other method may not know a region
            Row(region, _paired_cells(measure, comparisons[region][measure.name]), region=True)
            for region in regions
            if measure.name in comparisons.get(region, ())
        )
        groups.append(Group(tuple(rows), measure.label))
    return Table(f"Against {other}, case by case", heads, tuple(groups), "grid untitled")


def _paired_cells(measure: Measure, pair: Paired) -> tuple[str, ...]:
    values = (pair.first, pair.second, pair.difference, *pair.interval)
    first, second, difference, low, high = (
        measured(measure.name, value, digits=max(measure.digits, 2)) for value in values
    )
    interval = f"{low} to {high}" if low != NOTHING else NOTHING
    return str(pair.n), first, second, difference, interval, "< 0.001" if pair.p < 0.001 else number(pair.p, 3)


def volume_table(agreements: Sequence[VolumeAgreement]) -> Table:
    """A row a region: mean volumes, bias, limits of agreement, concordance."""
    heads = (
        "Region", "n", "Reference, mean (mL)", "Predicted, mean (mL)", "Bias (95 % interval), mL",
        "Limits of agreement (mL)", "95 % interval of each limit (mL)", "Concordance",
    )  # fmt: skip
    rows = tuple(Row(agreement.region, _volume_cells(agreement), region=True) for agreement in agreements)
    return Table("Agreement of the volumes", heads, (Group(rows),), "grid")


def _volume_cells(a: VolumeAgreement) -> tuple[str, ...]:
    return (
        str(a.n),
        millilitres(float(np.mean(a.reference))),
        millilitres(float(np.mean(a.predicted))),
        f"{_signed(a.bias)} ({_signed(a.bias_interval[0])} to {_signed(a.bias_interval[1])})",
        f"{_signed(a.lower)} to {_signed(a.upper)}",
        f"± {number(a.limit_error, 2)}",
        number(a.concordance, 3),
    )


def _signed(value: float) -> str:
    return f"{value:+z.2f}".replace("-", "\N{MINUS SIGN}") if np.isfinite(value) else NOTHING


def case_table(evaluation: Evaluation) -> CaseTable:
    """A row a case, a column a measure and region."""
    return CaseTable(
        tuple((measure.label, len(regions)) for measure, regions in _by_measure(evaluation).items()),
        tuple(region for region, _ in evaluation.columns()),
        tuple(CaseRow(case, tuple(_case_cells(evaluation, result))) for case, result in evaluation.results.items()),
    )


def _case_cells(evaluation: Evaluation, result: CaseResult) -> Iterator[tuple[str, bool]]:
    for region, measure in evaluation.columns():
        value = measured(measure.name, result.measures[region][measure.name])
        yield value, bool(measure.family and result.empties.get(region))


def conventions(evaluation: Evaluation) -> Conventions:
    """What decides the numbers."""
    policy = evaluation.settings.policy
    rows = tuple(Row(title, tuple(_rule_cells(policy, family))) for family, title in _FAMILIES.items())
    heads = ("Measure", "Both masks empty", "Only the reference empty", "Only the prediction empty")
    table = Table(f"What an empty mask counts as: {policy.title}", heads, (Group(rows),))
    return Conventions(tuple(evaluation.settings.words()), table, policy.source)


def _rule_cells(policy: EmptyPolicy, family: str) -> Iterator[str]:
    rule = getattr(policy, family)
    diagonal = "the grid’s diagonal"
    if policy.fixed_penalty:
        diagonal = f"{policy.fixed_penalty:g} mm on the BraTS grid, else {diagonal}"
    for value in (rule.both, rule.reference, rule.prediction):
        if np.isnan(value):
            yield "left out"
        else:
            yield diagonal if value == PENALTY else f"{value:g}{' mm' if family == 'distance' else ''}"
