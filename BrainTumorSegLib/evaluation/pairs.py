"""One pair: label maps or files compared under given settings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..domain.errors import GeometryError
from ..domain.grid import Grid, check_overlap
from ..domain.labels import REGIONS, decide_convention, found_values, read_labels
from ..domain.volume import Volume, bounding_box
from ..io.registry import read_volume
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
        GeometryError: the grids differ and ``settings`` do not say how to bring them together, or the images do not
            overlap.
    """
    predicted, truth = read_volume(prediction), read_volume(reference)
    settings = with_conventions(
        settings or Settings(),
        {predicted.source: found_values(predicted.array, predicted.source)},
        {truth.source: found_values(truth.array, truth.source)},
    )
    predicted, truth, notes = _together(
        _labels(predicted, settings.prediction_labels), _labels(truth, settings.reference_labels), settings
    )
    result = compare_volumes(case, predicted.array, truth.array, truth.spacing, settings)
    return dataclasses.replace(result, prediction=prediction, reference=reference, notes=notes)


def read_pair(prediction: Path, reference: Path, settings: Settings) -> tuple[Volume, Volume]:
    """The label maps of two files as :func:`compare_files` sees them: in this library's convention, on one grid."""
    predicted, truth = read_volume(prediction), read_volume(reference)
    first, second, _ = _together(
        _labels(predicted, settings.prediction_labels), _labels(truth, settings.reference_labels), settings
    )
    return first, second


def with_conventions(
    settings: Settings, predictions: Mapping[str, Collection[int]], references: Mapping[str, Collection[int]]
) -> Settings:
    """Settings whose label conventions are decided, over all files of each side.

    Args:
        settings: those asked for.
        predictions, references: file → values that it holds.

    Raises:
        InputError: the values of one side can be read in two ways, or in none.
    """
    asked = settings.prediction_labels, settings.reference_labels
    decided = (
        decide_convention(predictions, asked[0], option="--pred-labels"),
        decide_convention(references, asked[1], reference=True, option="--ref-labels"),
    )
    assumed = {side for side, name in zip(("prediction", "reference"), asked, strict=True) if name == "auto"}
    return dataclasses.replace(
        settings,
        prediction_labels=decided[0],
        reference_labels=decided[1],
        assumed=tuple(sorted(assumed | set(settings.assumed))),
    )


def _labels(volume: Volume, convention: str) -> Volume:
    return volume.with_array(read_labels(volume.array, convention, volume.source))


def _together(predicted: Volume, truth: Volume, settings: Settings) -> tuple[Volume, Volume, tuple[str, ...]]:
    """Both on the reference's grid, and what was done for it."""
    difference = _difference(predicted, truth)
    if not difference:
        return predicted, truth, ()
    cause = _lost_header(predicted, truth)
    if settings.voxelwise and predicted.shape == truth.shape:
        note = f"Compared voxel by voxel although {difference}{cause}."
        return Volume(predicted.array, truth.affine, predicted.source), truth, (note,)
    if not settings.resample:
        remedy = "Add --resample to bring the prediction onto the reference's grid."
        if predicted.shape == truth.shape:
            remedy += " If the voxels belong together as they are stored, add --voxelwise instead."
        raise GeometryError(
            f"{predicted.source} and {truth.source} are on different grids: {difference}{cause}.", remedy
        )
    check_overlap(predicted, truth)
    array = resample(predicted.array, Grid.of(predicted), Grid.of(truth), nearest=True)
    note = f"The prediction was resampled (nearest neighbour): {difference}{cause}."
    return Volume(array, truth.affine, predicted.source), truth, (note,)


def _lost_header(predicted: Volume, truth: Volume) -> str:
    """The likely cause of grids of one shape that differ, where one header says nothing of where the image lies."""
    if predicted.shape != truth.shape:
        return ""
    bare = [side for side, volume in (("prediction", predicted), ("reference", truth)) if _says_nothing(volume.affine)]
    return f"; the header of the {bare[0]} seems to be lost, its affine is that of no image" if len(bare) == 1 else ""


def _says_nothing(affine: np.ndarray) -> bool:
    """Whether an affine is what tools write who know none: voxels of 1 mm from 0, along the axes of RAS or LPS."""
    return bool(np.allclose(np.abs(affine), np.eye(4), atol=1e-6))


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
