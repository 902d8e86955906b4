"""Folders of images and masks with matching names: png, jpg or tif.

A mask is ``<name>_mask.*`` beside its image, or has the image's name in a folder ``masks`` beside ``images``. A
folder of ``<patient>/<image>`` holds the slices of one patient, which are normalised and split together; images that
lie in the given folder itself or in its ``images`` are patients of their own. Two folders ``train`` and
``validation`` are a split, and ``test`` beside them its third part.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
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
    problems: list[str] = []
    split: dict[str, tuple[str, ...]] = {}
    stacks: list[SliceStack] = []
    parts = parts_of(folder)
    for name, part in (parts or {"": folder}).items():
        found = [stack for place in _places(part, problems) for stack in _stacks(place, part, channels, problems)]
        stacks += found
        if parts:
            split[name] = tuple(sorted({stack.id for stack in found}))
    if not stacks:
        raise RequestError(f"{folder} holds no image.", "It must hold png, jpg or tif images with masks.")
    cases, twice = unique(stacks)
    return DataSet(cases, tuple(problems + twice), split=split)


def parts_of(folder: Path) -> dict[str, Path]:
    """``train`` and ``validation`` folders, where both are there, and ``test``."""
    found = {}
    for part, names in PARTS.items():
        place = next((folder / name for name in names if (folder / name).is_dir()), None)
        if place:
            found[part] = place
    return found if {"train", "validation"} <= found.keys() else {}


def _places(folder: Path, problems: list[str]) -> Iterator[Path]:
    """Folders that hold images; those that hold nothing at all are a problem."""
    for place in sorted([folder, *(path for path in folder.rglob("*") if path.is_dir())]):
        if place.name.startswith(".") or place.name.lower() == MASKS:
            continue
        if not any(place.iterdir()):
            problems.append(f"{place} is empty")
        if any(_is_image(path) for path in place.iterdir()):
            yield place


def _is_image(path: Path) -> bool:
    return is_slice(path) and path.name[0] != "." and path.is_file()


def _stacks(place: Path, folder: Path, channels: tuple[str, ...], problems: list[str]) -> Iterator[SliceStack]:
    """The patients of one folder of images."""
    files = sorted((path for path in place.iterdir() if _is_image(path)), key=slice_order)
    images = [path for path in files if not _MASK.search(path.stem)]
    beside = place.parent / MASKS if place.name.lower() == IMAGES else place
    masks = _masks(beside, everything=beside != place)
    slices = [LabelledSlice(image, masks.pop(image.stem, None)) for image in images]
    problems += [f"{mask.path} has no image" for mask in masks.values()]
    home = place.parent if place.name.lower() == IMAGES else place
    if home == folder:
        yield from (SliceStack(part.image.stem, (part,), channels) for part in slices)
    elif slices:
        yield SliceStack(home.name, tuple(slices), channels)


def _masks(folder: Path, *, everything: bool) -> dict[str, MaskFile]:
    """Image name → mask; in a folder of masks every file is one, with or without the suffix."""
    if not folder.is_dir():
        return {}
    files = sorted(path for path in folder.iterdir() if _is_image(path))
    return {_MASK.sub("", path.stem): MaskFile(path) for path in files if everything or _MASK.search(path.stem)}
