"""A patient of 2D images: slices with masks, which become a volume with labels."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.errors import InputError
from BrainTumorSegLib.domain.modalities import TITLES
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.images2d import read_pages, stack_slices

from .case import WHOLE_TUMOUR, noting

# Lossy files blur a mask's two values by this share of the higher one.
_LOSSY = (".jpg", ".jpeg")
_BLUR = 0.15


class Mask(Protocol):
    """Where the tumour is in one image."""

    def files(self) -> list[Path]:
        """What it is read from."""

    def read(self, shape: tuple[int, int]) -> np.ndarray:
        """Boolean ``(Y, X)`` of this shape.

        Raises:
            InputError: it cannot be read, is of another size, or no mask.
        """


@dataclass(frozen=True)
class MaskFile:
    """A mask that is an image with two values, the lower one being background."""

    path: Path

    def files(self) -> list[Path]:
        """The file."""
        return [self.path]

    def read(self, shape: tuple[int, int]) -> np.ndarray:
        """Boolean ``(Y, X)``; a mask in colour must be grey."""
        pixels = read_pages(self.path)[0]
        if pixels.shape[1:] != shape:
            size = f"{pixels.shape[2]} × {pixels.shape[1]}"
            raise InputError(f"{self.path} is {size} pixels, its image {shape[1]} × {shape[0]}.", "Export it again.")
        values = np.unique(pixels).astype(np.float64)
        highest = values[-1]
        if self.path.suffix.lower() in _LOSSY and highest > 0:
            values = np.unique(
                np.where(values < _BLUR * highest, 0, np.where(values > (1 - _BLUR) * highest, 1, values))
            )
        if len(values) > 2 or values[0] != 0 or (pixels != pixels[:1]).any():
            shown = ", ".join(f"{value:g}" for value in np.unique(pixels)[:6])
            raise InputError(f"{self.path} is no mask of 0 and one other value: it holds {shown}.", "Export it again.")
        return pixels[0] > highest / 2


@dataclass(frozen=True)
class LabelledSlice:
    """An image and its mask; None where none was found."""

    image: Path
    mask: Mask | None


@dataclass(frozen=True)
class SliceStack:
    """A patient whose slices are 2D images, from the lowest up; its masks become label 2 (WT).

    Attributes:
        id: name of the patient.
        slices: one or more.
        channels: the modality of each channel of the images.
        problems: what is wrong with the patient beside these files, in words.
    """

    id: str
    slices: tuple[LabelledSlice, ...]
    channels: tuple[str, ...]
    problems: tuple[str, ...] = ()

    @property
    def reading(self) -> str:
        """The channels, the order of the slices, and what is wrong: what was made before that is not taken for good."""
        return json.dumps([*self.channels, *(part.image.name for part in self.slices), *self.problems])

    def files(self) -> list[Path]:
        """Images and masks that are there."""
        found = [path for part in self.slices for path in (part.image, *(part.mask.files() if part.mask else ()))]
        return [path for path in dict.fromkeys(found) if path.is_file()]

    def load(self, modalities: tuple[str, ...] = ()) -> tuple[Case, Volume]:
        """Images and labels.

        Raises:
            InputError: names every file that is unusable, every mask and modality that is missing, and all else that
                is wrong with the patient.
        """
        problems = [*self.problems]
        images, masks = [], []
        for part in self.slices:
            with noting(problems):
                image = read_pages(part.image)[0]
                images.append(image)
                if part.mask is None:
                    raise InputError(f"{part.image} has no mask.")
                masks.append(part.mask.read(image.shape[1:]))
        case = None
        with noting(problems):
            case = stack_slices(self.id, images, self.channels) if images else None
        if case and not problems:
            problems = [f"{self.id} has no {TITLES[name]}" for name in modalities if name not in case.images]
        if problems or case is None:
            raise InputError(f"{'; '.join(problems)}.", "Mend the files or take the patient out.")
        labels = np.stack(masks).astype(np.uint8) * WHOLE_TUMOUR
        return case, case.reference_volume.with_array(labels)


def unique(stacks: Sequence[SliceStack]) -> dict[str, SliceStack]:
    """Stacks by id; of those of one id the first, whose problem the others are."""
    found: dict[str, SliceStack] = {}
    for stack in stacks:
        first = found.setdefault(stack.id, stack)
        if first is not stack:
            places = f"{first.slices[0].image.parent} and {stack.slices[0].image.parent}"
            twice = f"patient {stack.id} is there twice, in {places}"
            found[stack.id] = dataclasses.replace(first, problems=(*first.problems, *stack.problems, twice))
    return found
