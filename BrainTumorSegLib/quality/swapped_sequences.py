"""Do the images look like the sequences that they were given as?

For each pair of sequences a logistic score says which of two images is which; it was fitted to skull-stripped brains
with glioma by ``python -m Training.studies.input_checks``, which also measures it. The order of all images that the
scores together like best is compared with the order given. What tells them apart is physics: gadolinium makes a few
voxels much brighter than they were on T1 (skewness of what T1 leaves unexplained), fluid is bright on T2 alone
(skewness, quantiles), and white matter is brighter than grey on T1, darker on T2 and FLAIR (correlation over the
middle intensities of another sequence).
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..domain.modalities import MODALITIES, TITLES
from .examined import Examined

COEFFICIENTS = Path(__file__).with_name("swapped_sequences.json")
PAIRS = tuple(itertools.combinations(MODALITIES, 2))
FEATURES = (
    *("skewness", "quantile 0.01", "quantile 0.1", "median", "quantile 0.9", "quantile 0.99", "quantile 0.999"),
    "skewness of the residual",
    "correlation with each other",
    *("correlation with the third sequence", "correlation with the fourth sequence"),
)

# How much better (in log-odds) another order must be; fitted scores of right orders stay below it.
MARGIN = 2.0
# These two by themselves are told apart little better than by chance: fluid is dark on both, and lesions differ.
TOO_ALIKE = {"t1", "flair"}
# Less than this is no brain: a phantom of a few voxels, a slab.
SMALLEST_BRAIN_ML = 300.0
_SAMPLE = 100_000


@dataclass(frozen=True)
class Appearance:
    """Features of C images of one brain.

    Attributes:
        single: ``(C, 7)``, of each image alone.
        residual: ``(C, C)``, skewness of what image j leaves unexplained of image i by linear regression.
        correlation: ``(C, C)``, correlation of image i with j over the middle 60 % of j's intensities.
    """

    single: np.ndarray
    residual: np.ndarray
    correlation: np.ndarray


def appearance(images: np.ndarray) -> Appearance:
    """Features of images ``(C, …)`` that lie over each other and are 0 outside the brain."""
    brain = np.any(images != 0, axis=0)
    values = images[:, brain][:, :: max(np.count_nonzero(brain) // _SAMPLE, 1)].astype(np.float64)
    values -= values.mean(axis=1, keepdims=True)
    values /= values.std(axis=1, keepdims=True)
    count = len(values)
    residual, correlation = np.zeros((count, count)), np.zeros((count, count))
    for j, other in enumerate(values):
        low, high = np.quantile(other, (0.2, 0.8))
        middle = (other > low) & (other < high)
        for i, value in enumerate(values):
            if i != j:
                residual[i, j] = _skewness(value - (value @ other / len(other)) * other)
                correlation[i, j] = np.corrcoef(value[middle], other[middle])[0, 1]
    quantiles = np.quantile(values, (0.01, 0.1, 0.5, 0.9, 0.99, 0.999), axis=1).T
    return Appearance(np.column_stack([[_skewness(v) for v in values], quantiles]), residual, correlation)


def _skewness(values: np.ndarray) -> float:
    centred = values - values.mean()
    squared = centred * centred  # powers would be computed by logarithms
    return float((squared * centred).mean() / squared.mean() ** 1.5)


def pair_features(seen: Appearance, place: Mapping[str, int], pair: tuple[str, str]) -> np.ndarray:
    """What speaks for ``pair[0]`` being the image at ``place[pair[0]]`` rather than the other one of the two.

    Changes its sign when the two are swapped. Sequences that are not in ``place`` contribute 0.
    """
    i, j = place[pair[0]], place[pair[1]]
    others = [place.get(name) for name in MODALITIES if name not in pair]
    return np.array(
        [
            *(seen.single[i] - seen.single[j]),
            seen.residual[i, j] - seen.residual[j, i],
            seen.correlation[i, j] - seen.correlation[j, i],
            *(0.0 if k is None else seen.correlation[i, k] - seen.correlation[j, k] for k in others),
        ]
    )


def likeliest_order(
    seen: Appearance,
    modalities: Sequence[str],
    coefficients: Mapping[tuple[str, str], np.ndarray] | None = None,
    margin: float = MARGIN,
) -> tuple[str, ...]:
    """What the images that were given as ``modalities`` look like: these, unless another order is better by ``margin``.

    Arguments:
        seen: their features, in the order of ``modalities``.
        modalities: at least two.
    """
    chosen = coefficients or stored_coefficients()
    pairs = [pair for pair in PAIRS if set(pair) <= set(modalities)]

    def score(order: Sequence[str]) -> float:
        place = {name: order.index(name) for name in order}
        return float(sum(chosen[pair] @ pair_features(seen, place, pair) for pair in pairs))

    best = max(itertools.permutations(modalities), key=score)
    return best if score(best) > score(modalities) + margin else tuple(modalities)


@functools.cache
def stored_coefficients() -> dict[tuple[str, str], np.ndarray]:
    """Pair of sequences → coefficient of each of :data:`FEATURES`."""
    stored = json.loads(COEFFICIENTS.read_text(encoding="utf-8"))["coefficients"]
    return {(first, second): np.array(stored[f"{first} {second}"]) for first, second in PAIRS}


def swapped(images: np.ndarray, modalities: Sequence[str], voxel_mm3: float) -> dict[str, str]:
    """Sequence that an image was given as → the one it looks like, for those where they differ.

    Args:
        images: ``(C, Z, Y, X)``, over each other, skull-stripped, 0 outside; channels of zeros are not judged.
        modalities: of the channels.
        voxel_mm3: size of a voxel.
    """
    given = [index for index in range(len(modalities)) if images[index].any()]
    brain = np.count_nonzero(np.any(images != 0, axis=0)) * voxel_mm3 / 1000
    names = [modalities[index] for index in given]
    if len(given) < 2 or set(names) == TOO_ALIKE or brain < SMALLEST_BRAIN_ML:
        return {}
    found = likeliest_order(appearance(images[given]), names)
    return {name: looks for name, looks in zip(names, found, strict=True) if name != looks}


def check(examined: Examined) -> list[str]:
    """Which images look like other sequences than those that they were given as, where all show the whole brain."""
    looks = {} if examined.partly else swapped(examined.array, examined.modalities, examined.voxel_mm3)
    if not looks:
        return []
    given, alike = (", ".join(TITLES[name] for name in names) for names in (looks, looks.values()))
    return [f"The images given as {given} look like {alike}: check whether they were swapped."]
