"""``braintumorseg course``: how a tumour changed over several examinations of one patient."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path

from ..domain.errors import RequestError
from ..domain.progress import Progress
from ..domain.text_table import text_table
from ..longitudinal import COURSE_KEYS, Course, TimePoint, follow
from .console import Console
from .examinations import add_outputs, carry_out, check_outputs


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""
    p.add_argument("results", type=Path, nargs="+", metavar="FILE", help="label maps, in the order of time")
    add_outputs(p, "the course, for programs", "also write a page with curves and pictures")
    p.add_argument(
        "--dates",
        type=_date,
        nargs="+",
        default=(),
        metavar="YYYY-MM-DD",
        help="of the examinations, one each (default: those of DICOM series)",
    )
    p.add_argument(
        "--images",
        type=Path,
        nargs="+",
        default=(),
        metavar="FILE",
        help="images, or folders of DICOM series, on which the label maps lie, one each (default: those of the records"
        " beside them)",
    )


def run(arguments: argparse.Namespace, console: Console, progress: Progress) -> int:
    """Follow, print the table, write."""
    check_outputs(arguments, COURSE_KEYS)
    files, images = arguments.results, arguments.images or [None] * len(arguments.results)
    if len(images) != len(files):
        raise RequestError(f"{len(images)} images were given for {len(files)} label maps.", "Give one for each.")

    def find(points: list[TimePoint], progress: Progress) -> Course:
        return follow(points, arguments.dates, progress)

    return carry_out(arguments, files, images, console, progress, find, _write_page, _show)


def _write_page(course: Course, path: Path) -> None:
    from ..report.course import write_course_report

    write_course_report(course, path)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no date: write it as 2025-11-30") from None


def _show(course: Course, console: Console) -> None:
    """The figures."""
    from ..report.course import HEADS, PARTIAL, cells

    for name, region in course.regions.items():
        rows = [(title, *cells(region, number)) for number, title in enumerate(course.titles)]
        console.say(text_table((name, *HEADS), rows, left=(0,)))
    if course.is_partial:
        console.say(f"{PARTIAL} The image does not show all of it, as others tell: it is compared with nothing.")
