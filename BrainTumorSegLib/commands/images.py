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
from ..domain.result_record import ResultRecord
from ..inference.pipeline import check_modalities
from ..io.images2d import channels_for, read_slice, slice_order, stack_slices
from ..io.staging import Staging
from ..models.description import Description

if TYPE_CHECKING:
    from ..domain.case import Case
    from ..domain.segmentation import Segmentation


class SliceTarget:
    """Images segmented together, since a patient's slices are normalised together; ``<stem>_mask.png`` for each."""

    def __init__(self, arguments: argparse.Namespace, options: RunOptions) -> None:
        self._folder: Path = arguments.output
        self.inputs = check_request(arguments, options)

    def stage(self, staging: Staging, description: Description) -> None:
        """Masks and record."""
        if description.dimensions != 2:
            raise RequestError(
                f"Model {description.id} runs on volumes, not on 2D images.",
                "Choose a slice-wise one: braintumorseg models.",
            )
        self._channels = channels_for(description.modalities)
        record = self._folder / "segmentation.json"
        self._masks = [staging.mask(self._folder / f"{path.stem}_mask.png", record) for path in self.inputs]
        self._record_file = staging.path(record, record=True)

    def read(self, description: Description) -> Case:
        """The images as slices of a case."""
        return read_images(self.inputs, self._channels, description)

    def write(self, result: Segmentation) -> ResultRecord:
        """Masks and record."""
        for file, mask in zip(self._masks, result.mask("WT"), strict=True):
            write_mask(mask, file)
        record = ResultRecord.of(result, images=tuple(path.name for path in self.inputs))
        record.write(self._record_file)
        return record

    def wrote(self) -> str:
        """How many masks."""
        return f"Wrote {len(self.inputs)} masks to {self._folder}"


def check_request(arguments: argparse.Namespace, options: RunOptions) -> list[Path]:
    """The images in the order of the numbers in their names.

    Raises:
        RequestError: what was asked for does not go together with 2D images.
    """
    paths = sorted(arguments.case, key=slice_order)
    if any(getattr(arguments, modality) for modality in MODALITIES):
        raise ModalityError("2D images were given beside single sequences.", "Give the one or the others.")
    if options.probabilities or options.reference:
        option = "--probabilities" if options.probabilities else "--reference"
        raise RequestError(f"{option} is for volumes, not for 2D images.", "Leave it out.")
    twice = [name for name, count in Counter(path.stem for path in paths).items() if count > 1]
    if twice:
        raise RequestError(f"Two images are called {twice[0]}, and so would be their masks.", "Rename one of them.")
    return paths


def read_images(paths: list[Path], channels: tuple[str, ...], description: Description) -> Case:
    """The images as the slices of one case, with what the model needs.

    Raises:
        InputError: an image cannot be read or has another size or number of channels.
        ModalityError: a channel that the model needs holds nothing of its own.
    """
    name = paths[0].resolve().parent.name if len(paths) > 1 else paths[0].stem
    case = stack_slices(name, [read_slice(path) for path in paths], channels, str(paths[0].parent))
    check_modalities(case, description)
    return case


def write_mask(mask: np.ndarray, file: Path) -> None:
    """A boolean ``(Y, X)`` as a grey PNG of 0 and 255."""
    from PIL import Image

    Image.fromarray(mask.astype(np.uint8) * 255).save(file, format="PNG")
