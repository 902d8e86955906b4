"""``braintumorseg segment IMAGE.tif …``: 2D images of one patient in, a mask image each out."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..domain.errors import ModalityError, RequestError
from ..domain.modalities import MODALITIES
from ..domain.options import RunOptions
from ..domain.progress import Progress
from ..domain.result_record import ResultRecord
from ..inference.pipeline import check_modalities, segment_case
from ..io.images2d import channels_for, read_slice, slice_order, stack_slices
from ..io.staging import staged
from ..models.checkpoint_file import Checkpoint
from .running import load_accepted, tell, write_page

if TYPE_CHECKING:
    from ..domain.case import Case
    from .console import Console


def run_images(arguments: argparse.Namespace, console: Console, progress: Progress) -> int:
    """Segment the images together, since a patient's slices are normalised together; write ``<stem>_mask.png`` each."""
    paths = check_request(arguments)
    options = RunOptions.of(arguments)
    checkpoint = load_accepted(options.model, console)
    if checkpoint.description.dimensions != 2:
        raise RequestError(
            f"Model {checkpoint.description.id} runs on volumes, not on 2D images.",
            "Choose a slice-wise one: braintumorseg models.",
        )
    channels = channels_for(checkpoint.description.modalities)
    with staged() as staging:
        files = [staging.path(arguments.output / f"{path.stem}_mask.png") for path in paths]
        record_file = staging.path(arguments.output / "segmentation.json")
        report_file = staging.path(arguments.report) if arguments.report else None
        progress.report("read", 0.0, "Reading the images")
        case = read_images(paths, channels, checkpoint)
        result = segment_case(case, checkpoint, options, progress=progress)
        progress.report("write", 0.95, "Writing the masks")
        for file, mask in zip(files, result.mask("WT"), strict=True):
            write_mask(mask, file)
        record = ResultRecord.of(result, images=tuple(path.name for path in paths))
        record.write(record_file)
        write_page(case, result, report_file)
    tell(result, console)
    console.say(f"Wrote {len(paths)} masks to {arguments.output}")
    console.result({"output": str(arguments.output), **record.as_json()})
    return 0


def check_request(arguments: argparse.Namespace) -> list[Path]:
    """The images in the order of the numbers in their names.

    Raises:
        RequestError: what was asked for does not go together with 2D images.
    """
    paths = sorted(arguments.case, key=slice_order)
    if any(getattr(arguments, modality) for modality in MODALITIES):
        raise ModalityError("2D images were given beside single sequences.", "Give the one or the others.")
    if arguments.probabilities or arguments.reference:
        option = "--probabilities" if arguments.probabilities else "--reference"
        raise RequestError(f"{option} is for volumes, not for 2D images.", "Leave it out.")
    twice = [name for name, count in Counter(path.stem for path in paths).items() if count > 1]
    if twice:
        raise RequestError(f"Two images are called {twice[0]}, and so would be their masks.", "Rename one of them.")
    return paths


def read_images(paths: list[Path], channels: tuple[str, ...], checkpoint: Checkpoint) -> Case:
    """The images as the slices of one case, with what the model needs.

    Raises:
        InputError: an image cannot be read or has another size or number of channels.
        ModalityError: a channel that the model needs holds nothing of its own.
    """
    name = paths[0].resolve().parent.name if len(paths) > 1 else paths[0].stem
    case = stack_slices(name, [read_slice(path) for path in paths], channels, str(paths[0].parent))
    check_modalities(case, checkpoint.description)
    return case


def write_mask(mask: np.ndarray, file: Path) -> None:
    """A boolean ``(Y, X)`` as a grey PNG of 0 and 255."""
    from PIL import Image

    Image.fromarray(mask.astype(np.uint8) * 255).save(file, format="PNG")
