"""An evaluation as a table: for a terminal, CSV, JSON or Markdown."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..domain.errors import RequestError
from ..domain.modalities import listed
from ..domain.text_table import markdown_text, one_line, spreadsheet_cell
from .metrics.measures import ALL, Measure
from .metrics.summary import Paired, Summary
from .results import Evaluation

SUFFIXES = (".csv", ".json", ".md")
LAYOUTS = {
    "cases": "a row a case, then mean, sd, median and quartiles",
    "brats": "the five rows Mean, StdDev, Median, 25quantile, 75quantile, as BraTS papers print them",
}
# What the published tables of that shape hold, and how they spell it.
BRATS_MEASURES = ("sensitivity", "specificity", "hd95")
_BRATS_NAMES = {"dice": "Dice", "sensitivity": "Sensitivity", "specificity": "Specificity", "hd95": "Hausdorff95"}
_BRATS_REGIONS = ("ET", "WT", "TC")
# By which the JSON of an evaluation is known.
JSON_KEYS = frozenset(("settings", "conventions", "cases", "summary"))
_STATISTICS: dict[str, Callable[[Summary], float]] = {
    "mean": lambda summary: summary.mean,
    "sd": lambda summary: summary.sd,
    "median": lambda summary: summary.median,
    "q25": lambda summary: summary.q25,
    "q75": lambda summary: summary.q75,
}
_BRATS_ROWS = dict(zip(("Mean", "StdDev", "Median", "25quantile", "75quantile"), _STATISTICS.values(), strict=True))
_KINDS = {"both": "both masks", "reference": "the reference alone", "prediction": "the prediction alone"}
WIDTH = 120

# Region → measure → this method against another.
PairedTable = Mapping[str, Mapping[str, Paired]]
Lines = list[list[str]]
Format = Callable[[float, Measure], str]


def check_table_name(path: Path) -> str:
    """Suffix of a table's name.

    Raises:
        RequestError: no kind of table this program writes.
    """
    if path.suffix not in SUFFIXES:
        raise RequestError(f"{path.name} names no kind of table.", f"Use {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}.")
    return path.suffix


def rounded(value: float, measure: Measure) -> str:
    """For people: the measure's own decimals (two for a mean of counts), a dash for what is undefined."""
    digits = measure.digits if value.is_integer() or not measure.counts else 2
    return "–" if math.isnan(value) else f"{value:.{digits}f}"


def exact(value: float, measure: Measure) -> str:
    """For programs: eight figures, ``nan`` for what is undefined."""
    return f"{value:.8g}"


def case_lines(evaluation: Evaluation, form: Format = rounded, columns: Sequence[tuple[str, Measure]] = ()) -> Lines:
    """Header, a line a case, and the statistics over them."""
    columns = columns or evaluation.columns()
    lines = [["case", *(f"{measure.name} {region}" for region, measure in columns)]]
    for case, result in evaluation.results.items():
        lines.append([case, *(form(result.measures[region][measure.name], measure) for region, measure in columns)])
    return lines + _statistics(evaluation, _STATISTICS, form, columns)


def brats_lines(evaluation: Evaluation, form: Format = rounded) -> Lines:
    """Mean, standard deviation, median and quartiles of each measure in ET, WT and TC, then of all else."""
    columns = _brats_columns(evaluation)
    header = ["", *(f"{_BRATS_NAMES.get(measure.name, measure.name)}_{region}" for region, measure in columns)]
    return [header, *_statistics(evaluation, _BRATS_ROWS, form, columns)]


def _brats_columns(evaluation: Evaluation) -> list[tuple[str, Measure]]:
    found = {(region, measure.name): measure for region, measure in evaluation.columns()}
    names = dict.fromkeys((*BRATS_MEASURES, *evaluation.settings.measures))
    regions = dict.fromkeys((*_BRATS_REGIONS, *(region for region, _ in found)))
    keys = [(region, name) for name in names for region in regions]
    return [(region, found[region, name]) for region, name in keys if (region, name) in found]


def _statistics(
    evaluation: Evaluation,
    rows: Mapping[str, Callable[[Summary], float]],
    form: Format,
    columns: Sequence[tuple[str, Measure]],
) -> Lines:
    summaries = [(evaluation.summary(region, measure.name), measure) for region, measure in columns]
    return [[name, *(form(pick(summary), measure) for summary, measure in summaries)] for name, pick in rows.items()]


