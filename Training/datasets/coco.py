"""COCO JSON with images (cocodataset.org, "Data format"): polygons, run lengths and boxes, any number an image.

``_annotations.coco.json`` (or any one ``*.json``) lies beside the images, or names them in ``images`` beside it. Two
folders ``train`` and ``valid`` are a split, and ``test`` its third part. Every annotation counts as tumour, whatever
its category; each image is a patient of its own, since COCO says nothing of patients. It is called by its file's name,
or by its place below the folder where two have one name (``train_0000``).
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from BrainTumorSegLib.domain.errors import InputError, RequestError
from BrainTumorSegLib.domain.json_values import read_json
from BrainTumorSegLib.io.images2d import channels_for

from .case import DataSet
from .images import IMAGES, parts_of, split_of, told_apart
from .stack import LabelledSlice, SliceStack, unique

NAME = "_annotations.coco.json"

_LARGEST = 2 << 30  # bytes of such a file
# Share of its own box that a mask fills from which on it is a box.
_BOX = 0.99


@dataclass(frozen=True)
class CocoMask:
    """The union of an image's annotations.

    Attributes:
        source: the JSON file.
        image: the name of the image in it.
        size: width and height of the image by that file; 0 where it does not say.
        shapes: an annotation each: polygons ``((x, y), …)``, or run lengths ``(height, width, counts)``.
    """

    source: Path
    image: str
    size: tuple[int, int]
    shapes: tuple[Polygons | RunLengths, ...]

    def files(self) -> list[Path]:
        """The JSON file."""
        return [self.source]

    def read(self, shape: tuple[int, int]) -> np.ndarray:
        """Boolean ``(Y, X)``."""
        stated = {self.size} | {(part.width, part.height) for part in self.shapes if isinstance(part, RunLengths)}
        for width, height in sorted(stated - {(0, 0), shape[::-1]}):
            raise InputError(
                f"{self.source} says {width} × {height} pixels of {self.image}, which has {shape[1]} × {shape[0]}."
            )
        mask = np.zeros(shape, dtype=bool)
        for part in self.shapes:
            mask |= part.fill(shape)
        return mask


@dataclass(frozen=True)
class Polygons:
    """Closed polygons of one annotation, in pixels; pixel ``i`` reaches from ``i`` to ``i + 1``."""

    corners: tuple[tuple[tuple[float, float], ...], ...]

    @property
    def is_box(self) -> bool:
        """Whether it fills the box around it."""
        return (
            len(self.corners) == 1 and _area(np.array(self.corners[0])) >= _BOX * np.ptp(self.corners[0], axis=0).prod()
        )

    def fill(self, shape: tuple[int, int]) -> np.ndarray:
        """Pixels whose centre lies inside."""
        from matplotlib.path import Path as Outline

        mask = np.zeros(shape, dtype=bool)
        for corners in self.corners:
            low = np.clip(np.floor(np.min(corners, axis=0)).astype(int), 0, shape[::-1])
            high = np.clip(np.ceil(np.max(corners, axis=0)).astype(int), 0, shape[::-1])
            if (high <= low).any():
                continue
            y, x = np.mgrid[low[1] : high[1], low[0] : high[0]]
            inside = Outline(corners).contains_points(np.column_stack([x.ravel(), y.ravel()]) + 0.5)
            mask[low[1] : high[1], low[0] : high[0]] |= inside.reshape(x.shape)
        return mask


@dataclass(frozen=True)
class RunLengths:
    """A mask column by column: lengths of runs of 0 and 1 in turn."""

    height: int
    width: int
    counts: tuple[int, ...]

    @property
    def is_box(self) -> bool:
        """Whether it fills the box around it."""
        mask = self.fill((self.height, self.width))
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        return bool(rows.size) and mask.sum() >= _BOX * (np.ptp(rows) + 1) * (np.ptp(columns) + 1)

    def fill(self, shape: tuple[int, int]) -> np.ndarray:
        """The mask, which must have this shape."""
        values = np.arange(len(self.counts)) % 2 == 1
        return np.repeat(values, self.counts).reshape(self.width, self.height).T


def find_coco(folder: Path, modalities: Sequence[str]) -> DataSet:
    """The images of a folder; they are not read, their annotations are.

    Raises:
        RequestError: it holds no annotations.
        ModalityError: images cannot hold these modalities.
    """
    channels = channels_for(modalities)
    parts = parts_of(folder)
    problems: list[str] = []
    places = (parts or {"": folder}).items()
    found = told_apart({name: _read(_annotations(part), channels, problems) for name, part in places}, folder)
    stacks = [stack for part in found.values() for stack in part]
    return DataSet(unique(stacks), tuple(problems), _notes(stacks), split_of(found) if parts else {})


def _annotations(folder: Path) -> Path:
    """The JSON file of a folder."""
    candidates = [folder / NAME] if (folder / NAME).is_file() else sorted(folder.glob("*.json"))
    candidates = [path for path in candidates if path.name != "split.json"]
    if len(candidates) != 1:
        have = f"has {len(candidates)} JSON files" if candidates else "holds no annotations"
        raise RequestError(f"{folder} {have}.", f"Put the one COCO file there as {NAME}.")
    return candidates[0]


def _notes(stacks: Sequence[SliceStack]) -> tuple[str, ...]:
    """What the masks are made of, where that limits what can be learnt."""
    masks = [part.mask for stack in stacks for part in stack.slices]
    shapes = [shape for mask in masks if isinstance(mask, CocoMask) for shape in mask.shapes]
    boxes = sum(shape.is_box for shape in shapes)
    if not boxes:
        return ()
    if boxes == len(shapes):
        return (f"all {boxes} annotations are boxes, so the masks are rectangles and Dice says little",)
    return (f"{boxes} of {len(shapes)} annotations are boxes",)


def _read(source: Path, channels: tuple[str, ...], problems: list[str]) -> list[SliceStack]:
    """An image each, which says what is wrong with its annotations; what is of no image is added to ``problems``."""
    try:
        content: Any = read_json(source, encoding="utf-8-sig", largest=_LARGEST)  # some programs begin with a BOM
        entries = {_number(entry["id"]): entry for entry in content["images"]}
        names = {number: str(entry["file_name"]) for number, entry in entries.items()}
        sizes = {n: (int(e.get("width") or 0), int(e.get("height") or 0)) for n, e in entries.items()}
        annotations = [dict(entry) for entry in content["annotations"]]
    except (OSError, ValueError, OverflowError, TypeError, KeyError, AttributeError) as error:
        problems.append(f"{source} is no COCO file ({type(error).__name__}: {error})")
        return []
    wrong: dict[int, list[str]] = {number: [] for number in entries}
    for number, count in Counter(_number(entry["id"]) for entry in content["images"]).items():
        wrong[number] += [f"{source} has two images of id {number}"] * (count > 1)
    shapes: dict[int, list[Polygons | RunLengths]] = {number: [] for number in entries}
    for annotation in annotations:
        where = f"{source}, annotation {annotation.get('id')},"
        try:
            number = _number(annotation.get("image_id"))
            image = shapes[number]
        except (ValueError, OverflowError, TypeError, KeyError):
            problems.append(f"{where} is of an unknown image {annotation.get('image_id')!r}")
            continue
        try:
            image += _shapes(annotation)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            wrong[number].append(f"{where} has no usable shape ({error})")
    stacks = _stacks(source, channels, names, sizes, shapes)
    return [dataclasses.replace(stack, problems=tuple(wrong[number])) for number, stack in stacks]


def _number(value: Any) -> int:
    """The id of an image, which some programs write as text or with a decimal point: ``"1"``, ``1.0``."""
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{value!r} is no id of an image")
    return int(value)


def _stacks(
    source: Path,
    channels: tuple[str, ...],
    names: Mapping[int, str],
    sizes: Mapping[int, tuple[int, int]],
    shapes: Mapping[int, Sequence[Polygons | RunLengths]],
) -> Iterator[tuple[int, SliceStack]]:
    """Id and patient of each image."""
    for number, name in sorted(names.items()):
        places = _places(source.parent, name)
        image = next((path for path in places if path.is_file()), places[0])
        mask = CocoMask(source, name, sizes[number], tuple(shapes[number]))
        yield number, SliceStack(image.stem, (LabelledSlice(image, mask),), channels)


def _places(folder: Path, name: str) -> list[Path]:
    r"""Where an image may lie: as it is called, beside the annotations or in ``images``; or its bare name there.

    Programs write the paths of their own machine: ``train\a.jpg`` of Windows, ``/data/upload/1/a.jpg`` of a server.
    """
    plain = name.replace("\\", "/")
    names = dict.fromkeys((name, plain.lstrip("/"), PurePosixPath(plain).name))
    return [place / one for one in names for place in (folder, folder / IMAGES)]


def _shapes(annotation: Mapping[str, Any]) -> list[Polygons | RunLengths]:
    """The annotation's segmentation, or its box where it has none."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        height, width = (int(size) for size in segmentation["size"])
        counts = segmentation["counts"]
        counts = _expand(counts) if isinstance(counts, str) else tuple(int(count) for count in counts)
        if sum(counts) != height * width or min(counts, default=0) < 0:
            raise ValueError(f"its run lengths do not make up {width} × {height} pixels")
        return [RunLengths(height, width, counts)]
    if segmentation is not None and any(segmentation):
        outlines = [np.asarray(part, dtype=float).reshape(-1, 2) for part in segmentation if part]
        if any(len(outline) < 3 or not np.isfinite(outline).all() for outline in outlines):
            raise ValueError("a polygon has fewer than three corners")
        return [Polygons(tuple(tuple((float(x), float(y)) for x, y in outline) for outline in outlines))]
    left, top, wide, high = (float(value) for value in annotation["bbox"])
    if not np.isfinite([left, top, wide, high]).all():
        raise ValueError("its box has no finite place")
    right, bottom = left + wide, top + high
    return [Polygons((((left, top), (right, top), (right, bottom), (left, bottom)),))]


def _expand(text: str) -> tuple[int, ...]:
    """Run lengths from COCO's compressed text.

    Each number is written in groups of five bits, the lowest first, offset by 48; the sixth bit says that more
    follow, and the last group's fifth is the sign. From the fourth number on, the difference to the last but one is
    written.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError("its run lengths are damaged")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("its run lengths are damaged")
    return tuple(counts)


def _area(corners: np.ndarray) -> float:
    """Of a polygon ``(corners, 2)``, by the shoelace formula."""
    x, y = corners.T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)
