"""How a tumour changed over several examinations: its sizes, each against the smallest and the first before it."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Any

from ..domain.errors import RequestError
from ..domain.json_values import finite
from ..domain.measurements import RegionMeasurement
from ..domain.progress import Progress
from ..domain.result_record import USE
from .change import DAYS_A_YEAR, MINOR, SMALLEST_MM3, Change, Lesions, about, ball_diameter, compare, doubts, of_pair
from .rano import PRODUCTS, VOLUMES, responses
from .timepoints import TimePoint

SCHEMA = 1
# By which the JSON of a course is known.
JSON_KEYS = frozenset(("kind", "examinations", "regions"))


@dataclass(frozen=True)
class RegionCourse:
    """A region over the examinations, in their order.

    Attributes:
        sizes: one an examination.
        products_mm2: the same, see :func:`.sum_of_products`.
        whole: whether an image shows all of it, as far as the images before and after it tell.
        lesions: since the examination before; None for the first one, and where the images were not registered.
        by_volume, by_diameters: what RANO calls the size alone, see :func:`.responses`; empty for the first
            examination, and for regions that it does not know.
        growth_mm_a_year: of the diameter of a ball of its volume, by the line of least squares through all examinations
            (Mandonnet 2003, doi 10.1002/ana.10528); NaN where fewer than two show it, or their dates are not known.
    """

    sizes: tuple[RegionMeasurement, ...]
    products_mm2: tuple[float, ...]
    whole: tuple[bool, ...]
    lesions: tuple[Lesions | None, ...]
    by_volume: tuple[str, ...]
    by_diameters: tuple[str, ...]
    growth_mm_a_year: float = math.nan

    def since_first(self, number: int) -> float:
        """By what share of the first volume it has changed; NaN where that was 0, or one image does not show all."""
        return self._share(number, 0) if number else math.nan

    def since_smallest(self, number: int) -> float:
        """By what share it has changed since it was smallest before; NaN as in :meth:`since_first`."""
        before = [each for each in range(number) if self.whole[each]]
        return self._share(number, min(before, key=lambda each: self.sizes[each].volume_ml)) if before else math.nan

    def _share(self, number: int, other: int) -> float:
        volume = self.sizes[other].volume_ml
        known = self.whole[number] and self.whole[other] and volume
        return self.sizes[number].volume_ml / volume - 1 if known else math.nan

    def as_json(self) -> list[dict[str, Any]]:
        """Plain values, one an examination; numbers to three decimals, null for undefined ones."""
        return [
            {
                **finite({**dataclasses.asdict(size), "sum_of_products_mm2": self.products_mm2[number]}),
                "whole": self.whole[number],
                **finite({"since_first": self.since_first(number), "since_smallest": self.since_smallest(number)}),
                "lesions": dataclasses.asdict(lesions) if (lesions := self.lesions[number]) else None,
                "response": {
                    "by_volume": self.by_volume[number] or None,
                    "by_diameters": self.by_diameters[number] or None,
                },
            }
            for number, size in enumerate(self.sizes)
        ]


@dataclass(frozen=True)
class Course:
    """All that is known of several examinations of a patient.

    Attributes:
        points: the examinations, the first one first.
        dates: of them; empty where they are not known.
        changes: of each examination but the first, since the one before.
        regions: region → its course, for those that all examinations know.
        warnings: sentences that a reader must see.
    """

    points: tuple[TimePoint, ...]
    dates: tuple[date, ...]
    changes: tuple[Change, ...]
    regions: Mapping[str, RegionCourse]
    warnings: tuple[str, ...] = ()

    @property
    def titles(self) -> tuple[str, ...]:
        """What the examinations are called: by their dates, else by their cases, numbered where two have one name."""
        return _titles(self.points, self.dates)

    @property
    def days(self) -> tuple[int, ...]:
        """Since the first examination; empty where they are not known."""
        return tuple((day - self.dates[0]).days for day in self.dates)

    @property
    def is_partial(self) -> bool:
        """Whether some image does not show all of some region."""
        return not all(all(region.whole) for region in self.regions.values())

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        examinations = [about(point) for point in self.points]
        for number, day in enumerate(self.dates):
            examinations[number] |= {"date": day.isoformat(), "days": self.days[number]}
        moves = [change.overlaid.move.as_motion() if change.overlaid else None for change in self.changes]
        return {
            "schema": SCHEMA,
            "kind": "course",
            "examinations": examinations,
            "registrations": [dataclasses.asdict(move) if move else None for move in moves],
            "regions": {name: each.as_json() for name, each in self.regions.items()},
            "growth_mm_a_year": finite({name: each.growth_mm_a_year for name, each in self.regions.items()}),
            "warnings": list(self.warnings),
            "use": USE,
        }


def follow(points: Sequence[TimePoint], dates: Sequence[date] = (), progress: Progress | None = None) -> Course:
    """How a tumour changed over several examinations.

    Args:
        points: examinations of one patient, in the order of time.
        dates: of them, one each; by default as their DICOM series have it.
        progress: hears how far it is; ends it when cancelled.

    Raises:
        RequestError: there are fewer than two, two of them are one, they have no region in common, or are not given in
            the order of time.
        GeometryError: the images are not of one head.
        InputError: one shows a head without a brain.
        CancelledError: cancelled through ``progress``.
    """
    progress = progress or Progress()
    if len(points) < 2:
        raise RequestError("A course has two examinations or more.", "Name the label map of each.")
    files = [point.file.resolve() for point in points]
    if twice := next((point.file for point in points if files.count(point.file.resolve()) > 1), None):
        raise RequestError(f"{twice} was given twice.", "Give the results of different examinations.")
    names = [name for name in points[0].regions if all(name in point.regions for point in points)]
    if not names:
        raise RequestError("The examinations have no region in common.", "Segment all with the same model.")
    dates = _checked(dates or _told(points), points)
    days: list[int | None] = [(later - earlier).days for earlier, later in pairwise(dates)] or [None] * (
        len(points) - 1
    )
    changes = []
    for number, (pair, between) in enumerate(zip(pairwise(points), days, strict=True)):
        part = progress.part(number / len(days), (number + 1) / len(days))
        changes.append(compare(*pair, between, part))
    since = [(day - dates[0]).days for day in dates]
    regions = {name: _course(name, changes, since) for name in names}
    warnings = _warnings(points, _titles(points, dates), changes, names)
    return Course(tuple(points), dates, tuple(changes), regions, tuple(warnings))


def _told(points: Sequence[TimePoint]) -> list[date]:
    """The days that DICOM series tell; none where one does not, or two are one, as in exports without true dates."""
    days = [point.day for point in points if point.day]
    return days if len(set(days)) == len(points) else []


def _checked(dates: Sequence[date], points: Sequence[TimePoint]) -> tuple[date, ...]:
    if dates and len(dates) != len(points):
        raise RequestError(f"{len(dates)} dates were given for {len(points)} examinations.", "Give one for each.")
    for number, (earlier, later) in enumerate(pairwise(dates)):
        if later <= earlier:
            raise RequestError(
                f"{points[number + 1].file} ({later}) is not later than {points[number].file} ({earlier}).",
                "Give the examinations in the order of time.",
            )
    return tuple(dates)


def _course(name: str, changes: Sequence[Change], days: Sequence[int]) -> RegionCourse:
    """One region of adjacent changes; ``days`` since the first examination, where they are known."""
    found = [change.regions[name] for change in changes]
    sizes = (found[0].earlier, *(each.later for each in found))
    products = (found[0].products_mm2[0], *(each.products_mm2[1] for each in found))
    whole = _whole(name, changes)
    volumes = [size.volume_ml for size in sizes]
    there = [volume > 0 for volume in volumes]
    none = ("",) * len(sizes)
    by_volume, by_diameters = none, none
    if name in MINOR:
        by_volume = ("", *responses(volumes, VOLUMES, minor=MINOR[name], there=there, whole=whole))
        by_diameters = ("", *responses(products, PRODUCTS, minor=MINOR[name], there=there, whole=whole))
    shown = [number for number, volume in enumerate(volumes) if volume and whole[number]] if days else []
    growth = math.nan
    if len(shown) > 1:
        line = statistics.linear_regression([days[n] for n in shown], [ball_diameter(volumes[n]) for n in shown])
        growth = line.slope * DAYS_A_YEAR
    lesions = (None, *(each.lesions for each in found))
    return RegionCourse(sizes, products, whole, lesions, by_volume, by_diameters, growth)


def _whole(name: str, changes: Sequence[Change]) -> tuple[bool, ...]:
    """Whether the image of each examination shows all of a region that its neighbours show."""
    whole = [True] * (len(changes) + 1)
    for number, change in enumerate(changes):
        missed = change.overlaid.unseen_ml[name] if change.overlaid else (0.0, 0.0)
        for place, volume in zip((number + 1, number), missed, strict=True):
            whole[place] &= volume * 1000 <= SMALLEST_MM3
    return tuple(whole)


def _titles(points: Sequence[TimePoint], dates: Sequence[date]) -> tuple[str, ...]:
    if dates:
        return tuple(day.isoformat() for day in dates)
    cases = [point.case for point in points]
    return tuple(cases if len(set(cases)) == len(cases) else [f"{n} ({case})" for n, case in enumerate(cases, start=1)])


def _warnings(
    points: Sequence[TimePoint], titles: Sequence[str], changes: Sequence[Change], names: Sequence[str]
) -> list[str]:
    """What a reader must know of neighbours and of each examination, by their titles."""
    found = [
        f"{pair[0]} and {pair[1]}: {warning}"
        for pair, change in zip(pairwise(titles), changes, strict=True)
        for warning in of_pair(change.earlier, change.later, names, change.overlaid)
    ]
    return found + [
        f"{title}: {doubt}" for title, point in zip(titles, points, strict=True) for doubt in doubts(point, names)
    ]
