"""One page about a tumour over several examinations: self-contained, as that about a case."""

from __future__ import annotations

from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Any

from ..domain.labels import REGIONS
from ..longitudinal import Course, RegionCourse
from ..longitudinal.rano import TITLES
from .change import examination, pictured, registered, share_words, signed
from .figures.overlays import FALSE, MISSED
from .figures.plots import over_time
from .page import Group, Row, Table, render
from .records import facts
from .words import NOTHING, millilitres
from .words import number as decimals

HEADS = ("mL", "Since the first", "Since the smallest", "New", "Gone", "mm²", "By diameters", "By volume")
# Behind a volume of which the image does not show all.
PARTIAL = "*"


def write_course_report(course: Course, path: Path) -> None:
    """Write the page as one HTML file without links to anything outside it.

    Args:
        course: of two examinations or more.
        path: file to write, whatever its suffix.

    Raises:
        OSError: the disk refused.
    """
    titles = course.titles
    curves = [
        over_time(name, [size.volume_ml for size in region.sizes], region.whole, titles, course.dates).svg()
        for name, region in course.regions.items()
    ]
    steps = zip(pairwise(titles), course.changes, strict=True)
    pictures = [(f"{earlier} → {later}", pictured(change, ("WT", "ET"))) for (earlier, later), change in steps]
    text = render(
        "course.html",
        title=f"{titles[0]} → {titles[-1]}",
        kicker="Course of a brain tumour",
        sortable=False,
        warnings=course.warnings,
        curves=curves,
        partial=course.is_partial,
        mark=PARTIAL,
        sizes=_table(course),
        calls=", ".join(f"{short} {title}" for short, title in TITLES.items() if short != title),
        pictures=[(title, rows) for title, rows in pictures if rows],
        new=FALSE,
        gone=MISSED,
        about=facts(_about(course)),
    )
    Path(path).write_bytes(text.encode("utf-8"))


def cells(region: RegionCourse, number: int) -> tuple[str, ...]:
    """What a table says of a region in one examination, behind its title: see :data:`HEADS`."""
    lesions = region.lesions[number]
    return (
        millilitres(region.sizes[number].volume_ml) + ("" if region.whole[number] else PARTIAL),
        share_words(region.since_first(number)),
        share_words(region.since_smallest(number)),
        *((str(lesions.new), str(lesions.gone)) if lesions else (NOTHING, NOTHING)),
        decimals(region.products_mm2[number], 0),
        region.by_diameters[number] or NOTHING,
        region.by_volume[number] or NOTHING,
    )


def _table(course: Course) -> Table:
    groups = []
    for name, region in course.regions.items():
        growth = f", diameter {signed(region.growth_mm_a_year)} mm a year" if isfinite(region.growth_mm_a_year) else ""
        rows = (Row(title, cells(region, number)) for number, title in enumerate(course.titles))
        groups.append(Group(tuple(rows), f"{REGIONS[name].title} ({name}){growth}"))
    return Table("Sizes, and what RANO calls them by size alone", ("Examination", *HEADS), tuple(groups))


def _about(course: Course) -> dict[str, Any]:
    """How the course came about."""
    found: dict[str, Any] = {}
    for title, point in zip(course.titles, course.points, strict=True):
        found[title] = examination(point)
    for change in course.changes:
        if change.overlaid:
            found.setdefault("registration", []).append(registered(change.overlaid.move))
    return found
