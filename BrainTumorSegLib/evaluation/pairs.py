"""One pair: label maps or files compared under given settings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..domain.errors import GeometryError, LabelError
from ..domain.grid import Grid, check_overlap, same_grid
from ..domain.labels import REGIONS, label_values, read_labels
from ..domain.volume import Volume, bounding_box
from ..io.registry import is_slicer_segmentation, read_label_map, read_volume
from ..preprocessing.resampling import resample
from .metrics.lesions import LesionScores, score_lesions
from .metrics.measures import ALL, MEASURES
from .metrics.overlap import Counts
from .metrics.policy import POLICIES, Emptiness, emptiness_of
from .metrics.surface import surfel_distances, voxel_surface_distances
from .results import CaseResult, Measures, Settings

# Files of one case agree to this; tools round affines differently when they write them.
AFFINE_TOLERANCE_MM = 1e-2

_COUNTED = ("dice", "iou", "sensitivity", "specificity", "precision", "accuracy", "relative_volume_error")
_VOXEL_SURFACE = ("hd", "assd", "masd")
_LESIONS = ("lesion_dice", "lesion_hd95", "lesions_found", "lesions_missed", "lesions_false")


def compare_labels(
    prediction: np.ndarray,
    reference: np.ndarray,
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    settings: Settings | None = None,
) -> Measures:
    """Region → measure → value for two label maps ``(Z, Y, X)`` in the convention of this library.

    Args:
        prediction, reference: label maps.
        spacing: voxel size ``(z, y, x)`` in mm.
        settings: what to measure and how; by default Dice alone, 1 where both are empty.

    Raises:
        GeometryError: the shapes differ, or the spacing is not positive.
    """
    settings = settings or Settings(measures=("dice",))
    return compare_volumes("", prediction, reference, spacing, settings).measures


def compare_files(prediction: Path, reference: Path, settings: Settings | None = None, *, case: str = "") -> CaseResult:
    """The same for two files.

    Raises:
        InputError: unreadable, or labels outside the convention.
        GeometryError: the grids differ and neither ``settings.resample`` nor ``settings.voxelwise`` is set, or the
            images do not overlap.
    """
    settings = settings or Settings()
    predicted, seen = _read(prediction, settings.prediction_labels)
    truth, known = _read(reference, settings.reference_labels)
    predicted, truth = _uncropped(predicted, truth, seen is None, known is None)
    difference = _difference(predicted, truth)
    notes: tuple[str, ...] = ()
    if difference and settings.voxelwise and predicted.shape == truth.shape:
        predicted = Volume(predicted.array, truth.affine, predicted.source)
        notes = (f"Compared voxel by voxel, whatever the headers say: {difference}.",)
    elif difference and not settings.resample:
        raise GeometryError(
            f"{prediction} and {reference} are on different grids: {difference}.", _remedy(predicted, truth)
        )
    elif difference:
        check_overlap(predicted, truth)
        array = resample(predicted.array, Grid.of(predicted), Grid.of(truth), nearest=True)
        predicted = Volume(array, truth.affine, predicted.source)
        notes = (f"The prediction was resampled (nearest neighbour): {difference}.",)
    result = compare_volumes(case, predicted.array, truth.array, truth.spacing, settings)
    return dataclasses.replace(
        result,
        prediction=prediction,
        reference=reference,
        notes=notes,
        values=(seen or frozenset(), known or frozenset()),
    )


def _read(path: Path, convention: str) -> tuple[Volume, frozenset[int] | None]:
    """A label map, and the values that its file holds; None where it names its segments instead."""
    if is_slicer_segmentation(path):
        return read_label_map(path), None
    volume = read_volume(path)
    try:
        array = read_labels(volume.array, convention, volume.source)
    except LabelError as error:
        raise LabelError(str(error), error.remedy.rstrip(".") + " (--pred-labels, --ref-labels).") from error
    return volume.with_array(array), label_values(volume.array, volume.source)[1]


def _uncropped(first: Volume, second: Volume, *cropped: bool) -> tuple[Volume, Volume]:
    """Segmentations of 3D Slicer, of which only the box around the segments is stored, on the other's whole grid."""
    maps = [first, second]
    for index, is_cropped in enumerate(cropped):
        own, other = Grid.of(maps[index]), Grid.of(maps[1 - index])
        if is_cropped and not same_grid(own, other) and _is_part(own, other):
            maps[index] = maps[1 - index].with_array(resample(maps[index].array, own, other, nearest=True))
    return maps[0], maps[1]


