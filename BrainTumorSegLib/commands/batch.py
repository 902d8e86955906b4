"""``braintumorseg batch``: many patients, on this machine or a cluster; it goes on where it was ended."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..cohort.claim import Claim
from ..cohort.discovery import Cohort, find_cohort
from ..cohort.layouts import LAYOUTS
from ..cohort.local import LocalWorkers, Workers
from ..cohort.outcome import Outcome
from ..cohort.run import CohortRun, Plan, Request, plan
from ..cohort.tables import FAILURES, PAGE, RESULTS, check_tables, stage_tables
from ..domain.errors import BrainTumorSegError, ExecutionError
from ..domain.interruption import uninterrupted
from ..domain.options import OPTION_NAMES, RunOptions, add_options
from ..domain.progress import Progress
from ..domain.text_table import one_line, text_table
from ..io.case_folder import CaseFiles
from ..io.staging import staged
from .console import Console
from .running import load_accepted

# What is one patient's.
_OF_ONE = ("brain_mask", "report")
_NAMED = 5


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""
    p.add_argument("root", type=Path, help="folder of patients: BraTS, BIDS, Decathlon, nnU-Net, DICOM series, files")
    p.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder of results and tables")
    where = p.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, metavar="N", help="processes (default: one a GPU, or for two cores)")
    where.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster, or its scheduler file")
    p.add_argument("--layout", choices=LAYOUTS, default="plain", help="; ".join(f"{k}: {v.about}" for k, v in _items()))
    p.add_argument("--report", action="store_true", help="also write a page a case, and one about all")
    again = p.add_mutually_exclusive_group()
    again.add_argument("--resume", action="store_true", help="what it does anyway: cases that are done stay")
    again.add_argument("--force", action="store_true", help="do again what is done")
    p.add_argument("--dry-run", action="store_true", help="say what would be run on what, and why the rest is not")
    add_options(p, [name for name in OPTION_NAMES if name not in _OF_ONE])


def _items() -> list[tuple[str, Any]]:
    return list(LAYOUTS.items())


def run(arguments: argparse.Namespace, console: Console, progress: Progress) -> int:
    """Find the cases, run those that are to be run, write the tables."""
    given = {**vars(arguments), "report": None}
    options = RunOptions.of(argparse.Namespace(**given))
    request = Request(arguments.output, arguments.layout, options, arguments.report, arguments.force)
    checkpoint = load_accepted(options.model, console)
    folder = arguments.output.absolute() / LAYOUTS[arguments.layout].inner
    progress.report("find", 0.0, "Looking for patients")
    check_tables(folder, *([PAGE] if arguments.report else []))
    cohort = find_cohort(
        arguments.root, folder, [each for each in (options.probabilities, options.preprocessed) if each]
    )
    for case in cohort.cases:
        console.found(_told(case))
    for name, why in cohort.left_out.items():
        console.found({"left_out": name, "why": why})
        console.warn(f"left out: {name} ({why})")
    planned = plan(cohort, request, checkpoint)
    if arguments.dry_run:
        _tell(cohort, planned, console)
        return 0
    claim = Claim.make(folder)
    try:
        _carry_out(arguments, cohort, planned, claim, console, progress)
    finally:
        with uninterrupted():
            claim.release()
    return 0


def _carry_out(
    arguments: argparse.Namespace, cohort: Cohort, planned: Plan, claim: Claim, console: Console, progress: Progress
) -> None:
    folder = claim.path.parent.parent
    workers = _workers(arguments, claim, progress) if planned.tasks else None
    begin = LAYOUTS[arguments.layout].begin
    if begin:
        begin(folder, cohort.root, arguments.labels)
    heard: list[Outcome] = []

    def listener(outcome: Outcome, is_old: bool) -> None:
        heard.append(outcome)
        console.case(_said(outcome, is_old))
        if not outcome.is_done:
            console.warn(f"{outcome.case}: {outcome.failure.error.sentence()}")

    def write_tables() -> None:
        if not heard:  # and no outcome lies there, by which the tables would be known as ours
            return
        with staged([cohort.root]) as staging:
            stage_tables(heard, folder, staging)

    try:
        running = CohortRun(planned, folder, listener)
        if workers:
            running.work(workers, claim, progress)
    except BaseException:  # also where it was ended: the tables hold what there is
        with uninterrupted(), suppress(OSError, BrainTumorSegError):  # what has happened is said, not what follows
            write_tables()
        raise
    write_tables()
    if arguments.report and len(running.failed) < len(running.outcomes):
        from ..cohort.page import write_page

        with staged([cohort.root]) as staging:
            write_page(cohort, running.outcomes.values(), folder, staging.path(folder / PAGE), progress)
    _conclude(running, planned, folder, console)


def _workers(arguments: argparse.Namespace, claim: Claim, progress: Progress) -> Workers:
    if not arguments.scheduler:
        return LocalWorkers(arguments.workers, arguments.device)
    from ..cohort.dask import DaskWorkers

    progress.report("connect", 0.0, f"Connecting to {arguments.scheduler}")
    return DaskWorkers(arguments.scheduler, claim.path)


def _told(case: CaseFiles) -> dict[str, Any]:
    """Where a case's images are, for programs that listen."""
    return {
        "case": case.id,
        "files": {name: str(path) for name, path in case.files.items()},
        "channels": str(case.channels) if case.channels else None,
        "folder": str(case.folder) if case.folder else None,
        "study": case.study.uid if case.study else None,
    }


