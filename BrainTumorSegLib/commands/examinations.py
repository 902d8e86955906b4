"""What ``compare`` and ``course`` do alike: results of examinations in; what is found, and a page about it, out."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypeVar

from ..domain.errors import RequestError
from ..domain.labels import CONVENTIONS
from ..domain.options import check_report_name
from ..domain.progress import Progress
from ..domain.result_record import record_path
from ..io.outputs import check_json
from ..io.staging import staged
from ..longitudinal import Change, Course, TimePoint, read_time_point
from .common import check_label_maps
from .console import Console

Found = TypeVar("Found", Change, Course)


def add_outputs(p: argparse.ArgumentParser, about: str, page: str) -> None:
    """Where to write, and how label maps are read."""
    p.add_argument("-o", "--output", type=Path, required=True, metavar="FILE.json", help=about)
    p.add_argument("--report", type=Path, metavar="FILE.html", help=page)
    p.add_argument(
        "--labels", choices=("auto", *CONVENTIONS), default="auto", help="convention of label maps without a record"
    )


def check_outputs(arguments: argparse.Namespace, keys: Collection[str]) -> None:
    """Refuse names that are none of a JSON file or a page, and a JSON file of another kind, known by ``keys``."""
    if arguments.output.suffix.lower() != ".json":
        raise RequestError(f"{arguments.output.name} is no name of a JSON file.", "Use one that ends in .json.")
    if arguments.report:
        check_report_name(arguments.report)
    check_json(arguments.output, keys)


def carry_out(
    arguments: argparse.Namespace,
    files: Sequence[Path],
    images: Sequence[Path | None],
    console: Console,
    progress: Progress,
    find: Callable[[list[TimePoint], Progress], Found],
    write_page: Callable[[Found, Path], None],
    show: Callable[[Found, Console], None],
) -> int:
    """Read label maps, with the images that were named for them; find, write, show."""
    check_label_maps(files)
    progress.report("read", 0.0, "Reading the results")
    points = [read_time_point(*pair, arguments.labels) for pair in zip(files, images, strict=True)]
    on: list[str] = [point.image.source for point in points if point.image]
    with staged([*files, *map(record_path, files), *on, *filter(None, images)]) as staging:
        output = staging.path(arguments.output)
        report = staging.path(arguments.report) if arguments.report else None
        found = find(points, progress.part(0.05, 0.9))
        progress.report("write", 0.9, "Writing what changed")
        values = found.as_json()
        output.write_text(json.dumps(values, indent=1), encoding="utf-8")
        if report:
            write_page(found, report)
    console.placed()
    show(found, console)
    console.say("By size alone, as RANO has it: CR, PR, MR, SD, PD. Clinical state and corticosteroids are not known.")
    for warning in found.warnings:
        console.warn(warning)
    console.say(f"Wrote {arguments.output}")
    console.result({"output": str(arguments.output), **values})
    return 0
