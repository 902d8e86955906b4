"""One pair: label maps or files compared under given settings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..domain.errors import GeometryError, InputError
from ..domain.grid import Grid, check_overlap, reorient, same_grid
from ..domain.labels import REGIONS, Region, decide_convention, found_values
from ..domain.volume import Volume, bounding_box
from ..io.registry import known_regions, names_segments, own_labels, read_label_map, read_volume
from ..preprocessing.pipeline import LARGEST_EXTENT_MM
from ..preprocessing.resampling import resample
from .metrics.masks import MaskPair
from .metrics.measures import ALL, MEASURES, Measure
from .metrics.policy import Emptiness
from .results import CaseResult, Measures, Settings

# Files of one case agree to this; tools round affines differently when they write them.
AFFINE_TOLERANCE_MM = 1e-2


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
        InputError: unreadable, labels outside the convention, or no region that both can tell.
        GeometryError: the grids differ and ``settings`` do not say how to bring them together, or the images do not
            overlap.
    """
    settings = with_regions(settings or Settings(), [prediction], [reference])
    if "auto" in (settings.prediction_labels, settings.reference_labels):  # else nothing needs to be read twice
        settings = with_conventions(settings, _values_in(prediction), _values_in(reference))
    predicted, truth, notes = _read_together(prediction, reference, settings)
    result = compare_volumes(case, predicted.array, truth.array, truth.spacing, settings)
    return dataclasses.replace(result, prediction=prediction, reference=reference, notes=notes)


def _values_in(path: Path) -> dict[str, frozenset[int]]:
    """The file and the values that it holds."""
    return {str(path): values_of(path)}


def values_of(path: Path) -> frozenset[int]:
    """Voxel values of a label map that a convention explains, so none of a model's own; of a segmentation that
    names its segments, none at all.

    Raises:
        InputError: unreadable, or values that are no whole numbers.
    """
    if names_segments(path):
        return frozenset()
    return found_values(read_volume(path).array, str(path)) - own_labels(path)


def _read_together(prediction: Path, reference: Path, settings: Settings) -> tuple[Volume, Volume, tuple[str, ...]]:
    """Both label maps in this library's convention on the reference's grid, and what was done for it."""
    predicted = read_label_map(prediction, settings.prediction_labels)
    truth = read_label_map(reference, settings.reference_labels)
    boxes = names_segments(prediction), names_segments(reference)
    if any(boxes):  # of a segmentation only the box around the segments is stored
        for same in (predicted, _listed_along(predicted, truth.orientation)):  # programs list voxels in any order
            start = _start_of(same, truth)
            if start is not None:
                grid = _around(start, same, truth) if all(boxes) else Grid.of(same if boxes[1] else truth)
                predicted, truth = _placed(same, grid), _placed(truth, grid)
                break
    return _together(predicted, truth, settings)


def _listed_along(labels: Volume, codes: str) -> Volume:
    """The same voxels in another order: along the axes ``codes``."""
    array = reorient(labels.array, labels.affine, codes)
    return Volume(array, Grid.of(labels).oriented(codes).affine, labels.source)


def _start_of(part: Volume | Grid, whole: Volume | Grid) -> np.ndarray | None:
    """Voxels ``(z, y, x)`` from the first voxel of one grid to that of another; None unless both are cut from one."""
    step = np.linalg.inv(whole.affine) @ part.affine
    if not (np.allclose(step[:3, :3], np.eye(3), atol=1e-4) and np.allclose(step, np.rint(step), atol=1e-2)):
        return None
    return np.rint(step[2::-1, 3]).astype(int)


def _around(start: np.ndarray, part: Volume, whole: Volume) -> Grid:
    """The grid that both boxes are cut from, as far as they reach together.

    Raises:
        GeometryError: they lie farther apart than a head is long.
    """
    first = np.minimum(start, 0)
    z, y, x = (int(n) for n in np.maximum(start + part.shape, whole.shape) - first)
    affine = whole.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ first[::-1]
    grid = Grid((z, y, x), affine)
    if max(size * step for size, step in zip(grid.shape, grid.spacing, strict=True)) > LARGEST_EXTENT_MM:
        check_overlap(part, whole)
    return grid


def _placed(part: Volume, grid: Grid) -> Volume:
    """A label map on a grid that it is cut from, or that is cut from its own.

    Raises:
        GeometryError: some of what is labelled lies outside that grid, and would be lost.
    """
    start = _start_of(part, grid)
    if start is None or same_grid(Grid.of(part), grid):
        return part
    low, high = np.maximum(start, 0), np.minimum(start + part.shape, grid.shape)
    high = np.maximum(low, high)
    array = np.zeros(grid.shape, part.array.dtype)
    inside = part.array[tuple(map(slice, low - start, high - start))]
    lost = np.count_nonzero(part.array) - np.count_nonzero(inside)
    if lost:
        raise GeometryError(
            f"{lost} labelled voxels of {part.source} lie outside the other file's grid.",
            "Give both on the grid of the image that was segmented.",
        )
    array[tuple(map(slice, low, high))] = inside
    return Volume(array, grid.affine, part.source)


def read_pair(prediction: Path, reference: Path, settings: Settings) -> tuple[Volume, Volume]:
    """The label maps of two files as :func:`compare_files` sees them: in this library's convention, on one grid."""
    first, second, _ = _read_together(prediction, reference, settings)
    return first, second


