"""``braintumorseg compare``: how a tumour changed between two examinations of one patient."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..domain.progress import Progress
from ..domain.text_table import text_table
from ..longitudinal import JSON_KEYS, Change, TimePoint, compare
from .console import Console
from .examinations import add_outputs, carry_out, check_outputs


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""
    p.add_argument("earlier", type=Path, help="label map of the earlier examination")
    p.add_argument("later", type=Path, help="label map of the later one")
    add_outputs(p, "what changed, for programs", "also write a page with pictures")
    p.add_argument("--days", type=int, metavar="N", help="between the examinations (default: as DICOM tells)")
    for when in ("earlier", "later"):
        what = f"on which the {when} label map lies (default: that of the record beside it)"
        p.add_argument(f"--{when}-image", type=Path, metavar="FILE", help=f"image, or folder of a DICOM series, {what}")


def run(arguments: argparse.Namespace, console: Console, progress: Progress) -> int:
    """Compare, print the table, write."""
    check_outputs(arguments, JSON_KEYS)
    files, images = (arguments.earlier, arguments.later), (arguments.earlier_image, arguments.later_image)

    def find(points: list[TimePoint], progress: Progress) -> Change:
        return compare(points[0], points[1], arguments.days, progress)

    return carry_out(arguments, files, images, console, progress, find, _write_page, _show)


def _write_page(change: Change, path: Path) -> None:
    from ..report.change import write_change_report

    write_change_report(change, path)


def _show(change: Change, console: Console) -> None:
    """The figures."""
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
