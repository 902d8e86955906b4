"""The figures of a cohort in words: headline, tables, conventions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from ..domain.labels import REGIONS
from ..evaluation.metrics.measures import ALL, Measure
from ..evaluation.metrics.policy import PENALTY, EmptyPolicy
from ..evaluation.metrics.summary import RESAMPLES, Paired, Summary
from ..evaluation.results import CaseResult, Evaluation
from .agreement import VolumeAgreement
from .page import escape, framed_table, listing, region_label, row, sorted_by, table
from .words import NOTHING, measured, millilitres, number

_MASK_EMPTY = "†"
_KINDS = {"both": "both empty", "reference": "reference empty", "prediction": "prediction empty"}
_FAMILIES = {
    "overlap": "Dice, IoU, surface Dice",
    "sensitivity": "Sensitivity",
    "precision": "Precision",
    "distance": "Distances",
}


def headline(evaluation: Evaluation) -> str:
    """A tile a region with the first two measures: mean of fractions, median of distances."""
    fit = [measure for measure in _by_measure(evaluation) if not measure.counts and measure.name != "miou"]
    first: dict[str, Measure] = {}  # of each unit: Dice and HD95, if they are there
    for measure in fit:
        first.setdefault(measure.unit, measure)
    measures = list(first.values())[:2]
    told = [region for region in REGIONS if region in evaluation.settings.regions]
    return f'<div class="tiles">{"".join(_tile(evaluation, region, measures) for region in told)}</div>'


def _tile(evaluation: Evaluation, region: str, measures: Sequence[Measure]) -> str:
    entries = []
    for measure in measures:
        summary = evaluation.summary(region, measure.name)
        value, around, kind = summary.mean, summary.interval, "mean"
        if not np.isfinite(measure.high):  # a penalty for a missing mask would rule the mean
            value, around, kind = summary.median, (summary.q25, summary.q75), "median"
        digits = 3 if measure.high == 1 else 1
        low, high = (measured(measure.name, end, digits=digits) for end in around)
        spread = f"{'95 % interval' if kind == 'mean' else 'quartiles'} {low} to {high}" if summary.n > 1 else ""
        entries.append(
            f'<div><dt>{escape(measure.label)}</dt><dd class="big">{measured(measure.name, value, digits=digits)}</dd>'
            f'<dd class="small">{kind if summary.n > 1 else ""}{"; " if spread else ""}{spread}</dd></div>'
        )
    colour = "rgb({},{},{})".format(*REGIONS[region].colour)
    return (
        f'<div class="tile" style="border-color:{colour}"><h3>{escape(REGIONS[region].title)} '
        f"<abbr>{region}</abbr></h3><dl>{''.join(entries)}</dl></div>"
    )


def _by_measure(evaluation: Evaluation) -> dict[Measure, list[str]]:
    """Measure → its regions, in the order of the columns."""
    found: dict[Measure, list[str]] = {}
    for region, measure in evaluation.columns():
        found.setdefault(measure, []).append(region)
    return found


def summary_table(evaluation: Evaluation) -> str:
    """A row a measure and region."""
    heads = (
        "Region", "n", "Mean", "SD", "95 % interval of the mean", "Median", "25 %", "75 %", "Min", "Max",
        "Empty masks",
    )  # fmt: skip
    bodies = []
    for measure, regions in _by_measure(evaluation).items():
        rows = (
            row(region_label(r, short=True), _summary_cells(measure, evaluation.summary(r, measure.name)))
            for r in regions
        )
        bodies.append(_group(measure, rows, len(heads)))
    return table("Summary over the cases", heads, bodies, style="grid") + (
        '<p class="quiet">SD divides by n. Quartiles interpolate linearly. Intervals of the mean are bootstrap '
        f"percentiles of {RESAMPLES} resamples of the cases.</p>"
    )


def _summary_cells(measure: Measure, summary: Summary) -> Iterator[str]:
    def told(value: float) -> str:
        return measured(measure.name, value, digits=max(measure.digits, 2))

    low, high = (told(end) for end in summary.interval)
    yield str(summary.n)
    yield told(summary.mean)
    yield told(summary.sd)
    yield f"{low} to {high}" if low != NOTHING else NOTHING
    yield from (told(value) for value in (summary.median, summary.q25, summary.q75))
    yield from (measured(measure.name, value) for value in (summary.low, summary.high))
    yield "<br>".join(_empties(measure, summary)) or "none"


def _empties(measure: Measure, summary: Summary) -> Iterator[str]:
    """Such as ``1 × prediction empty: 373.13``."""
    counted = 0
    for empty in summary.empties:
        values = " or ".join(measured(measure.name, value) for value in empty.values)
        counted += 0 if values else empty.cases
        yield f"{empty.cases} × {_KINDS[empty.kind]}: {values or 'left out'}"
    if summary.left_out > counted:
        yield f"{summary.left_out - counted} × undefined: left out"


def comparison_table(comparisons: Mapping[str, Mapping[str, Paired]], evaluation: Evaluation, other: str) -> str:
    """A row a measure and region: both means, their difference, the paired test.

    Args:
        comparisons: region → measure → comparison of this evaluation with the other.
        evaluation: this one, whose columns are followed.
        other: title of the other.
    """
    heads = ("Region", "Pairs", "This, mean", "Other, mean", "Difference", "95 % interval", "Wilcoxon p")
    bodies = []
    for measure, regions in _by_measure(evaluation).items():
        rows = []
        for region in regions:
            if measure.name not in comparisons.get(region, ()):
                continue  # the other method does not know this region
            pair = comparisons[region][measure.name]
            values = (pair.first, pair.second, pair.difference, *pair.interval)
            first, second, difference, low, high = (
                measured(measure.name, value, digits=max(measure.digits, 2)) for value in values
            )
            interval = f"{low} to {high}" if low != NOTHING else NOTHING
            p = "< 0.001" if pair.p < 0.001 else number(pair.p, 3)
            rows.append(row(region_label(region, short=True), (str(pair.n), first, second, difference, interval, p)))
        bodies.append(_group(measure, rows, len(heads)))
    return table(f"Against {other}, case by case", heads, bodies, style="grid untitled") + (
        '<p class="quiet">Differences are this − other, over the cases in which both are defined. Intervals are '
        f"bootstrap percentiles of {RESAMPLES} resamples of the pairs; p is that of the two-sided signed-rank test, "
        "not corrected for the number of tests.</p>"
    )


def _group(measure: Measure, rows: Iterable[str], columns: int) -> str:
    """Rows of one measure under its name."""
    heading = f'<tr class="group"><th scope="rowgroup" colspan="{columns}">{escape(measure.label)}</th></tr>'
    return f"<tbody>{heading}{''.join(rows)}</tbody>"


def volume_table(agreements: Sequence[VolumeAgreement]) -> str:
    """A row a region: mean volumes, bias, limits of agreement, concordance."""
    rows = [
        row(
            region_label(a.region, short=True),
            (
                str(a.n),
                millilitres(float(np.mean(a.reference))),
                millilitres(float(np.mean(a.predicted))),
                f"{_signed(a.bias)} ({_signed(a.bias_interval[0])} to {_signed(a.bias_interval[1])})",
                f"{_signed(a.lower)} to {_signed(a.upper)}",
                f"± {number(a.limit_error, 2)}",
                number(a.concordance, 3),
            ),
        )
        for a in agreements
    ]
    heads = (
        "Region", "n", "Reference, mean (mL)", "Predicted, mean (mL)", "Bias (95 % interval), mL",
        "Limits of agreement (mL)", "95 % interval of each limit (mL)", "Concordance",
    )  # fmt: skip
    return table("Agreement of the volumes", heads, rows, style="grid") + (
        '<p class="quiet">Bias is the mean of predicted − reference, the limits of agreement are bias ± 1.96 standard '
        "deviations of the differences (n − 1), with intervals as Bland and Altman (1986) have them. Concordance is "
        "Lin’s coefficient (1989).</p>"
    )


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}") if np.isfinite(value) else NOTHING


def case_table(evaluation: Evaluation) -> str:
    """A row a case, a column a measure and region; a click on a heading sorts."""
    groups = _by_measure(evaluation)
    first = f'<th scope="col" rowspan="2" data-column="0">{sorted_by("Case")}</th>'
    for measure, regions in groups.items():
        first += f'<th scope="colgroup" colspan="{len(regions)}">{escape(measure.label)}</th>'
    second = "".join(
        f'<th scope="col" data-column="{index + 1}">{sorted_by("All" if region == ALL else region)}</th>'
        for index, (region, _) in enumerate(evaluation.columns())
    )
    rows = [_case_row(evaluation, case, result) for case, result in evaluation.results.items()]
    found = framed_table("Every case", f"<tr>{first}</tr><tr>{second}</tr>", rows, style="grid untitled")
    return found + (
        f'<p class="quiet">{_MASK_EMPTY} A mask is empty: the value is that of the convention, {NOTHING} where it is '
        "left out.</p>"
        if _MASK_EMPTY in found
        else ""
    )


def _case_row(evaluation: Evaluation, case: str, result: CaseResult) -> str:
    cells = []
    for region, measure in evaluation.columns():
        mark = f"<sup>{_MASK_EMPTY}</sup>" if measure.family and result.empties.get(region) else ""
        cells.append(measured(measure.name, result.measures[region][measure.name]) + mark)
    return row(escape(case), cells, style="name")


def conventions(evaluation: Evaluation) -> str:
    """What decides the numbers: sentences, and what an empty mask counts as."""
    policy = evaluation.settings.policy
    sentences = listing(escape(sentence) for sentence in evaluation.settings.words())
    rows = [row(escape(title), _rule_cells(policy, family)) for family, title in _FAMILIES.items()]
    heads = ("Measure", "Both masks empty", "Only the reference empty", "Only the prediction empty")
    return (
        sentences
        + f'<div class="spaced">{table(f"What an empty mask counts as: {policy.title}", heads, rows)}</div>'
        + f'<p class="quiet">Source: {escape(policy.source)}.</p>'
    )


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
