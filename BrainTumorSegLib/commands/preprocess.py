"""``braintumorseg preprocess``: raw scans in, co-registered and skull-stripped images out, for training and others."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from ..domain.errors import RequestError
from ..domain.options import RunOptions, add_options
from ..domain.progress import Progress
from ..io.case_folder import find_case
from ..io.outputs import check_folder
from ..io.staging import staged
from ..preprocessing.alignment import align_case
from ..preprocessing.export import stage_preprocessed
from .console import Console
from .running import add_inputs, files_read, named_files

_OPTIONS = ("preprocess", "brain_extraction", "brain_mask", "reference")


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""
    add_inputs(p, "case folder, a folder of DICOM series, or a Decathlon file")
    p.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder that gets the files")
    add_options(p, _OPTIONS)


def run(arguments: argparse.Namespace, console: Console, progress: Progress) -> int:
    """Register, extract the brain, write."""
    options = RunOptions.of(arguments)
    found = find_case(arguments.case, named_files(arguments), arguments.study)
    if found.slices:
        raise RequestError("2D images are not preprocessed.", "Give volumes.")
    check_folder(arguments.output)
    with staged(files_read(arguments, found, options)) as staging:
        progress.report("read", 0.0, "Reading the images")
        case = found.read()
        if options.reference:
            case = dataclasses.replace(case, reference=options.reference)
        write = stage_preprocessed(arguments.output, case.id, case.modalities, case.reference, staging)
        aligned = align_case(case, options, progress.part(0.05, 0.9))
        progress.report("write", 0.9, "Writing the images")
        more = write(case, aligned)
    console.placed()
    for line in aligned.record:
        console.say(line)
    for warning in [*case.warnings, *aligned.warnings, *more]:
        console.warn(warning)
    console.say(f"Wrote {len(case.images)} images to {arguments.output}")
    console.result({"output": str(arguments.output), "case": case.id, "preprocessing": list(aligned.record)})
    return 0
