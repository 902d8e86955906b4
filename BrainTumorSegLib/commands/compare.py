"""``braintumorseg compare``: how a tumour changed between two examinations of one patient."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from ..domain.labels import CONVENTIONS
from ..domain.options import check_report_name
from ..domain.progress import Progress
from ..domain.result_record import record_path
from ..domain.text_table import text_table
from ..io.outputs import check_json
from ..io.staging import staged
from ..longitudinal import JSON_KEYS, Change, TimePoint, compare, read_time_point
from .common import check_json_name, check_label_maps
from .console import Console


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""
    p.add_argument("earlier", type=Path, help="label map of the earlier examination")
    p.add_argument("later", type=Path, help="label map of the later one")
    p.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.json", help="what changed, for programs")
    p.add_argument("--report", type=Path, metavar="FILE.html", help="also write a page with pictures")
    p.add_argument(
        "--days",
        type=int,
        metavar="N",
        help="between the examinations (default: as DICOM tells)",
    )
    for when in ("earlier", "later"):
        what = f"on which the {when} label map lies (default: that of the record beside it)"
        p.add_argument(f"--{when}-image", type=Path, metavar="FILE", help=f"image, or folder of a DICOM series, {what}")
    p.add_argument(
        "--labels", choices=("auto", *CONVENTIONS), default="auto", help="convention of label maps without a record"
    )


def run(arguments: argparse.Namespace, console: Console, progress: Progress) -> int:
    """Compare, print the table, write."""
    check_json_name(arguments.output)
    if arguments.report:
        check_report_name(arguments.report)
    check_json(arguments.output, JSON_KEYS)
    labels = [arguments.earlier, arguments.later]
    images = [arguments.earlier_image, arguments.later_image]
    check_label_maps(labels)
    progress.report("read", 0.0, "Reading the results")
    earlier, later = (read_time_point(*pair, arguments.labels) for pair in zip(labels, images, strict=True))
    with staged([*labels, *map(record_path, labels), *_images((earlier, later)), *filter(None, images)]) as staging:
        output = staging.path(arguments.output)
        report = staging.path(arguments.report) if arguments.report else None
        change = compare(earlier, later, arguments.days, progress.part(0.05, 0.9))
        progress.report("write", 0.9, "Writing what changed")
        values = change.as_json()
        output.write_text(json.dumps(values, indent=1), encoding="utf-8")
        if report:
            from ..report.change import write_change_report

            write_change_report(change, report)
    console.placed()
    _show(change, console)
    console.say(f"Wrote {arguments.output}")
    console.result({"output": str(arguments.output), **values})
    return 0


def _images(points: Sequence[TimePoint]) -> list[str]:
    """Files that the results lie on; nothing is written over them."""
    return [point.image.source for point in points if point.image]


def _show(change: Change, console: Console) -> None:
    """The figures, then what must be known of them."""
    from ..report.change import share_words, signed
    from ..report.words import NOTHING, millilitres

    rows = [
        (
            name,
            millilitres(each.earlier.volume_ml),
            millilitres(each.later.volume_ml),
            signed(each.change_ml),
            share_words(each.change_share),
            str(each.lesions.new) if each.lesions else NOTHING,
            str(each.lesions.gone) if each.lesions else NOTHING,
            each.by_diameters or NOTHING,
            each.by_volume or NOTHING,
        )
        for name, each in change.regions.items()
    ]
    heads = ("", "earlier mL", "later mL", "change mL", "change", "new", "gone", "by diameters", "by volume")
    console.say(text_table(heads, rows, left=(0,)))
    console.say("By size alone, as RANO has it: CR, PR, MR, SD, PD. Clinical state and corticosteroids are not known.")
    for warning in change.warnings:
        console.warn(warning)
