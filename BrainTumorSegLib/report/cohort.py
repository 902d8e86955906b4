"""The report of an evaluation: one page for a paper's supplement, which stands alone."""

from __future__ import annotations

import datetime
import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from .. import __version__
from ..evaluation.metrics.measures import MEASURES
from ..evaluation.metrics.summary import Paired
from ..evaluation.results import Evaluation
from .agreement import VolumeAgreement
from .cohort_tables import case_table, comparison_table, conventions, headline, summary_table, volume_table
from .examples import Example, examples, ranking_measure
from .figures.overlays import FALSE, MISSED, Overlay, sheet
from .figures.plots import Plot, bland_altman, distribution, scatter
from .origin import Origin, origin_of
from .page import escape, listing, page, patch, picture, region_label, section, warnings
from .records import markdown, provenance, record
from .words import measured, printable

MINIMUM_FOR_AGREEMENT = 3  # cases: two differences say nothing of their spread


@dataclass(frozen=True)
class ReportOptions:
    """What a report shows beside the numbers.

    Attributes:
        images: folder of the cases' images for the pictures; beside the references if not given.
        model: id or file of the model whose card is shown; that which the predictions name if not given.
        sources: what was compared, in words or paths: predictions, references.
        comparisons: with another method, region → measure → comparison, and that method's title.
        examples: how many of the worst and of the best cases are shown.
        figure: where to write a figure of that file name, as PNG; none are written if not given.
        date: of the report; today if not given.
    """

    images: Path | None = None
    model: str | Path | None = None
    sources: tuple[str, str] = ("", "")
    comparisons: tuple[Mapping[str, Mapping[str, Paired]], str] | None = None
    examples: int = 2
    figure: Callable[[str], Path] | None = None
    date: datetime.date | None = None


def write_cohort_report(evaluation: Evaluation, path: Path, options: ReportOptions | None = None) -> None:
    """Write the report as one HTML file without links to anything outside it, and its figures if asked for.

    Args:
        evaluation: at least one case.
        path: file to write, whatever its suffix.
        options: what is shown beside the numbers.

    Raises:
        ValueError: no case could be compared.
        CheckpointError: the model that was named cannot be read.
        OSError: the disk refused.
    """
    if not evaluation.results:
        raise ValueError("an evaluation without cases has no report")
    options = options or ReportOptions()
    origin = origin_of((result.prediction for result in evaluation.results.values()), options.model)
    shown = examples(evaluation, options.examples, options.images)
    agreements = _agreements(evaluation)
    spread, volumes = list(_distributions(evaluation)), list(_volume_plots(agreements, evaluation))
    sections = {
        "summary": ("Summary", headline(evaluation) + _spaced(summary_table(evaluation))),
        "comparison": _comparison_section(evaluation, options),
        "distributions": ("Distributions", _distribution_section(spread)),
        "volumes": ("Volumes", _volume_section(agreements, volumes)),
        "examples": ("Worst and best cases", _example_section(evaluation, shown)),
        "cases": ("All cases", case_table(evaluation)),
        "conventions": ("Conventions", conventions(evaluation)),
        "model": ("Model", _model_section(origin)),
        "versions": ("Versions", record("What made this report", _versions(options.date), untitled=True)),
    }
    filled = {anchor: part for anchor, part in sections.items() if part[1]}
    text = page(
        evaluation.title or "Prediction against reference",
        "Evaluation of brain tumour segmentation",
        (
            warnings(_remarks(evaluation, origin)),
            *(section(title, content, anchor=anchor, style=anchor) for anchor, (title, content) in filled.items()),
        ),
        lead=_lead(evaluation, options, {anchor: title for anchor, (title, _) in filled.items()}),
        sortable=True,
    )
    if options.figure:
        _write_figures([*spread, *volumes], shown, options.figure)
    Path(path).write_bytes(text.encode("utf-8"))


def _spaced(content: str) -> str:
    return f'<div class="spaced">{content}</div>'


def _lead(evaluation: Evaluation, options: ReportOptions, titles: Mapping[str, str]) -> str:
    """What was compared, and the way to the sections."""
    count = len(evaluation.results)
    facts = [
        ("Cases", f"{count}" + (f" of {count + len(evaluation.failures)}" if evaluation.failures else "")),
        *((title, source) for title, source in zip(("Predictions", "References"), options.sources, strict=True)),
        ("Date", _date(options.date)),
    ]
    entries = "".join(f"<div><dt>{title}</dt><dd>{escape(value)}</dd></div>" for title, value in facts if value)
    links = listing(f'<a href="#{anchor}">{escape(title)}</a>' for anchor, title in titles.items())
    return f'<dl class="facts">{entries}</dl><nav aria-label="Sections">{links}</nav>'


def _date(given: datetime.date | None) -> str:
    date = given or datetime.datetime.now().astimezone().date()
    return f"{date.day} {date:%B %Y}"


def _remarks(evaluation: Evaluation, origin: Origin) -> Iterator[str]:
    for case, error in evaluation.failures.items():
        yield f"{case} could not be compared: {error.sentence()}"
    yield from origin.remarks
    for case, result in evaluation.results.items():
        yield from (f"{case}: {note}" for note in result.notes)


