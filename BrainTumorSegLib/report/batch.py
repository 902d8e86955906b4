"""The page about a cohort that was segmented: sizes, pictures, every case to sort, and what failed."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ..domain.labels import REGIONS, Region
from ..domain.result_record import ResultRecord
from ..evaluation.metrics.measures import Measure
from .figures.overlays import Panel
from .figures.plots import Plot, distribution
from .origin import shared_facts
from .page import Group, Picture, Row, Table, render
from .records import facts, stated
from .words import NOTHING, measured, millilitres, number

_VOLUME = Measure("volume", "Volume", "size of a region", None, "mL", high=math.inf, digits=1)
_DIAMETER = Measure("diameter", "Largest diameter", "of the largest lesion", None, "mm", "lower", high=math.inf)
_EXPECTED = Measure("expected_dice", "Expected Dice", "what the probabilities promise", None)


@dataclass(frozen=True)
class Segmented:
    """A case of the cohort.

    Attributes:
        record: of its result.
        seconds: how long it took, with reading and writing; its record has those without.
        page: its own page, as a path from the cohort's; empty where there is none.
        thumbnail: a picture, for some of the cases.
    """

    record: ResultRecord
    seconds: float
    page: str = ""
    thumbnail: Panel | None = None


@dataclass(frozen=True)
class CaseLine:
    """A row of the table of cases; ``link`` is the address of its page."""

    case: str
    link: str
    cells: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Tile:
    """A region's sizes over the cohort; its name is none where it is its title, as of a model's own."""

    title: str
    name: str
    colour: tuple[int, int, int]
    median: str
    quartiles: str
    found: str


def write_batch_report(
    title: str, cases: Sequence[Segmented], failures: Mapping[str, str], path: Path, leading: Mapping[str, str]
) -> None:
    """Write the page as one HTML file; it links to the cases' pages beside it, and to nothing else.

    Args:
        title: of the cohort.
        cases: what was segmented, at least one.
        failures: case → why it was not.
        path: file to write, whatever its suffix.
        leading: what stands at its head, title → value.

    Raises:
        OSError: the disk refused.
    """
    known = REGIONS | {region.name: region for case in cases for region in case.record.own_regions}
    regions = [name for name in known if any(name in case.record.measurements for case in cases)]
    total = len(cases) + len(failures)
    text = render(
        "batch.html",
        title=title,
        kicker="Brain tumour segmentation of a cohort",
        sortable=True,
        warnings=[f"{case} was not segmented: {why}" for case, why in list(failures.items())[:10]],
        leading=[("Cases", f"{len(cases)} of {total}" if failures else str(total)), *leading.items()],
        tiles=[_tile(known[region], cases) for region in regions],
        distributions=[plot.svg() for plot in _plots(regions, cases)],
        pictures=[(_picture(case), case.record.case, _link(case)) for case in cases if case.thumbnail],
        regions_shown=regions,
        cases=[_line(case, regions) for case in cases],
        failures=_failures(failures) if failures else None,
        provenance=facts(shared_facts([stated(case.record.provenance) for case in cases])),
    )
    Path(path).write_bytes(text.encode("utf-8"))


def _values(cases: Iterable[Segmented], region: str, size: str) -> dict[str, float]:
    """Case → a size of a region, where that is there."""
    found = ((case.record, case.record.measurements.get(region)) for case in cases)
    return {record.case: float(dataclasses.asdict(sizes)[size]) for record, sizes in found if sizes and sizes.lesions}


def _tile(region: Region, cases: Sequence[Segmented]) -> Tile:
    values = list(_values(cases, region.name, "volume_ml").values())
    named = (region.title, region.name if region.name != region.title else "", region.colour)
    if not values:
        return Tile(*named, NOTHING, "", f"found in none of {len(cases)}")
    low, middle, high = (millilitres(float(value)) for value in np.percentile(values, (25, 50, 75)))
    return Tile(*named, f"{middle} mL", f"quartiles {low} to {high} mL", f"found in {len(values)} of {len(cases)}")


def _plots(regions: Sequence[str], cases: Sequence[Segmented]) -> Iterator[Plot]:
    if len(cases) < 2:
        return
    for measure, size in ((_VOLUME, "volume_ml"), (_DIAMETER, "largest_diameter_mm")):
        yield distribution(measure, {region: _values(cases, region, size) for region in regions}, {})
    promised = {r: {c.record.case: c.record.confidence[r] for c in cases if r in c.record.confidence} for r in regions}
    if any(promised.values()):
        yield distribution(_EXPECTED, promised, {})


def _picture(case: Segmented) -> Picture:
    assert case.thumbnail is not None
    return Picture(case.thumbnail.jpeg(), f"{case.record.case}: {case.thumbnail.description}")


def _link(case: Segmented) -> str:
    return quote(os.fsencode(case.page))  # a folder's name need be no text


def _line(case: Segmented, regions: Sequence[str]) -> CaseLine:
    sizes = [case.record.measurements.get(region) for region in regions]
    cells = [
        *(millilitres(each.volume_ml) if each else NOTHING for each in sizes),
        *(number(each.largest_diameter_mm) if each and each.lesions else NOTHING for each in sizes),
        *(measured("dice", case.record.confidence.get(region, math.nan), digits=2) for region in regions),
        number(case.seconds),
    ]
    return CaseLine(case.record.case, _link(case), tuple(cells), case.record.warnings)


def _failures(failures: Mapping[str, str]) -> Table:
    rows = tuple(Row(case, (why,)) for case, why in failures.items())
    return Table("Cases without a result", ("Case", "Why"), (Group(rows),), "record untitled")
