"""``braintumorseg segment``: one patient's files in, a label map out."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..domain.case import Case
from ..domain.errors import ModalityError, RequestError
from ..domain.labels import write_labels
from ..domain.modalities import MODALITIES, TITLES
from ..domain.options import RunOptions, add_options
from ..domain.progress import Progress
from ..domain.result_record import ResultRecord, record_path
from ..inference.pipeline import check_modalities, segment_case
from ..io.case_folder import case_from_files, read_case
from ..io.images2d import is_slice
from ..io.registry import check_writable, write_volume
from ..io.staging import Staging, staged
from ..models.checkpoint_file import Checkpoint
from .console import Console
from .images import run_images
from .running import load_accepted, tell, write_page


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""
    p.add_argument("case", nargs="*", type=Path, help="case folder, a Decathlon file, or 2D images")
    for modality in MODALITIES:
        p.add_argument(f"--{modality}", type=Path, action="append", metavar="FILE", help=f"{TITLES[modality]} image")
    p.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="label map: .nii.gz, .nii, .nrrd, .mha; for 2D images a folder",
    )
    add_options(p)


def run(arguments: argparse.Namespace, console: Console, progress: Progress) -> int:
    """Segment and write."""
    options = RunOptions.of(arguments)
    if any(is_slice(path) for path in arguments.case):
        return run_images(arguments, console, progress)
    check_writable(arguments.output)
    checkpoint = load_accepted(options.model, console)
    with staged() as staging:
        # All outputs are staged first: a folder that cannot be made ends the run now, not after its work.
        label_file = staging.path(arguments.output)
        record_file = staging.path(record_path(arguments.output))
        report_file = staging.path(arguments.report) if arguments.report else None
        maps = _probability_files(arguments.probabilities, checkpoint, staging)
        progress.report("read", 0.0, "Reading the images")
        case = requested_case(arguments, checkpoint)
        result = segment_case(
            case,
            checkpoint,
            options,
            keep_probabilities=bool(maps),
            progress=progress,
        )
        progress.report("write", 0.95, "Writing the result")
        write_volume(result.labels.with_array(write_labels(result.labels.array, arguments.labels)), label_file)
        for region, file in maps.items():
            write_volume(result.labels.with_array(result.probabilities[region]), file)
        record = ResultRecord.of(result, options.labels)
        record.write(record_file)
        write_page(case, result, report_file)
    tell(result, console)
    console.say(f"Wrote {arguments.output}")
    console.result({"output": str(arguments.output), **record.as_json()})
    return 0


def _probability_files(folder: Path | None, checkpoint: Checkpoint, staging: Staging) -> dict[str, Path]:
    if folder is None:
        return {}
    return {region: staging.path(folder / f"{region}.nii.gz") for region in checkpoint.description.regions}


def requested_case(arguments: argparse.Namespace, checkpoint: Checkpoint) -> Case:
    """The case of the command line: a folder or Decathlon file, sequences by name, or both.

    Raises:
        RequestError: nothing or too much was given.
    """
    files: dict[str, Path] = {}
    for modality in MODALITIES:
        given = getattr(arguments, modality) or []
        if len(given) > 1:
            raise ModalityError(f"Two files were given for {TITLES[modality]}: {given[0]} and {given[1]}.", "Give one.")
        if given:
            files[modality] = given[0]
    if len(arguments.case) > 1:
        raise RequestError("Several cases were given.", "Give one a run, or name the sequences: --t1 FILE …")
    if arguments.case:
        case = read_case(arguments.case[0], files)
    elif files:
        case = case_from_files(files)
    else:
        raise RequestError(
            "No image was given.", "Give a case folder, or --t1 FILE --t1ce FILE --t2 FILE --flair FILE."
        )
    check_modalities(case, checkpoint.description)
    return Case(case.id, case.images, arguments.reference) if arguments.reference else case
