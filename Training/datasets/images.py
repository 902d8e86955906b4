"""Folders of images and masks with matching names: png, jpg or tif.

A mask is ``<name>_mask.*`` beside its image, or has the image's name in a folder ``masks`` beside ``images``. A
folder of ``<patient>/<image>`` holds the slices of one patient, which are normalised and split together; images that
lie in the given folder itself or in its ``images`` are patients of their own, called by their places where two have one
name (``train_0000``). Two folders ``train`` and ``validation`` are a split, and ``test`` beside them its third part.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.io.images2d import channels_for, is_slice, slice_order

from .case import DataSet
from .stack import LabelledSlice, MaskFile, SliceStack, unique

_MASK = re.compile(r"[-_]mask$", re.IGNORECASE)
IMAGES, MASKS = "images", "masks"
# Names of the folders of a split.
PARTS = {"train": ("train", "training"), "validation": ("validation", "valid", "val"), "test": ("test",)}


def find_images(folder: Path, modalities: Sequence[str]) -> DataSet:
    """The patients of a folder; nothing is read.

    Raises:
        RequestError: it holds no image at all.
        ModalityError: images cannot hold these modalities.
    """
    channels = channels_for(modalities)
    parts = parts_of(folder)
    lone: list[Path] = []
    stacks = {
        name: [stack for place in _places(part) for stack in _stacks(place, part, channels, lone)]
        for name, part in (parts or {"": folder}).items()
    }
    if not any(stacks.values()):
        raise RequestError(f"{folder} holds no image.", "It must hold png, jpg or tif images with masks.")
    stacks = told_apart(stacks, folder)
    notes = [f"{place.relative_to(folder)} is empty" for place in _folders(folder) if not any(place.iterdir())]
    without = [f"{mask.relative_to(folder)} has no image" for mask in lone]
    left_out = (folder / "split.json").is_file()  # which can name images alone, so these masks are of nobody it names
    return DataSet(
        unique([stack for found in stacks.values() for stack in found]),
        () if left_out else tuple(without),
        (*notes, *without * left_out),
        split_of(stacks) if parts else {},
    )


def told_apart(parts: Mapping[str, Sequence[SliceStack]], folder: Path) -> dict[str, list[SliceStack]]:
    """The patients of each part; images of one name that are patients of their own get ids by their places.

    Folders of patients keep their names: one that is in two parts is one patient.
    """
    count = Counter(stack.id for stacks in parts.values() for stack in stacks if _alone(stack))
    return {
        name: [_by_place(stack, folder) if _alone(stack) and count[stack.id] > 1 else stack for stack in stacks]
        for name, stacks in parts.items()
    }


def split_of(parts: Mapping[str, Sequence[SliceStack]]) -> dict[str, tuple[str, ...]]:
    """The ids of each part."""
    return {name: tuple(sorted({stack.id for stack in stacks})) for name, stacks in parts.items()}


def _alone(stack: SliceStack) -> bool:
    """Whether it is an image that is a patient of its own: others are called by their folder."""
    return stack.id != _home(stack.slices[0].image.parent).name


def _by_place(stack: SliceStack, folder: Path) -> SliceStack:
    """Called by the path of its image below the folder; an image that lies elsewhere keeps its name."""
    image = stack.slices[0].image
    if not image.is_relative_to(folder):
        return stack
    path = image.relative_to(folder).with_suffix("")
    return dataclasses.replace(stack, id="_".join(part for part in path.parts if part.lower() != IMAGES))


def parts_of(folder: Path) -> dict[str, Path]:
    """``train`` and ``validation`` folders, where both are there, and ``test``."""
    found = {}
    for part, names in PARTS.items():
        place = next((folder / name for name in names if (folder / name).is_dir()), None)
        if place:
            found[part] = place
    return found if {"train", "validation"} <= found.keys() else {}


def _places(folder: Path) -> Iterator[Path]:
    """Folders that hold images."""
    for place in _folders(folder):
        if place.name.lower() != MASKS and any(_is_image(path) for path in place.iterdir()):
            yield place


def _folders(folder: Path) -> list[Path]:
    """The folder and all below it but for hidden ones."""
    below = (path for path in folder.rglob("*") if path.is_dir() and not path.name.startswith("."))
    return sorted([folder, *below])


def _home(place: Path) -> Path:
    """The folder that a folder of images stands for."""
    return place.parent if place.name.lower() == IMAGES else place


def _is_image(path: Path) -> bool:
    return is_slice(path) and path.name[0] != "." and path.is_file()


def _stacks(place: Path, folder: Path, channels: tuple[str, ...], lone: list[Path]) -> Iterator[SliceStack]:
    """The patients of one folder of images; masks that belong to none of them are added to ``lone``."""
    files = sorted((path for path in place.iterdir() if _is_image(path)), key=slice_order)
    images = [path for path in files if not _MASK.search(path.stem)]
    home = _home(place)
    masks = _masks(place if home == place else home / MASKS, everything=home != place)
    slices = [LabelledSlice(image, masks.pop(image.stem, None)) for image in images]
    rest = [mask.path for mask in masks.values()]
    if home != folder and slices:
        yield SliceStack(home.name, tuple(slices), channels, tuple(f"{mask} has no image" for mask in rest))
        return
    lone += rest
    yield from (SliceStack(part.image.stem, (part,), channels) for part in slices)


def _masks(folder: Path, *, everything: bool) -> dict[str, MaskFile]:
    """Image name → mask; in a folder of masks every file is one, with or without the suffix."""
    if not folder.is_dir():
        return {}
    files = sorted(path for path in folder.iterdir() if _is_image(path))
    return {_MASK.sub("", path.stem): MaskFile(path) for path in files if everything or _MASK.search(path.stem)}
