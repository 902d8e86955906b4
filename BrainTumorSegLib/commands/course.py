"""``braintumorseg course``: how a tumour changed over several examinations of one patient."""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path

from ..domain.errors import RequestError
from ..domain.labels import CONVENTIONS
from ..domain.options import check_report_name
from ..domain.progress import Progress
from ..domain.result_record import record_path
from ..domain.text_table import text_table
from ..io.outputs import check_json
from ..io.staging import staged
from ..longitudinal import COURSE_KEYS, Course, follow, read_time_point
from .common import check_json_name, check_label_maps
from .console import Console


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""
    p.add_argument("results", type=Path, nargs="+", metavar="FILE", help="label maps, in the order of time")
    p.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.json", help="the course, for programs")
    p.add_argument("--report", type=Path, metavar="FILE.html", help="also write a page with curves and pictures")
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
    p.add_argument(
        "--labels", choices=("auto", *CONVENTIONS), default="auto", help="convention of label maps without a record"
    )


def run(arguments: argparse.Namespace, console: Console, progress: Progress) -> int:
    """Follow, print the table, write."""
    files, images = arguments.results, arguments.images
    check_json_name(arguments.output)
    if arguments.report:
        check_report_name(arguments.report)
    check_json(arguments.output, COURSE_KEYS)
    if images and len(images) != len(files):
        raise RequestError(f"{len(images)} images were given for {len(files)} label maps.", "Give one for each.")
    check_label_maps(files)
    progress.report("read", 0.0, "Reading the results")
    pairs = zip(files, images or [None] * len(files), strict=True)
    points = [read_time_point(file, image, arguments.labels) for file, image in pairs]
    on = [point.image.source for point in points if point.image]
    with staged([*files, *map(record_path, files), *on, *images]) as staging:
        output = staging.path(arguments.output)
        report = staging.path(arguments.report) if arguments.report else None
        course = follow(points, arguments.dates, progress.part(0.05, 0.9))
        progress.report("write", 0.9, "Writing the course")
        values = course.as_json()
        output.write_text(json.dumps(values, indent=1), encoding="utf-8")
        if report:
            from ..report.course import write_course_report

            write_course_report(course, report)
    console.placed()
    _show(course, console)
    console.say(f"Wrote {arguments.output}")
    console.result({"output": str(arguments.output), **values})
    return 0


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no date: write it as 2025-11-30") from None


def _show(course: Course, console: Console) -> None:
    """The figures, then what must be known of them."""
    from ..report.course import HEADS, PARTIAL, cells

    for name, region in course.regions.items():
        rows = [(title, *cells(region, number)) for number, title in enumerate(course.titles)]
        console.say(text_table((name, *HEADS), rows, left=(0,)))
    if not all(all(region.whole) for region in course.regions.values()):
        console.say(f"{PARTIAL} The image does not show all of it, as others tell: it is compared with nothing.")
    console.say("By size alone, as RANO has it: CR, PR, MR, SD, PD. Clinical state and corticosteroids are not known.")
    for warning in course.warnings:
        console.warn(warning)