def _said(outcome: Outcome, is_old: bool) -> dict[str, Any]:
    """A case for programs that listen."""
    values: dict[str, Any] = {"case": outcome.case, "state": "done" if outcome.is_done else "failed", "before": is_old}
    if outcome.is_done:
        return values | {"outputs": list(outcome.outputs), "measurements": outcome.result["measurements"]}
    failure = outcome.failure
    return values | {"error": failure.message, "code": failure.code, "remedy": failure.remedy}


def _conclude(running: CohortRun, planned: Plan, folder: Path, console: Console) -> None:
    """The last words.

    Raises:
        ExecutionError: a case has no result.
    """
    failed, total = running.failed, len(running.outcomes)
    before = f", {len(planned.done)} of them before" if planned.done else ""
    console.say(f"{total - len(failed)} of {total} cases are done{before}: {folder / RESULTS}")
    if failed:
        names = ", ".join(list(failed)[:_NAMED]) + (" …" if len(failed) > _NAMED else "")
        raise ExecutionError(
            f"{len(failed)} of {total} cases failed: {names}.", f"See {folder / FAILURES}; then run the command again."
        )
    console.placed()
    table = str(folder / RESULTS)
    console.result({"output": str(folder), "table": table, "done": total, "before": len(planned.done)})


def _tell(cohort: Cohort, planned: Plan, console: Console) -> None:
    """What would be run."""
    states = {task.case: "to run" for task in planned.tasks} | {outcome.case: "done" for outcome in planned.done}
    states |= {outcome.case: f"cannot run: {outcome.failure.message}" for outcome in planned.failed}
    rows = []
    for case in cohort.cases:
        images = ", ".join(case.files) or ("channels" if case.channels else "DICOM series" if case.folder else "none")
        without = "; ".join(f"without {name} ({why})" for name, why in case.left_out.items())
        rows.append((case.id, images, " ".join(case.arguments), states[case.id], without))
    console.say(text_table(("case", "images", "from", "state", "left out"), rows, left=range(5)))
    console.say(f"{len(planned.tasks)} of {len(cohort.cases)} cases would be run.")
    said = [dict(zip(("case", "images", "from", "state", "left_out"), map(one_line, row), strict=True)) for row in rows]
    console.result({"cases": said, "left_out": dict(cohort.left_out)})
