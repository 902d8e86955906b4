"""``braintumorseg segment``: one patient's files in, a label map out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Protocol

from ..domain.case import Case
from ..domain.errors import ModalityError, RequestError
from ..domain.labels import write_labels
from ..domain.modalities import MODALITIES, TITLES
from ..domain.options import RunOptions, add_options
from ..domain.progress import Progress
from ..domain.result_record import ResultRecord, record_path
from ..domain.segmentation import Segmentation
from ..inference.pipeline import check_modalities, segment_case
from ..io.case_folder import case_from_files, read_case
from ..io.images2d import is_slice
from ..io.registry import check_writable, write_volume
from ..io.staging import Staging, staged
from ..models.description import Description
from .console import Console
from .images import SliceTarget
from .running import load_accepted, show, write_page


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


class Target(Protocol):
    """What depends on the kind of the input: how the case is read, and where and how the result is written."""

    inputs: list[Path]

    def stage(self, staging: Staging, description: Description) -> None:
        """Refuse what cannot be, and say where the outputs go, before any work."""

    def read(self, description: Description) -> Case:
        """The case, with what the model needs."""

    def write(self, result: Segmentation) -> ResultRecord:
        """Write the result and its record."""

    def wrote(self) -> str:
        """What was written, in a sentence."""


def run(arguments: argparse.Namespace, console: Console, progress: Progress) -> int:
    """Segment and write."""
    options = RunOptions.of(arguments)
    target: Target
    if any(is_slice(path) for path in arguments.case):
        target = SliceTarget(arguments, options)
    else:
        target = VolumeTarget(arguments, options)
    checkpoint = load_accepted(options.model, console)
    with staged([*target.inputs, Path(options.model)]) as staging:
        # All outputs are staged first: one that cannot be made ends the run now, not after its work.
        target.stage(staging, checkpoint.description)
        report_file = staging.path(options.report) if options.report else None
        progress.report("read", 0.0, "Reading the images")
        case = target.read(checkpoint.description)
        result = segment_case(
            case,
            checkpoint,
            options,
            keep_probabilities=options.probabilities is not None,
            progress=progress.part(0.05, 0.95),
        )
        progress.report("write", 0.95, "Writing the result")
        record = target.write(result)
        write_page(case, result, report_file)
    show(result, console)
    console.say(target.wrote())
    console.result({"output": str(arguments.output), **record.as_json()})
    return 0


class VolumeTarget:
    """A label map on the reference image's grid, and a probability map a region where asked for."""

    def __init__(self, arguments: argparse.Namespace, options: RunOptions) -> None:
        check_writable(arguments.output)
        self._arguments, self._options = arguments, options
        given = [path for modality in MODALITIES for path in getattr(arguments, modality) or []]
        self.inputs: list[Path] = [*arguments.case, *given]

    def stage(self, staging: Staging, description: Description) -> None:
        """Label map, record and probability maps."""
        output, folder = self._arguments.output, self._options.probabilities
        self._label_file = staging.path(output)
        self._record_file = staging.path(record_path(output), record=True)
        self._maps = (
            {region: staging.path(folder / f"{region}.nii.gz") for region in description.regions} if folder else {}
        )

    def read(self, description: Description) -> Case:
        """The files of the command line as a case."""
        return requested_case(self._arguments, description, self._options.reference)

    def write(self, result: Segmentation) -> ResultRecord:
        """Label map, maps and record."""
        labels = write_labels(result.labels.array, self._options.labels)
        write_volume(result.labels.with_array(labels), self._label_file)
        for region, file in self._maps.items():
            write_volume(result.labels.with_array(result.probabilities[region]), file)
        record = ResultRecord.of(result, self._options.labels)
        record.write(self._record_file)
        return record

    def wrote(self) -> str:
        """The label map."""
        return f"Wrote {self._arguments.output}"


def requested_case(arguments: argparse.Namespace, description: Description, reference: str = "") -> Case:
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
    check_modalities(case, description)
    return Case(case.id, case.images, reference) if reference else case
