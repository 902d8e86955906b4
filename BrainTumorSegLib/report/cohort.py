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
from ..domain.errors import OutputError
from ..domain.labels import REGIONS
from ..domain.modalities import listed
from ..evaluation.metrics.measures import MEASURES
from ..evaluation.metrics.summary import RESAMPLES, Paired
from ..evaluation.results import Evaluation
from ..evaluation.tables import unpaired
from .agreement import VolumeAgreement
from .cohort_tables import case_table, conventions, headline, paired_table, summary_table, volume_table
from .examples import Example, examples, ranking_measure
from .figures.overlays import FALSE, MISSED, sheet
from .figures.plots import Plot, bland_altman, distribution, scatter
from .origin import Origin, origin_of
from .page import Picture, render
from .records import facts
from .words import MARK, NOTHING, measured, printable

MINIMUM_FOR_AGREEMENT = 3  # cases: two differences say nothing of their spread
# Names of figures, and within how many bytes a PNG of ours says so.
_FIGURE, _HEAD = re.compile(rf"({'|'.join(MEASURES)}|(bland-altman|volumes|worst|best)-.*)\.png"), 4096


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


@dataclass(frozen=True)
class ExamplePart:
    """A case as the page shows it: heading, rows of pictures with their titles, or why there are none."""

    heading: str
    panels: tuple[tuple[tuple[Picture, str], ...], ...]
    remark: str


@dataclass(frozen=True)
class ExampleSection:
    """The worst and the best cases, the measure and regions they are ranked by, and why pictures are missing."""

    measure: str
    regions: str
    parts: tuple[ExamplePart, ...]
    reasons: str
    missed: tuple[int, ...] = MISSED
    false: tuple[int, ...] = FALSE

    @property
    def pictured(self) -> bool:
        """Whether there is any picture."""
        return any(part.panels for part in self.parts)


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
    comparisons, other = options.comparisons or (None, "")
    lacking = unpaired(comparisons, evaluation, other) if comparisons is not None else []
    text = render(
        "cohort.html",
        title=evaluation.title or "Prediction against reference",
        kicker="Evaluation of brain tumour segmentation",
        sortable=True,
        warnings=[*_remarks(evaluation, origin), *lacking],
        leading=_leading(evaluation, options),
        tiles=headline(evaluation),
        summary=summary_table(evaluation),
        paired=paired_table(comparisons, evaluation, other) if comparisons is not None else None,
        other=other,
        resamples=RESAMPLES,
        distributions=[plot.svg() for plot in spread],
        agreement=volume_table(agreements),
        volumes=[plot.svg() for plot in volumes],
        examples=_examples(evaluation, shown),
        cases=case_table(evaluation),
        nothing=NOTHING,
        conventions=conventions(evaluation),
        provenance=facts(origin.facts),
        card=origin.card,
        versions=facts(_versions(options.date)),
    )
    if options.figure:
        _write_figures([*spread, *volumes], shown, options.figure)
    Path(path).write_bytes(text.encode("utf-8"))


def _leading(evaluation: Evaluation, options: ReportOptions) -> list[tuple[str, str]]:
    """What was compared: title and value."""
    count = len(evaluation.results)
    found = [
        ("Cases", f"{count}" + (f" of {count + len(evaluation.failures)}" if evaluation.failures else "")),
        *((title, source) for title, source in zip(("Predictions", "References"), options.sources, strict=True)),
        ("Date", _date(options.date)),
    ]
    return [(title, value) for title, value in found if value]


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


def _examples(evaluation: Evaluation, shown: Sequence[Example]) -> ExampleSection | None:
    measure = ranking_measure(evaluation)
    if not shown or measure is None:
        return None
    parts = []
    for example in shown:
        heading = f"{example.kind.capitalize()}: {example.case}, {measured(measure.name, example.score)}"
        panels = tuple(
            tuple(
                (Picture(panel.jpeg(), f"{example.case}: {panel.description}"), panel.title) for panel in overlay.panels
            )
            for overlay in example.overlays
        )
        parts.append(ExamplePart(heading, panels, example.remark))
    reasons = " ".join(sorted({example.remark for example in shown}))
    regions = listed([region for region in evaluation.settings.regions if region in REGIONS])
    return ExampleSection(measure.label, regions, tuple(parts), reasons)


def _versions(date: datetime.date | None) -> dict[str, str]:
    libraries = {name: version(name.lower()) for name in ("NumPy", "SciPy", "Matplotlib")}
    return {"BrainTumorSeg": __version__, "Python": platform.python_version(), **libraries, "Date": _date(date)}


def _write_figures(plots: Sequence[Plot], shown: Sequence[Example], place: Callable[[str], Path]) -> None:
    for plot in plots:
        place(f"{plot.name}.png").write_bytes(plot.png())
    taken: set[str] = set()
    for example in shown:
        if example.overlays:
            name = f"{example.kind}-" + re.sub(r"[^\w.-]+", "-", printable(example.case))
            while name.casefold() in taken:  # "P 1" and "P-1"
                name += "-2"
            taken.add(name.casefold())
            place(f"{name}.png").write_bytes(sheet(example.case, example.overlays))


def check_figures(folder: Path) -> None:
    """Refuse a folder in which figures would replace pictures of others, whose names nobody typed.

    Raises:
        OutputError: it is a file, or holds such a picture.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder} is a file.", "Name a folder with --figures.")
    for file in sorted(folder.glob("*.png")):
        if _FIGURE.fullmatch(file.name) and file.stat().st_size and MARK not in file.read_bytes()[:_HEAD]:
            raise OutputError(
                f"{file} is there already and was not made by this program.", "Move it away, or choose another folder."
            )
