"""From what the networks say to label maps, on the reference's grid and on the others'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..domain.case import Case
from ..domain.grid import Grid
from ..domain.labels import ED, ET, NCR, REGIONS
from ..domain.volume import Volume
from ..models.description import PostprocessingSpec
from .confidence import calibrated, confidence
from .ensemble import Opinion, known_regions, mean_probability
from .postprocessing import clean, fill_holes, region_mask


@dataclass(frozen=True)
class Composition:
    """A label map and what is known of it.

    Attributes:
        labels: uint8 ``(Z, Y, X)`` on the reference's grid, in the convention of this library.
        expected: region → the Dice that its calibrated probabilities promise, of the regions that were found.
        probabilities: region → ``(Z, Y, X)``, where they were to be kept.
        doubted: expected Dice of the enhancing tumour that was taken for core since it is more likely none.
    """

    labels: np.ndarray
    expected: dict[str, float] = field(default_factory=dict)
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)
    doubted: float | None = None


def compose(opinions: Sequence[Opinion], spec: PostprocessingSpec, case: Case, *, keep: bool) -> Composition:
    """Label map and confidence, one region at a time so that only one probability map is alive."""
    masks, expected, probabilities = {}, {}, {}
    likeliest = _likeliest(opinions)
    chosen = _regions_of(opinions, likeliest, spec)
    for region in known_regions(opinions):
        temperature = spec.temperatures.get(region)
        if chosen and temperature is None and not keep:
            continue
        probability = mean_probability(opinions, region)
        masks[region] = chosen[region] if chosen else region_mask(probability, region, spec)
        if temperature is not None:  # what uncalibrated probabilities promise is worth nothing
            expected[region] = confidence(probability, masks[region], case.reference_volume.spacing, temperature)
        if keep:
            probabilities[region] = calibrated(probability, temperature or 1.0)
    masks |= chosen
    doubted = _doubted(masks, expected, spec)
    if doubted is not None:
        masks["ET"][:] = False
    labels = _cleaned(masks, spec, case.reference_volume)
    _paint_own(labels, opinions, likeliest)
    found = {label for label in (NCR, ED, ET) if (labels == label).any()}
    expected = {region: value for region, value in expected.items() if found & REGIONS[region].labels}
    return Composition(labels, expected, probabilities, doubted)


def _likeliest(opinions: Sequence[Opinion], grid: Grid | None = None) -> np.ndarray | None:
    """Number of the likeliest output, counted from 1, and 0 where that is the background, of one softmax; else None."""
    if len(opinions) != 1 or opinions[0].description.activation != "softmax":
        return None
    (opinion,) = opinions
    highest: np.ndarray | None = None
    for channel, output in enumerate(opinion.description.outputs):
        if not output.labels:
            continue
        probability = opinion.prepared.restore(opinion.outputs[channel], grid)
        if highest is None:
            highest, rest = np.zeros_like(probability), 1 - probability
            number = np.zeros(probability.shape, dtype=np.uint8)
        else:
            rest -= probability
        higher = probability > highest
        highest[higher], number[higher] = probability[higher], channel + 1
    assert highest is not None, "a softmax has more than the background"
    number[highest <= rest] = 0  # also outside the box, where all are 0
    return number


def _regions_of(
    opinions: Sequence[Opinion], likeliest: np.ndarray | None, spec: PostprocessingSpec
) -> dict[str, np.ndarray]:
    """Region → mask of where its classes are the likeliest; empty where there is no softmax."""
    if likeliest is None:
        return {}
    found = {}
    for region in known_regions(opinions):
        channels = opinions[0].description.outputs_of(region)
        found[region] = np.isin(likeliest, [channel + 1 for channel in channels])
        if region in spec.filled:
            fill_holes(found[region])
    return found


def _paint_own(
    labels: np.ndarray, opinions: Sequence[Opinion], likeliest: np.ndarray | None, grid: Grid | None = None
) -> None:
    """The regions of a model's own into a label map, in place: they have no post-processing."""
    if len(opinions) != 1:
        return
    (opinion,) = opinions
    for channel, label in opinion.description.painted.items():
        if likeliest is None:
            labels[opinion.prepared.restore(opinion.outputs[channel], grid) >= 0.5] = label
        else:
            labels[likeliest == channel + 1] = label


def _cleaned(masks: Mapping[str, np.ndarray], spec: PostprocessingSpec, volume: Volume) -> np.ndarray:
    """The label map of regions; of none, an empty one."""
    return clean(masks, spec, volume.voxel_volume) if masks else np.zeros(volume.array.shape, dtype=np.uint8)


def _doubted(masks: Mapping[str, np.ndarray], expected: Mapping[str, float], spec: PostprocessingSpec) -> float | None:
    """The expected Dice of an enhancing tumour that is too doubtful; None where there is none, or a likely one."""
    value = expected.get("ET", 1.0)
    return value if value < spec.minimum_et_dice and masks["ET"].any() else None


def on_native_grids(
    opinions: Sequence[Opinion], spec: PostprocessingSpec, case: Case, placed: Mapping[str, Volume], doubted: bool
) -> dict[str, Volume]:
    """Modality → label map on that image's own grid, where it was before it was registered; the reference's left out.

    Each has its own interpolation from the network's grid: none is made from another label map.

    Args:
        placed: the images where they are after registration, on their own voxels.
        doubted: whether there is no enhancing tumour, see :class:`Composition`.
    """
    found = {}
    for name, volume in placed.items():
        if name == case.reference:
            continue
        grid = Grid.of(volume)
        likeliest = _likeliest(opinions, grid)
        masks = _regions_of(opinions, likeliest, spec) or {
            region: region_mask(mean_probability(opinions, region, grid), region, spec)
            for region in known_regions(opinions)
        }
        if doubted:
            masks["ET"][:] = False
        labels = _cleaned(masks, spec, volume)
        _paint_own(labels, opinions, likeliest, grid)
        found[name] = case.images[name].with_array(labels)
    return found