def _agreements(evaluation: Evaluation) -> list[VolumeAgreement]:
    regions = evaluation.settings.regions
    cases = evaluation.results.values()
    return [VolumeAgreement.of(region, [result.volumes[region] for result in cases]) for region in regions]


def _distributions(evaluation: Evaluation) -> Iterator[Plot]:
    """A plot a measure, where there is more than one case to spread."""
    if len(evaluation.results) < 2:
        return
    cases = list(evaluation.results)
    for name in evaluation.settings.measures:
        measure = MEASURES[name]
        regions = [region for region, other in evaluation.columns() if other == measure]
        values = {region: dict(zip(cases, evaluation.values(region, name), strict=True)) for region in regions}
        empties = {
            region: {case for case, result in evaluation.results.items() if result.empties.get(region)}
            for region in regions
            if measure.family
        }
        yield distribution(measure, values, empties)


def _volume_plots(agreements: Sequence[VolumeAgreement], evaluation: Evaluation) -> Iterator[Plot]:
    if len(evaluation.results) < MINIMUM_FOR_AGREEMENT:
        return
    cases = list(evaluation.results)
    yield from (bland_altman(agreement, cases) for agreement in agreements)
    yield from (scatter(agreement, cases) for agreement in agreements)


def _plots(plots: Sequence[Plot]) -> str:
    return f'<div class="plots">{"".join(f"<figure>{plot.svg()}</figure>" for plot in plots)}</div>' if plots else ""


def _comparison_section(evaluation: Evaluation, options: ReportOptions) -> tuple[str, str]:
    if options.comparisons is None:
        return "Comparison", ""
    comparisons, other = options.comparisons
    return f"Comparison with {other}", comparison_table(comparisons, evaluation, other)


def _distribution_section(plots: Sequence[Plot]) -> str:
    if not plots:
        return ""
    return _plots(plots) + (
        '<p class="quiet">Boxes reach from the lower to the upper quartile with the median as a line and the mean as a '
        "diamond; whiskers end at the last value within 1.5 interquartile ranges. Each point is a case; a hollow "
        "triangle is one with an empty mask, valued by the convention.</p>"
    )


def _volume_section(agreements: Sequence[VolumeAgreement], plots: Sequence[Plot]) -> str:
    found = _spaced(volume_table(agreements))
    if plots:
        found += _plots(plots) + (
            '<p class="quiet">Above, differences over means: the solid line is the bias, the band its 95 % interval, '
            "dashed lines are the limits of agreement. Below, predicted over reference volumes with the line of "
            "identity.</p>"
        )
    return found


def _example_section(evaluation: Evaluation, shown: Sequence[Example]) -> str:
    measure = ranking_measure(evaluation)
    if not shown or measure is None:
        return ""
    words = f"<p>Ranked by the mean {escape(measure.label)} of ET, TC and WT. "
    if not any(example.overlays for example in shown):
        reasons = sorted({example.remark for example in shown})
        rest = listing(_heading(example, measure.name) for example in shown)
        return f"{words}There are no pictures: {escape(' '.join(reasons))}</p>{rest}"
    words += (
        "Each row shows the axial slice with most wrong voxels of a region, in radiological view (the patient’s left "
        "is on the right).</p>"
    )
    keys = [f"{region_label(region)}" for region in ("ET", "TC", "WT")]
    keys += [f"{patch(MISSED)}Missed (false negative)", f"{patch(FALSE)}False (false positive)"]
    keys += [f"{patch((255, 255, 255), ring=True)}Outline of the reference"]
    return words + listing(keys, style="legend") + "".join(_example(example, measure.name) for example in shown)


def _heading(example: Example, measure: str) -> str:
    return f"{example.kind.capitalize()}: {escape(example.case)}, {measured(measure, example.score)}"


def _example(example: Example, measure: str) -> str:
    heading = f"<h3>{_heading(example, measure)}</h3>"
    if not example.overlays:
        return f'<div class="together">{heading}<p>{escape(example.remark)}</p></div>'
    return f'<div class="together">{heading}{"".join(_row_of_panels(example, o) for o in example.overlays)}</div>'


def _row_of_panels(example: Example, overlay: Overlay) -> str:
    figures = "".join(
        f"<figure>{picture(panel.jpeg(), f'{example.case}: {panel.description}')}"
        f"<figcaption>{escape(panel.title)}</figcaption></figure>"
        for panel in overlay.panels
    )
    return f'<div class="panels">{figures}</div>'


def _model_section(origin: Origin) -> str:
    found = provenance(origin.facts, "How the predictions were made") if origin.facts else ""
    return found + (f'<div class="card">{markdown(origin.card)}</div>' if origin.card else "")


def _versions(date: datetime.date | None) -> dict[str, str]:
    libraries = {name: version(name.lower()) for name in ("NumPy", "SciPy", "Matplotlib")}
    return {"BrainTumorSeg": __version__, "Python": platform.python_version(), **libraries, "Date": _date(date)}


def _write_figures(plots: Sequence[Plot], shown: Sequence[Example], place: Callable[[str], Path]) -> None:
    for plot in plots:
        place(f"{plot.name}.png").write_bytes(plot.png())
    for example in shown:
        if example.overlays:
            name = re.sub(r"[^\w.-]+", "-", printable(example.case))
            place(f"{example.kind}-{name}.png").write_bytes(sheet(example.case, example.overlays))
