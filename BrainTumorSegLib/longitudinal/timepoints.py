"""Two examinations of one patient: what was found in each, and one brought into the space of the other."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from ..domain.errors import InputError, RequestError
from ..domain.grid import Grid, check_overlap
from ..domain.labels import CONVENTIONS, REGIONS, to_regions
from ..domain.progress import Progress
from ..domain.result_record import ResultRecord, read_record, record_path, recorded_file
from ..domain.volume import Volume
from ..io import dicom
from ..io.registry import names_segments, read_label_map, read_volume
from ..preprocessing.alignment import POOR, brain_alone, check_one_head
from ..preprocessing.appearance import HEAD, appearance
from ..preprocessing.background import foreground
from ..preprocessing.brain_extraction import extract_brain, size_ml
from ..preprocessing.registration import Registration, register
from ..preprocessing.resampling import onto


@dataclass(frozen=True)
class TimePoint:
    """An examination.

    Attributes:
        file: the label map that was made of it.
        labels: its voxels, uint8 in the convention of this library.
        regions: of ET, TC and WT those that it tells apart.
        record: how it came about; None for a label map of others.
        image: on which the label map lies; None where it is not known or no longer there.
        day: of the study, where the image is a DICOM series that tells it.
    """

    file: Path
    labels: Volume
    regions: tuple[str, ...]
    record: ResultRecord | None = None
    image: Volume | None = None
    day: date | None = None

    @property
    def case(self) -> str:
        """What it is called."""
        return self.record.case if self.record else self.file.name


@dataclass(frozen=True)
class Overlaid:
    """The earlier examination in the space of the later one.

    Attributes:
        masks: region → bool ``(Z, Y, X)`` on the grid of the later label map.
        seen: bool ``(Z, Y, X)`` on the same grid, what the earlier image shows, too.
        unseen_ml: region → how much of it, in the earlier and in the later examination, lies where the other one's
            image shows nothing.
        image: the earlier image with the motion in its affine; no voxel is interpolated.
        move: the motion.
        warnings: what a reader must know of it.
    """

    masks: Mapping[str, np.ndarray]
    seen: np.ndarray
    unseen_ml: Mapping[str, tuple[float, float]]
    image: Volume
    move: Registration
    warnings: tuple[str, ...] = ()


def read_time_point(file: Path, image: Path | None = None, convention: str = "auto") -> TimePoint:
    """A label map with what is known of it.

    Args:
        file: label map.
        image: the image that it lies on; by default that of the record beside it, if it is still there.
        convention: of its labels, where there is no record that says it.

    Raises:
        InputError: unreadable, or not what it is taken for.
        GeometryError: the label map does not lie on the image.
        RequestError: masks of 2D images, which have no place in space; or an unknown convention.
    """
    record = read_record(record_path(file)) if record_path(file).is_file() else None
    if record and record.images:
        raise RequestError(f"{file} is of 2D images, which cannot be compared.", "Give results of volumes.")
    if record and record.convention in CONVENTIONS:
        convention = record.convention
    elif record and set(record.regions) == {"WT"}:  # segments have no convention
        convention = "whole"
    labels, (on, day) = read_label_map(file, convention), _image(file, record, image)
    if on is not None:
        check_overlap(labels, on)
        if names_segments(file):  # of which the box around the segments alone is stored
            whole = onto(labels.array, Grid.of(labels), Grid.of(on), nearest=True)
            labels = Volume(whole, on.affine, labels.source)
    regions = tuple(name for name in REGIONS if record is None or name in record.regions)
    return TimePoint(file, labels, regions, record, on, day)


def _image(file: Path, record: ResultRecord | None, given: Path | None) -> tuple[Volume | None, date | None]:
    """The image that was given, or that of the record of a label map, and its day."""
    if given:
        return _read(given)
    made = record.provenance if record else None
    source = (made.series_file or made.inputs.get(made.reference, "")) if made else ""
    place = recorded_file(source, record_path(file))
    if not source or not os.path.exists(place):  # noqa: PTH110 - a series may be described by a name that is too long
        return None, None
    try:
        return _read(place)
    except InputError:  # another file by now: it is not what was asked for
        return None, None


def _read(path: Path) -> tuple[Volume, date | None]:
    if not dicom.names_dicom(path):
        return read_volume(path), None
    series = dicom.series_at(path)
    try:
        day = date.fromisoformat(series.first.date)
    except ValueError:  # left out, or no date: it is not needed
        day = None
    return dicom.read_series(series), day


def overlay(earlier: TimePoint, later: TimePoint, progress: Progress | None = None) -> Overlaid | None:
    """Register the earlier image to the later one, and bring what was found over with it.

    None where one has no image: a label map alone does not say how the head lay.

    Raises:
        GeometryError: the images are not of one head.
        InputError: one shows a head without a brain.
        CancelledError: cancelled through ``progress``.
    """
    progress = progress or Progress()
    if earlier.image is None or later.image is None:
        return None
    move = _registered(earlier.image, later.image, progress)
    warnings: tuple[str, ...] = ()
    if move.quality < POOR:
        warnings = (
            f"The two images may not lie over each other (local correlation {move.quality:.2f}, less than {POOR:.2f}):"
            " check the pictures of the report before you rely on what is new, gone or kept.",
        )
    moved, grid = Grid(earlier.labels.shape, move.matrix @ earlier.labels.affine), Grid.of(later.labels)
    found, later_found = to_regions(earlier.labels.array), to_regions(later.labels.array)
    masks = {name: onto(mask.astype(np.float32), moved, grid) >= 0.5 for name, mask in found.items()}
    seen, kept = _shown(moved, grid), _shown(grid, moved)
    unseen = {
        name: (size_ml(found[name] & ~kept, earlier.labels), size_ml(later_found[name] & ~seen, later.labels))
        for name in found
    }
    return Overlaid(masks, seen, unseen, move.move(earlier.image), move, warnings)


def _shown(image: Grid, grid: Grid) -> np.ndarray:
    """Of the voxels of a grid, those that lie in another image."""
    return np.asarray(onto(np.ones(image.shape, np.uint8), image, grid, nearest=True) > 0)


def _registered(moving: Volume, fixed: Volume, progress: Progress) -> Registration:
    """The motion of the head between two images, of which each shows a head or an extracted brain."""
    heads = [appearance(volume) == HEAD for volume in (moving, fixed)]
    part = progress.part(0.0, 0.4)
    mask = extract_brain(fixed, "auto", part).mask if heads[1] else foreground(fixed.array)
    if heads == [True, False]:  # brains alone can be compared
        moving = brain_alone(moving, "auto", part)
    ticks = [0]

    def tick() -> None:
        ticks[0] += 1
        progress.report("registration", 0.4 + 0.6 * (1 - 0.995 ** ticks[0]), "Registering the earlier image")

    move = register(moving, fixed, mask, skull=all(heads), tick=tick)
    check_one_head(moving.source, fixed.source, move)
    return move