def paired_lines(pairing: PairedTable, evaluation: Evaluation, other: str, form: Format = rounded) -> Lines:
    """A line a region and measure: means of both methods, their difference with its interval, and the test."""
    title = evaluation.title or "first"
    lines = [["measure", "region", "n", title, other, "difference", "95 % from", "to", "p (Wilcoxon)"]]
    for region, measure in evaluation.columns():
        if measure.name not in pairing.get(region, ()):
            continue  # the other method does not know this region, which :func:`unpaired` says
        pair = pairing[region][measure.name]
        numbers = (pair.first, pair.second, pair.difference, *pair.interval)
        p = "–" if math.isnan(pair.p) else f"{pair.p:.2g}"
        lines.append([measure.name, region, str(pair.n), *(form(number, measure) for number in numbers), p])
    return lines


def unpaired(pairing: PairedTable, evaluation: Evaluation, other: str) -> list[str]:
    """What of an evaluation the paired comparison lacks, as the other method's label maps cannot tell it; sentences."""
    lacking = [
        region for region in dict.fromkeys(region for region, _ in evaluation.columns()) if region not in pairing
    ]
    regions = [region for region in lacking if region != ALL]
    return [
        *([f"Not compared with {other}: {listed(regions)}, which it does not know."] if regions else []),
        *([f"Not compared with {other}: mean IoU, which is over other regions there."] if ALL in lacking else []),
    ]


def empty_lines(evaluation: Evaluation) -> list[str]:
    """How many masks were empty and how they counted, a sentence a region and kind."""
    said: dict[tuple[str, str], list[str]] = {}
    numbers: dict[tuple[str, str], int] = {}
    for region, measure in evaluation.columns():
        for empty in evaluation.summary(region, measure.name).empties:
            ends = [rounded(value, measure) for value in sorted({*empty.values[:1], *empty.values[-1:]})]
            counted = f"{' to '.join(ends)} {measure.unit}".rstrip() if ends else "left out"
            said.setdefault((region, empty.kind), []).append(f"{measure.title} {counted}")
            numbers[region, empty.kind] = empty.cases
    return [
        f"{region}: empty in {_KINDS[kind]} in {numbers[region, kind]} "
        f"case{'s' * (numbers[region, kind] != 1)}, counted as {', '.join(parts)}"
        for (region, kind), parts in said.items()
    ]


def text(evaluation: Evaluation, layout: str = "cases", width: int = WIDTH) -> str:
    """For a terminal: blocks of whole measures, each as wide as fits; then empties and conventions."""
    if layout == "brats":
        blocks = [aligned(_two_headed(brats_lines(evaluation), _brats_columns(evaluation)))]
    else:
        blocks = [aligned(lines) for lines in _blocks(evaluation, width)]
    notes = [textwrap.fill(line, width) for line in [*empty_lines(evaluation), *evaluation.settings.words()]]
    return "\n\n".join([*blocks, "\n".join(notes)])


def _blocks(evaluation: Evaluation, width: int) -> Iterator[Lines]:
    """Lines with a two-line header, measure over region, in blocks of whole measures."""
    groups: dict[str, list[tuple[str, Measure]]] = {}
    for region, measure in evaluation.columns():
        groups.setdefault(measure.name, []).append((region, measure))
    block: list[tuple[str, Measure]] = []
    for group in groups.values():
        if block and _width(_block(evaluation, [*block, *group])) > width:
            yield _block(evaluation, block)
            block = []
        block += group
    if block:
        yield _block(evaluation, block)


def _block(evaluation: Evaluation, columns: Sequence[tuple[str, Measure]]) -> Lines:
    lines = case_lines(evaluation, columns=columns)
    if len(evaluation.results) == 1:
        lines = lines[:2]  # the statistics of one case say nothing
    return _two_headed(lines, columns)


def _two_headed(lines: Lines, columns: Sequence[tuple[str, Measure]]) -> Lines:
    """Titles of measures over the regions, instead of both in one line."""
    names = [measure.label for _, measure in columns]
    titles = [name if name != before else "" for name, before in zip(names, ["", *names], strict=False)]
    return [["", *titles], [lines[0][0], *(region for region, _ in columns)], *lines[1:]]


def _widths(lines: Lines) -> list[int]:
    """Of each column; a title above (in the first line) may run on over the empty cells beside it."""
    widths = [max(len(line[column]) for line in lines[1:]) for column in range(len(lines[0]))]
    places = [column for column, cell in enumerate(lines[0]) if cell]
    for place, following in zip(places, [*places[1:], len(widths)], strict=True):
        lacking = len(lines[0][place]) - sum(widths[place:following]) - 2 * (following - place - 1)
        widths[following - 1] += max(lacking, 0)
    return widths


