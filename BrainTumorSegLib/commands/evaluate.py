"""``braintumorseg evaluate``: predictions against references."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import BrainTumorSegError, ExecutionError, RequestError
from ..evaluation import Measures, Table, check_table_name, compare_files, match
from ..files import atomic
from ..labels import CONVENTIONS
from ..progress import Progress
from .console import Console


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""
    p.add_argument("prediction", type=Path, help="label map, or folder of <case>.nii.gz")
    p.add_argument("reference", type=Path, help="label map, or folder of <case>/<case>_seg.nii.gz")
    p.add_argument("-o", "--output", type=Path, metavar="TABLE", help="also write .csv, .json or .md")
    p.add_argument("--report", type=Path, metavar="FILE.html", help="also write a report with pictures")
    for part in ("pred", "ref"):
        p.add_argument(f"--{part}-labels", choices=("auto", *CONVENTIONS), default="auto", help="label convention")


def run(arguments: argparse.Namespace, console: Console, progress: Progress) -> int:
    """Compare, print the table, write it."""
    if arguments.report:
        raise RequestError("evaluate --report is not there yet.", "Use -o TABLE.md for a table.")
    suffix = check_table_name(arguments.output) if arguments.output else ""
    pairs = match(arguments.prediction, arguments.reference)
    rows: dict[str, Measures] = {}
    failures: dict[str, BrainTumorSegError] = {}
    labels = (arguments.pred_labels, arguments.ref_labels)
    for done, (case, (prediction, reference)) in enumerate(pairs.items()):
        progress.report("evaluate", done / len(pairs), f"Comparing {case}")
        try:
            rows[case] = compare_files(prediction, reference, labels=labels)
        except RequestError as error:
            if len(pairs) == 1:
                raise
            failures[case] = error
    table = Table(rows, failures)
    if rows:
        console.say(table.text())
        if arguments.output:
            with atomic(arguments.output) as part:
                table.write(part, suffix)
    for case, problem in failures.items():
        console.warn(f"{case}: {problem.sentence()}")
    if failures:
        raise ExecutionError(f"{len(failures)} of {len(pairs)} cases could not be compared: {', '.join(failures)}.")
    console.result({"cases": rows, "mean": table.means()})
    return 0