def _is_part(part: Grid, whole: Grid) -> bool:
    """Whether every voxel of one grid is a voxel of the other, or would be if that were larger."""
    step = np.linalg.inv(whole.affine) @ part.affine
    return bool(
        np.allclose(step[:3, :3], np.eye(3), atol=1e-4) and np.allclose(step[:3, 3], np.rint(step[:3, 3]), atol=1e-2)
    )


def _remedy(predicted: Volume, truth: Volume) -> str:
    """What to do about different grids; of one shape a header was mostly lost on the way."""
    resampling = "Add --resample to bring the prediction onto the reference's grid"
    if predicted.shape != truth.shape:
        return f"{resampling}."
    lost = next((v.source for v in (predicted, truth) if np.allclose(np.abs(v.affine), np.eye(4))), "")
    likely = (
        f"{lost} has probably lost its header" if lost else "As both have the same shape, a header was probably lost"
    )
    return f"{likely}: compare voxel by voxel with --voxelwise. {resampling} if both headers are right."


def _difference(prediction: Volume, reference: Volume) -> str:
    """What tells the grids apart, in words; empty where they are one grid."""
    if prediction.shape != reference.shape:
        words = ["×".join(map(str, volume.shape[::-1])) for volume in (prediction, reference)]
        return f"the shape is {words[0]} against {words[1]} voxels"
    apart = float(np.abs(Grid.of(prediction).corners() - Grid.of(reference).corners()).max())
    if apart <= AFFINE_TOLERANCE_MM:
        return ""
    if prediction.orientation != reference.orientation:
        return f"the affines differ, axes run {prediction.orientation} against {reference.orientation}"
    if not np.allclose(prediction.spacing, reference.spacing, rtol=1e-3):
        sizes = ["×".join(f"{step:.3g}" for step in volume.spacing[::-1]) for volume in (prediction, reference)]
        return f"the affines differ, voxels are {sizes[0]} against {sizes[1]} mm"
    return f"the affines differ, they lie up to {apart:.3g} mm apart"


def compare_volumes(
    case: str, prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float], settings: Settings
) -> CaseResult:
    """A case from label maps ``(Z, Y, X)`` in the convention of this library on one grid.

    Raises:
        GeometryError: the shapes differ, or the spacing is not three positive numbers.
    """
    if prediction.shape != reference.shape or prediction.ndim != 3:
        raise GeometryError(
            f"The prediction has shape {prediction.shape}, the reference {reference.shape}.",
            "Compare them on one grid of three dimensions.",
        )
    if len(spacing) != 3 or not all(0 < step < np.inf for step in spacing):
        raise GeometryError(f"A spacing of {tuple(spacing)} mm is not possible.", "Give z, y and x in mm.")
    z, y, x = (float(step) for step in spacing)
    box = bounding_box((prediction != 0) | (reference != 0))
    pair = _Pair(prediction[box], reference[box], prediction.shape, (z, y, x), settings)
    measures: Measures = {}
    empties: dict[str, Emptiness] = {}
    volumes: dict[str, tuple[float, float]] = {}
    ious = []
    for name, region in settings.regions.items():
        counts, measures[name] = pair.region(region.labels)
        empties[name] = pair.emptiness(counts)
        volumes[name] = pair.millilitres(counts.predicted), pair.millilitres(counts.referred)
        if name in REGIONS:
            ious.append(pair.decided("iou", counts.iou, empties[name]))
    if "miou" in settings.measures:
        defined = [iou for iou in ious if not math.isnan(iou)]
        measures[ALL] = {"miou": sum(defined) / len(defined) if defined else math.nan}
    depth, height, width = prediction.shape
    return CaseResult(case, measures, empties, volumes, (depth, height, width), (z, y, x))


