"""``braintumorseg segment``: one patient's files in, a label map, a DICOM segmentation or masks out."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path

from ..domain.case import Case
from ..domain.errors import RequestError
from ..domain.labels import write_labels
from ..domain.options import RunOptions, add_options
from ..domain.progress import Progress
from ..domain.result_record import SEGMENTS, ResultRecord, native_path, record_path
from ..domain.segmentation import Segmentation
from ..domain.shortage import check_addresses
from ..domain.volume import Volume
from ..inference.pipeline import check_mask, check_modalities, segment_case
from ..io.case_folder import CaseFiles, find_case
from ..io.dicom import is_dicom_seg
from ..io.images2d import mask_name, page_count, write_mask
from ..io.outputs import check_folder, check_unmended
from ..io.registry import beside_result, check_result, write_result, write_volume, writer_of
from ..io.staging import Staging, staged
from ..models.checkpoint_file import Checkpoint
from ..preprocessing import AlignedCase
from ..preprocessing.export import stage_preprocessed
from .console import Console
from .running import add_inputs, files_read, load_accepted, named_files, show, write_page

# Writes a result to files that were staged before it was made.
Writer = Callable[[Segmentation], None]


def add_arguments(p: argparse.ArgumentParser) -> None:
    """Arguments of the subcommand."""
    add_inputs(p, "case folder, a folder of DICOM series, a Decathlon file, or 2D images")
    p.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="label map: .nii.gz, .nii, .nrrd, .mha; DICOM segmentation: .dcm; for 2D images a folder",
    )
    p.add_argument("--case-id", metavar="NAME", help="of the case in record and report (default: by its files)")
    add_options(p)


def run(arguments: argparse.Namespace, console: Console, progress: Progress) -> int:
    """Segment and write."""
    options = RunOptions.of(arguments)
    check_addresses()  # before images are read: that a network cannot be run is known by now
    found = find_case(arguments.case, named_files(arguments), arguments.study)
    for folder in (options.probabilities, options.preprocessed):
        check_folder(folder)
    if not found.slices:
        check_result(arguments.output)
    checkpoint = load_accepted(options.model, console)
    check_mask(options, checkpoint.description)
    with staged([*files_read(arguments, found, options), Path(options.model)]) as staging:
        # All outputs are staged first: one that cannot be made ends the run now, not after its work.
        stage = _stage_masks if found.slices else _stage_label_map
        write, record_file = stage(arguments, options, found, checkpoint, staging)
        report_file = staging.path(options.report) if options.report else None
        progress.report("read", 0.0, "Reading the images")
        d = checkpoint.description
        case = found.read(d.modalities, d.optional_modalities)
        case = dataclasses.replace(case, id=arguments.case_id or case.id)
        check_modalities(case, d)
        if not found.slices:
            reference = case.images.get(options.reference, case.reference_volume)
            check_result(arguments.output, reference)
            case = _told_of_forms(case, reference, arguments.output)
        write_aligned, write_native = _stage_more(arguments, options, case, staging)
        running = progress.part(0.05, 0.95)
        keep = options.probabilities is not None
        seen: list[AlignedCase] = []
        result = segment_case(
            case, checkpoint, options, keep_probabilities=keep, progress=running, aligned_to=seen.append
        )
        progress.report("write", 0.95, "Writing the result")
        write(result)
        write_native(result)
        write_aligned(case, seen[0])
        images = tuple(path.name for path in found.slices)
        convention = "brats2023" if found.slices else SEGMENTS if is_dicom_seg(arguments.output) else options.labels
        record = ResultRecord.of(result, convention, left_out=dict(found.left_out), images=images)
        record.write(record_file)
        write_page(seen[0].case, result, report_file)
    console.placed()
    show(record, console)
    masks = len(result.labels.array)
    what = f"{masks} {'mask' if masks == 1 else 'masks'} to " if images else ""
    console.say(f"Wrote {what}{arguments.output}")
    console.result({"output": str(arguments.output), **record.as_json()})
    return 0


def _told_of_forms(case: Case, reference: Volume, output: Path) -> Case:
    """The case with a warning where the output cannot say of its place all that its image says."""
    if reference.place is None or not reference.place.warning or writer_of(output).keeps_place:
        return case
    warning = f"{output.name} has one position only and may be shown beside its image; .nii.gz lies over it everywhere."
    return dataclasses.replace(case, warnings=(*case.warnings, warning))


def _stage_more(
    arguments: argparse.Namespace, options: RunOptions, case: Case, staging: Staging
) -> tuple[Callable[[Case, AlignedCase], object], Writer]:
    """What is written beside the result where it was asked for: preprocessed images, labels on the other grids."""
    reference = options.reference or case.reference
    write_aligned: Callable[[Case, AlignedCase], object] = lambda case, aligned: None  # noqa: E731
    if options.preprocessed:
        write_aligned = stage_preprocessed(options.preprocessed, case.id, case.modalities, reference, staging)
    others = [name for name in case.modalities if name != reference] if options.native == "all" else []
    output: Path = arguments.output
    files = {name: staging.derived(native_path(output, name), record_path(output)) for name in others}

    def write_native(result: Segmentation) -> None:
        for name, file in files.items():
            labels = result.native[name]
            write_volume(labels.with_array(write_labels(labels.array, options.labels)), file)

    return write_aligned, write_native


def _stage_label_map(
    arguments: argparse.Namespace, options: RunOptions, found: CaseFiles, checkpoint: Checkpoint, staging: Staging
) -> tuple[Writer, Path]:
    """A label map, and probability maps where they were asked for.

    Raises:
        OutputError: an earlier result of that name was mended since.
    """
    check_unmended(arguments.output)
    file = staging.path(arguments.output)
    record_file = record_path(arguments.output)
    beside = [staging.derived(path, record_file) for path in beside_result(arguments.output)]
    record = staging.path(record_file, record=True)
    names = {region: f"{region}.nii.gz" for region in checkpoint.description.regions}
    folder = options.probabilities
    maps = {region: staging.derived(folder / name, record_file) for region, name in names.items() if folder}

    def write(result: Segmentation) -> None:
        write_result(result, options.labels, file, *beside)
        for region, path in maps.items():
            write_volume(result.labels.with_array(result.probabilities[region]), path)

    return write, record


def _stage_masks(
    arguments: argparse.Namespace, options: RunOptions, found: CaseFiles, checkpoint: Checkpoint, staging: Staging
) -> tuple[Writer, Path]:
    """A mask for each 2D image, or page of one.

    Raises:
        RequestError: what was asked for does not go together with 2D images.
        OutputError: a mask of that name is there, and was not written by an earlier run; or the output is no folder.
    """
    asked = {
        "--probabilities": options.probabilities,
        "--reference": options.reference,
        "--brain-mask": options.brain_mask,
        "--native": options.native == "all",
        "--preprocessed": options.preprocessed,
    }
    if option := next((name for name, value in asked.items() if value), ""):
        raise RequestError(f"{option} is for volumes, not for 2D images.", "Leave it out.")
    d = checkpoint.description
    if d.dimensions != 2:
        raise RequestError(
            f"Model {d.id} runs on volumes, not on 2D images.", "Choose a slice-wise one: braintumorseg models."
        )
    folder: Path = arguments.output
    check_folder(folder)
    record = staging.path(folder / "segmentation.json", record=True)
    files = []
    for path in found.slices:
        pages = page_count(path)
        names = [mask_name(path, page, pages) for page in range(pages)]
        files += [staging.mask(folder / name, folder / "segmentation.json") for name in names]

    def write(result: Segmentation) -> None:
        for file, mask in zip(files, result.mask("WT"), strict=True):
            write_mask(mask, file)

    return write, record