def _width(lines: Lines) -> int:
    return sum(widths := _widths(lines)) + 2 * (len(widths) - 1)


def aligned(lines: Lines) -> str:
    """Columns in line: the first to the left, the others to the right; titles run over the empty cells beside."""
    lines = [[one_line(cell) for cell in line] for line in lines]
    widths = _widths(lines)
    head = ""
    for column, cell in enumerate(lines[0]):
        place = sum(widths[:column]) + 2 * column
        if cell:
            spare = widths[column] - len(cell) if "" not in lines[0][1:] and column else 0
            head = head.ljust(place + max(spare, 0)) + cell
    body = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines[1:]
    ]
    return "\n".join([head, *body])


def as_json(evaluation: Evaluation, pairing: PairedTable | None = None, other: Evaluation | None = None) -> Any:
    """Everything as plain values; what is undefined is None."""
    values: dict[str, Any] = {
        "title": evaluation.title,
        "settings": dataclasses.asdict(evaluation.settings),
        "labels": {
            "prediction": evaluation.settings.prediction_labels,
            "reference": evaluation.settings.reference_labels,
            "assumed": list(evaluation.settings.assumed),
        },
        "conventions": evaluation.settings.words(),
        "cases": {case: result.measures for case, result in evaluation.results.items()},
        "volumes_ml": {
            case: {region: {"prediction": pair[0], "reference": pair[1]} for region, pair in result.volumes.items()}
            for case, result in evaluation.results.items()
        },
        "empty_masks": {
            case: {region: kind for region, kind in result.empties.items() if kind}
            for case, result in evaluation.results.items()
        },
        "notes": {case: list(result.notes) for case, result in evaluation.results.items() if result.notes},
        "mean": evaluation.means(),
        "summary": {},
        "failures": {case: error.sentence() for case, error in evaluation.failures.items()},
    }
    for region, measure in evaluation.columns():
        found = dataclasses.asdict(evaluation.summary(region, measure.name))
        values["summary"].setdefault(region, {})[measure.name] = found
    if pairing and other:
        values["other"] = as_json(other)
        values["paired"] = {
            region: {name: dataclasses.asdict(pair) for name, pair in row.items()} for region, row in pairing.items()
        }
        values["unpaired"] = unpaired(pairing, evaluation, other.title)
    return _plain(values)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_table(
    path: Path,
    suffix: str,
    evaluation: Evaluation,
    layout: str = "cases",
    pairing: PairedTable | None = None,
    other: Evaluation | None = None,
) -> None:
    """Write CSV, JSON or Markdown, as the suffix says.

    JSON holds everything. CSV holds one table: the paired one where there is one. Markdown holds both, with
    the conventions below.
    """
    if suffix == ".json":
        values = as_json(evaluation, pairing, other)
        path.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        return
    form = exact if suffix == ".csv" else rounded
    tables = [brats_lines(evaluation, form) if layout == "brats" else case_lines(evaluation, form)]
    if pairing and other:
        tables.append(paired_lines(pairing, evaluation, other.title, form))
    if suffix == ".csv":
        cases_alone = len(tables) == 1 and layout != "brats"  # the shape of the other tables is a published one
        with path.open("w", newline="", encoding="utf-8") as file:
            lines = _with_labels(tables[0], evaluation) if cases_alone else tables[-1]
            csv.writer(file).writerows([spreadsheet_cell(cell) for cell in line] for line in lines)
        return
    lacking = unpaired(pairing, evaluation, other.title) if pairing and other else []
    notes = [f"- {line}\n" for line in [*lacking, *empty_lines(evaluation), *evaluation.settings.words()]]
    path.write_text("\n".join([*map(markdown, tables), "".join(notes)]), encoding="utf-8", errors="backslashreplace")


def _with_labels(lines: Lines, evaluation: Evaluation) -> Lines:
    """The label conventions by which each case was read, as the last columns."""
    names = [evaluation.settings.prediction_labels, evaluation.settings.reference_labels]
    cases = len(evaluation.results)
    return [
        [*lines[0], "prediction labels", "reference labels"],
        *([*line, *(names if number < cases else ("", ""))] for number, line in enumerate(lines[1:])),
    ]


def markdown(lines: Lines) -> str:
    """A Markdown table: the first line is its head, the first column stands to the left."""
    head, *body = [[markdown_text(cell) for cell in line] for line in lines]
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(line)} |\n" for line in (head, rule, *body))