class _Pair:
    """Two label maps, cropped to what is not background, and the grid they come from."""

    def __init__(
        self,
        prediction: np.ndarray,
        reference: np.ndarray,
        shape: Sequence[int],
        spacing: tuple[float, float, float],
        settings: Settings,
    ) -> None:
        self.maps = prediction, reference
        self.shape, self.spacing, self.settings = shape, spacing, settings

    def masks(self, labels: frozenset[int]) -> tuple[np.ndarray, np.ndarray]:
        """Masks of a region: prediction and reference."""
        first, second = (np.isin(array, list(labels)) for array in self.maps)
        return first, second

    def millilitres(self, voxels: int) -> float:
        """Volume of so many voxels."""
        return voxels * float(np.prod(self.spacing)) / 1000

    def region(self, labels: frozenset[int]) -> tuple[Counts, dict[str, float]]:
        """Counts and the asked-for measures of one region."""
        prediction, reference = self.masks(labels)
        counts = Counts.of(prediction, reference, int(np.prod(self.shape)))
        empty = self.emptiness(counts)
        values: dict[str, float] = {name: getattr(counts, name) for name in _COUNTED}
        values["volume_error"] = self.millilitres(counts.predicted) - self.millilitres(counts.referred)
        if not empty:
            values |= self._distances(prediction, reference)
        if self._wants(*_LESIONS):
            values |= self._lesions(prediction, reference)
        wanted = [name for name in self.settings.measures if name != "miou"]
        return counts, {name: self.decided(name, values.get(name, math.nan), empty) for name in wanted}

    @staticmethod
    def emptiness(counts: Counts) -> Emptiness:
        """Which mask is empty."""
        return emptiness_of(counts.predicted > 0, counts.referred > 0)

    def decided(self, name: str, value: float, empty: Emptiness) -> float:
        """The value, or what the convention puts in its place where a mask is empty."""
        family = MEASURES[name].family
        return self.settings.policy.value(family, empty, self.shape, self.spacing) if empty and family else value

    def _wants(self, *names: str) -> bool:
        return any(name in self.settings.measures for name in names)

    def _distances(self, prediction: np.ndarray, reference: np.ndarray) -> Mapping[str, float]:
        """Measures of distance between two masks that both have voxels; each surface is searched once."""
        values: dict[str, float] = {}
        by_area = self.settings.hd95 == "surfel"
        if self._wants(*_VOXEL_SURFACE) or (self._wants("hd95") and not by_area):
            voxels = voxel_surface_distances(prediction, reference, self.spacing)
            values = {"hd": voxels.hd, "assd": voxels.assd, "masd": voxels.masd}
            if not by_area:
                values["hd95"] = voxels.hd95(self.settings.hd95)
        if self._wants("surface_dice") or (self._wants("hd95") and by_area):
            surfels = surfel_distances(prediction, reference, self.spacing)
            values["surface_dice"] = surfels.surface_dice(self.settings.tolerance)
            if by_area:
                values["hd95"] = surfels.hd95("surfel")
        return values

    def _lesions(self, prediction: np.ndarray, reference: np.ndarray) -> Mapping[str, float]:
        scores: LesionScores = score_lesions(
            prediction,
            reference,
            self.spacing,
            POLICIES["brats2023"].penalty(self.shape, self.spacing),
            distances=self._wants("lesion_hd95"),
        )
        return {
            "lesion_dice": scores.dice,
            "lesion_hd95": scores.hd95,
            "lesions_found": float(scores.found),
            "lesions_missed": float(scores.missed),
            "lesions_false": float(scores.false),
        }