def with_regions(settings: Settings, predictions: Iterable[Path], references: Iterable[Path]) -> Settings:
    """Settings that measure what some file of each side can tell, see :func:`measuring`."""
    if settings.unknown is not None:  # decided over all files
        return settings
    known = (frozenset().union(*map(known_regions, set(files))) for files in (predictions, references))
    return measuring(settings, *known)


def measuring(settings: Settings, predicted: Collection[str], referred: Collection[str]) -> Settings:
    """Settings that measure the regions that both sides know: one that a model does not know is no empty one.

    Raises:
        InputError: there is none.
    """
    unknown = tuple(name for name in REGIONS if name not in predicted or name not in referred)
    settings = dataclasses.replace(settings, unknown=unknown)
    if not settings.regions:
        raise InputError(
            "There is no region of ET, TC and WT that both predictions and references can tell.",
            "Compare results of models that know them.",
        )
    return settings


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
    given = (
        ("prediction", settings.prediction_labels, predictions),
        ("reference", settings.reference_labels, references),
    )
    decided, assumed = {}, set(settings.assumed)
    for side, asked, found in given:
        decided[side] = asked
        # Where segments are named throughout, no value says anything, and nothing is to be decided.
        if asked != "auto" or any(found.values()) or not found:
            option = "--pred-labels" if side == "prediction" else "--ref-labels"
            decided[side] = decide_convention(found, asked, reference=side == "reference", option=option)
            assumed |= {side} if asked == "auto" else set()
    return dataclasses.replace(
        settings,
        prediction_labels=decided["prediction"],
        reference_labels=decided["reference"],
        assumed=tuple(sorted(assumed)),
    )


def _together(predicted: Volume, truth: Volume, settings: Settings) -> tuple[Volume, Volume, tuple[str, ...]]:
    """Both on the reference's grid, and what was done for it."""
    difference = difference_of(predicted, truth)
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
    beyond = _outside(predicted, Grid.of(truth))
    cause += f"; {beyond} of its labelled voxels lie outside the reference's grid and do not count" if beyond else ""
    note = f"The prediction was resampled (nearest neighbour): {difference}{cause}."
    return Volume(array, truth.affine, predicted.source), truth, (note,)


def _outside(labels: Volume, grid: Grid) -> int:
    """How many labelled voxels have their centre outside a grid."""
    index = np.argwhere(labels.array)[:, ::-1]
    step = np.linalg.inv(grid.affine) @ labels.affine
    there = index @ step[:3, :3].T + step[:3, 3]
    return int(np.any((there < -0.5) | (there > np.asarray(grid.shape[::-1]) - 0.5), axis=1).sum())


def _lost_header(predicted: Volume, truth: Volume) -> str:
    """The likely cause of grids of one shape that differ, where one header says nothing of where the image lies."""
    if predicted.shape != truth.shape:
        return ""
    bare = [side for side, volume in (("prediction", predicted), ("reference", truth)) if _says_nothing(volume.affine)]
    return f"; the header of the {bare[0]} seems to be lost, its affine is that of no image" if len(bare) == 1 else ""


def _says_nothing(affine: np.ndarray) -> bool:
    """Whether an affine is what tools write who know none: voxels of 1 mm from 0, along the axes of RAS or LPS."""
    return bool(np.allclose(np.abs(affine), np.eye(4), atol=1e-6))


def difference_of(prediction: Volume, reference: Volume) -> str:
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
    if np.shape(spacing) != (3,) or not all(0 < step < np.inf for step in spacing):
        raise GeometryError(f"A spacing of {spacing} mm is not possible.", "Give z, y and x in mm.")
    z, y, x = (float(step) for step in spacing)
    depth, height, width = prediction.shape
    shape, box = (depth, height, width), bounding_box((prediction != 0) | (reference != 0))
    maps = prediction[box], reference[box]
    pairs = {name: _masks(maps, region, shape, (z, y, x), settings) for name, region in settings.regions.items()}
    measures: Measures = {
        name: {measure: _value(MEASURES[measure], pair, settings) for measure in settings.measures if measure != "miou"}
        for name, pair in pairs.items()
    }
    if "miou" in settings.measures:
        ious = [_value(MEASURES["iou"], pair, settings) for name, pair in pairs.items() if name in REGIONS]
        defined = [iou for iou in ious if not math.isnan(iou)]
        measures[ALL] = {"miou": sum(defined) / len(defined) if defined else math.nan}
    empties: dict[str, Emptiness] = {name: pair.emptiness for name, pair in pairs.items()}
    volumes = {name: pair.volumes for name, pair in pairs.items()}
    return CaseResult(case, measures, empties, volumes, shape, (z, y, x))


def _masks(
    maps: tuple[np.ndarray, np.ndarray],
    region: Region,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    settings: Settings,
) -> MaskPair:
    prediction, reference = (np.isin(array, list(region.labels)) for array in maps)
    distances = "lesion_hd95" in settings.measures
    return MaskPair(prediction, reference, shape, spacing, settings.hd95, settings.tolerance, distances)


def _value(measure: Measure, pair: MaskPair, settings: Settings) -> float:
    """The measure, or what the convention puts in its place where a mask is empty."""
    if pair.emptiness and measure.family:
        return settings.policy.value(measure.family, pair.emptiness, pair.shape, pair.spacing)
    assert measure.of is not None  # only a measure of all regions together has none
    return measure.of(pair)
