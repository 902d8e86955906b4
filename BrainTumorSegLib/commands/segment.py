"""``braintumorseg segment``: one patient's files in, a label map or masks out."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from ..domain.errors import ModalityError, OutputError, RequestError
from ..domain.labels import write_labels
from ..domain.modalities import MODALITIES, TITLES, stem
from ..domain.options import RunOptions
from ..domain.progress import Progress
from ..domain.result_record import ResultRecord, is_record
from ..domain.segmentation import Segmentation
from ..inference.pipeline import check_modalities, segment_case
from ..io.case_folder import CaseFiles, find_case
from ..io.images2d import mask_name, page_count, write_mask
from ..io.registry import check_writable, write_volume
from ..io.staging import Staging, staged
from ..models.checkpoint_file import Checkpoint
from .console import Console
from .running import load_accepted, show, write_page

# Writes a result to files that were staged before it was made.
Writer = Callable[[Segmentation], None]


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
    p.add_argument("--probabilities", type=Path, metavar="DIR", help="also write a probability map a region")
    p.add_argument("--report", type=Path, metavar="FILE.html", help="also write a report with pictures")
    RunOptions.add_arguments(p)


def run(arguments: argparse.Namespace, console: Console, progress: Progress) -> int:
    """Segment and write."""
    options = RunOptions.of(arguments)
    found = find_case(arguments.case, _named(arguments))
    if not found.slices:
        check_writable(arguments.output)
    checkpoint = load_accepted(options.model, console)
    with staged(_kept(found, arguments)) as staging:
        # All outputs are staged first: one that cannot be made ends the run now, not after its work.
        stage = _stage_masks if found.slices else _stage_label_map
        write, record_file = stage(arguments, options, found, checkpoint, staging)
        report_file = staging.path(arguments.report) if arguments.report else None
        progress.report("read", 0.0, "Reading the images")
        d = checkpoint.description
        case = found.read(d.modalities, d.optional_modalities)
        check_modalities(case, d)
        if not found.slices:
            reference = case.images.get(options.reference, case.reference_volume)
            check_writable(arguments.output, reference.affine)
        running = progress.part(0.05, 0.95)
        keep = arguments.probabilities is not None
        result = segment_case(case, checkpoint, options, keep_probabilities=keep, progress=running)
        progress.report("write", 0.95, "Writing the result")
        write(result)
        images = tuple(path.name for path in found.slices)
        convention = "brats2023" if found.slices else options.labels
        record = ResultRecord.of(result, convention, left_out=dict(found.left_out), images=images)
        record.write(record_file)
        write_page(case, result, report_file)
    show(record, console)
    what = f"{len(images)} masks to " if images else ""
    console.say(f"Wrote {what}{arguments.output}")
    console.result({"output": str(arguments.output), **record.values()})
    return 0


def _named(arguments: argparse.Namespace) -> dict[str, Path]:
    """The sequences that were given by name.

    Raises:
        ModalityError: two files for one.
    """
    files: dict[str, Path] = {}
    for modality in MODALITIES:
        given = getattr(arguments, modality) or []
        if len(given) > 1:
            raise ModalityError(f"Two files were given for {TITLES[modality]}: {given[0]} and {given[1]}.", "Give one.")
        if given:
            files[modality] = given[0]
    return files


def _kept(found: CaseFiles, arguments: argparse.Namespace) -> list[Path]:
    """Files that no output may replace: the inputs and what lies beside them, but for an earlier result of ours."""
    sidecars = [path.with_name(f"{stem(path)}.json") for path in found.inputs]
    ours = {path for path in found.beside if is_record(record_path(path))}
    return [*(path for path in found.inputs if path not in ours), *(p for p in sidecars if not is_record(p))]


def record_path(output: Path) -> Path:
    """The JSON file beside a label map."""
    return output.with_name(f"{stem(output)}.json")


def _stage_record(file: Path, staging: Staging) -> Path:
    """Stage the record; a file of this name that is no record is somebody's.

    Raises:
        OutputError: there is such a file.
    """
    if file.exists() and not is_record(file):
        raise OutputError(f"{file} is there already, and is no record of a result.", "Name another output.")
    return staging.path(file)


def _stage_label_map(
    arguments: argparse.Namespace, options: RunOptions, found: CaseFiles, checkpoint: Checkpoint, staging: Staging
) -> tuple[Writer, Path]:
    """A label map, and probability maps where they were asked for."""
    file = staging.path(arguments.output)
    record = _stage_record(record_path(arguments.output), staging)
    regions = checkpoint.description.regions if arguments.probabilities else ()
    maps = {region: staging.path(arguments.probabilities / f"{region}.nii.gz") for region in regions}

    def write(result: Segmentation) -> None:
        write_volume(result.labels.with_array(write_labels(result.labels.array, options.labels)), file)
        for region, path in maps.items():
            write_volume(result.labels.with_array(result.probabilities[region]), path)

    return write, record


def _stage_masks(
    arguments: argparse.Namespace, options: RunOptions, found: CaseFiles, checkpoint: Checkpoint, staging: Staging
) -> tuple[Writer, Path]:
    """A mask for each 2D image, or page of one.

    Raises:
        RequestError: what was asked for does not go together with 2D images.
        OutputError: a mask of that name is there, and was not written by an earlier run.
    """
    if arguments.probabilities or options.reference:
        option = "--probabilities" if arguments.probabilities else "--reference"
        raise RequestError(f"{option} is for volumes, not for 2D images.", "Leave it out.")
    d = checkpoint.description
    if d.dimensions != 2:
        raise RequestError(
            f"Model {d.id} runs on volumes, not on 2D images.", "Choose a slice-wise one: braintumorseg models."
        )
    folder: Path = arguments.output
    record_file = folder / "segmentation.json"
    ours = set(ResultRecord.read(record_file).images) if record_file.is_file() and is_record(record_file) else set()
    record = _stage_record(record_file, staging)
    files = []
    for path in found.slices:
        pages = page_count(path)
        for page in range(pages):
            mask = folder / mask_name(path, page, pages)
            if mask.exists() and path.name not in ours:
                raise OutputError(
                    f"{mask} is there already, and no earlier run wrote it.", "Name another folder with -o."
                )
            files.append(staging.path(mask))

    def write(result: Segmentation) -> None:
        for file, mask in zip(files, result.mask("WT"), strict=True):
            write_mask(mask, file)

    return write, record
