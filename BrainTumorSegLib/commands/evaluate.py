"""``braintumorseg evaluate``: predictions against references."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..domain.errors import ExecutionError, RequestError
from ..domain.labels import CONVENTIONS
from ..domain.options import check_report_name
from ..domain.progress import Progress
from ..evaluation import Evaluation, Settings, evaluate_pairs, match, paired_evaluations, usable_cores
from ..evaluation.metrics.measures import DEFAULT_MEASURES, HD95_DEFINITIONS, MEASURES
from ..evaluation.metrics.policy import DEFAULT_POLICY, POLICIES
from ..evaluation.tables import (
    BRATS_MEASURES,
    JSON_KEYS,
    LAYOUTS,
    PairedTable,
    aligned,
    as_json,
    check_table_name,
    paired_lines,
    text,
    unpaired,
    write_table,
)
from ..io.outputs import check_json
from ..io.staging import Staging, staged
from ..models.catalogue import find
from .common import check_label_maps
from .console import Console

# A process takes about a second to start, as long as a case or two take to compare.
CASES_PER_PROCESS = 3


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""
    p.add_argument("prediction", type=Path, help="label map, or folder of <case>.nii.gz")
    p.add_argument("reference", type=Path, help="label map, or folder of <case>/<case>_seg.nii.gz")
    p.add_argument("--against", type=Path, metavar="OTHER", help="predictions of another method, compared case by case")
    p.add_argument("-o", "--output", type=Path, metavar="TABLE", help="also write .csv, .json or .md")
    p.add_argument("--report", type=Path, metavar="FILE.html", help="also write a report with pictures")
    p.add_argument("--images", type=Path, metavar="DIR", help="images for the report (default: beside the references)")
    p.add_argument("--figures", type=Path, metavar="DIR", help="also write the report's figures as PNG")
    p.add_argument("--model", metavar="ID|FILE", help="model whose card is in the report (default: as recorded)")
    for part in ("pred", "ref"):
        p.add_argument(f"--{part}-labels", choices=("auto", *CONVENTIONS), default="auto", help="label convention")
    p.add_argument("--measures", metavar="NAME[,NAME…]", help=f"all, or some of {', '.join(MEASURES)}")
    p.add_argument("--convention", choices=POLICIES, default=DEFAULT_POLICY, help="what empty masks count as")
    p.add_argument("--hd95", choices=HD95_DEFINITIONS, default="directed", help="definition of HD95")
    p.add_argument("--tolerance", type=float, default=1.0, metavar="MM", help="of surface Dice (default 1)")
    p.add_argument("--classes", action="store_true", help="measure the tissue classes NCR and ED, too")
    grids = p.add_mutually_exclusive_group()
    grids.add_argument("--resample", action="store_true", help="bring predictions onto the references' grids")
    grids.add_argument(
        "--voxelwise", action="store_true", help="compare voxel by voxel where shapes agree, whatever the headers say"
    )
    p.add_argument(
        "--layout", choices=LAYOUTS, default="cases", help="; ".join(f"{k}: {v}" for k, v in LAYOUTS.items())
    )
    p.add_argument("--jobs", type=int, metavar="N", help="processes (default: by the number of cases and cores)")


def run(arguments: argparse.Namespace, console: Console, progress: Progress) -> int:
    """Compare, print the table, write it."""
    suffix = check_table_name(arguments.output) if arguments.output else ""
    _check_report(arguments)
    inputs = [arguments.prediction, arguments.reference, *([arguments.against] if arguments.against else [])]
    check_label_maps(inputs)
    if arguments.jobs is not None and arguments.jobs < 1:
        raise RequestError(f"{arguments.jobs} processes are not possible.", "Give --jobs 1 or more.")
    if suffix == ".json":
        check_json(arguments.output, JSON_KEYS)
    with staged(inputs) as staging:  # before the work: what cannot be written ends the run now
        table = staging.path(arguments.output) if arguments.output else None
        page = staging.path(arguments.report) if arguments.report else None
        evaluation, other = _evaluate(arguments, progress)
        evaluations = [evaluation, *([other] if other else [])]
        if not evaluation.results:
            _complain(evaluations, console)
        pairing = paired_evaluations(evaluation, other) if other and other.results else None
        _tell(evaluation, other, pairing, arguments.layout, console)
        if table:
            write_table(table, suffix, evaluation, arguments.layout, pairing, other)
        if page:
            progress.report("report", 1.0, "Drawing the report")
            _report(arguments, evaluation, (pairing, other.title) if pairing and other else None, page, staging)
    _complain(evaluations, console)
    if arguments.output:  # which holds all that is said
        console.placed()
    console.result(as_json(evaluation, pairing, other))
    return 0


def _settings(arguments: argparse.Namespace) -> Settings:
    usual = BRATS_MEASURES if arguments.layout == "brats" else DEFAULT_MEASURES
    return Settings(
        measures=tuple(map(str.strip, arguments.measures.split(","))) if arguments.measures else usual,
        convention=arguments.convention,
        hd95=arguments.hd95,
        tolerance=arguments.tolerance,
        tissues=arguments.classes,
        prediction_labels=arguments.pred_labels,
        reference_labels=arguments.ref_labels,
        resample=arguments.resample,
        voxelwise=arguments.voxelwise,
    )


def _evaluate(arguments: argparse.Namespace, progress: Progress) -> tuple[Evaluation, Evaluation | None]:
    """The evaluation of the predictions, and of the others if there are any."""
    settings = _settings(arguments)
    methods = [arguments.prediction, *([arguments.against] if arguments.against else [])]
    matched = [match(folder, arguments.reference) for folder in methods]
    if (
        len(matched) == 2 and len(matched[0]) == len(matched[1]) == 1
    ):  # two files of one reference, whatever their names
        matched[1] = dict(zip(matched[0], matched[1].values(), strict=True))
    if len(matched) == 2 and not matched[0].keys() & matched[1].keys():
        raise RequestError(
            f"{methods[0]} and {methods[1]} have no case in common.", "Name the files of both by their cases."
        )
    titles = _titles(methods)
    evaluations = []
    for number, (pairs, title) in enumerate(zip(matched, titles, strict=True)):
        part = progress.part(number / len(matched), (number + 1) / len(matched))
        jobs = arguments.jobs or min(usable_cores(), -(-len(pairs) // CASES_PER_PROCESS))
        found = evaluate_pairs(pairs, settings, jobs=jobs, title=title, progress=part)
        if len(pairs) == 1 and found.failures:
            raise next(iter(found.failures.values()))
        evaluations.append(found)
    return evaluations[0], evaluations[1] if len(evaluations) == 2 else None


def _titles(paths: list[Path]) -> list[str]:
    """Names of the methods: those of the files or folders, with their own folders where they are alike."""
    names = [path.absolute().name for path in paths]
    if len(set(names)) < len(names):
        names = [f"{path.absolute().parent.name}/{name}" for path, name in zip(paths, names, strict=True)]
    return names


def _tell(
    evaluation: Evaluation, other: Evaluation | None, pairing: PairedTable | None, layout: str, console: Console
) -> None:
    console.say(text(evaluation, layout))
    if other and pairing:
        console.say(f"\nPaired comparison of {evaluation.title} with {other.title}:")
        console.say(aligned(paired_lines(pairing, evaluation, other.title)))
        for lacking in unpaired(pairing, evaluation, other.title):
            console.warn(lacking)
    for result in (*evaluation.results.values(), *(other.results.values() if other else ())):
        for note in result.notes:
            console.warn(f"{result.case}: {note}")


def _check_report(arguments: argparse.Namespace) -> None:
    """Refuse before the work what the report could not do after it.

    Raises:
        RequestError: a name that is none of a page, a folder that is not there, an option without a report.
        CheckpointError: the model cannot be read.
        OutputError: the folder of figures is none, or holds pictures of others of their names.
    """
    for option in ("images", "figures", "model"):
        if getattr(arguments, option) and not arguments.report:
            raise RequestError(f"--{option} is for the report, and none is asked for.", "Add --report FILE.html.")
    if arguments.report:
        check_report_name(arguments.report)
    if arguments.images and not arguments.images.is_dir():
        raise RequestError(f"{arguments.images} is no folder of images.", "Check the path.")
    if arguments.figures:
        from ..report import check_figures

        check_figures(arguments.figures)
    if arguments.model:
        find(arguments.model)


def _report(
    arguments: argparse.Namespace,
    evaluation: Evaluation,
    against: tuple[PairedTable, str] | None,
    page: Path,
    staging: Staging,
) -> None:
    """The one place where the report of a cohort is asked for; it appears together with the table."""
    from ..report import ReportOptions, write_cohort_report

    folder = arguments.figures
    options = ReportOptions(
        images=arguments.images,
        model=arguments.model,
        sources=(str(arguments.prediction), str(arguments.reference)),
        comparisons=against,
        figure=(lambda name: staging.path(folder / name)) if folder else None,
    )
    write_cohort_report(evaluation, page, options)


def _complain(evaluations: list[Evaluation], console: Console) -> None:
    """Name every case that could not be compared, and why.

    Raises:
        ExecutionError: there are some.
    """
    failures = [(case, error) for evaluation in evaluations for case, error in evaluation.failures.items()]
    for case, error in failures:
        console.warn(f"{case}: {error.sentence()}")
    if failures:
        total = sum(len(evaluation.results) + len(evaluation.failures) for evaluation in evaluations)
        names = ", ".join(dict.fromkeys(case for case, _ in failures))
        raise ExecutionError(f"{len(failures)} of {total} cases could not be compared: {names}.")
