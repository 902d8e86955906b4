"""Many cases in a few numbers: summary of one method, paired comparison of two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .policy import Emptiness

RESAMPLES = 2000
SEED = 20230


@dataclass(frozen=True)
class EmptyCount:
    """Cases of one kind of emptiness and how they counted.

    Attributes:
        kind: ``both``, ``reference`` or ``prediction`` (that mask alone is empty).
        cases: how many.
        values: the distinct values that stood for them, ascending; empty where they were left out.
    """

    kind: Emptiness
    cases: int
    values: tuple[float, ...]


@dataclass(frozen=True)
class Summary:
    """One measure in one region over the cases. All values are NaN where no case counted.

    Attributes:
        n: cases that counted.
        left_out: cases whose value is undefined (NaN) under the convention.
        mean, sd, median, q25, q75, low, high: of the cases that counted; ``sd`` divides by n (ddof 0), the quartiles
            interpolate linearly, ``low`` and ``high`` are the extremes.
        interval: 95 % bootstrap interval of the mean (percentile method, :data:`RESAMPLES` resamples of the cases,
            seeded); NaN for fewer than two cases.
        empties: the cases with an empty mask and how they counted, one entry a kind that occurs.
    """

    n: int
    left_out: int
    mean: float
    sd: float
    median: float
    q25: float
    q75: float
    low: float
    high: float
    interval: tuple[float, float]
    empties: tuple[EmptyCount, ...] = ()


@dataclass(frozen=True)
class Paired:
    """Two methods on the same cases, one measure in one region.

    Attributes:
        n: pairs in which both values are defined.
        first, second: means over these pairs.
        difference: mean of ``first − second``.
        interval: 95 % bootstrap interval of the difference (pairs resampled, seeded).
        p: two-sided Wilcoxon signed-rank test of no difference; NaN where all pairs are equal or there is none.
    """

    n: int
    first: float
    second: float
    difference: float
    interval: tuple[float, float]
    p: float


def summarise(values: Sequence[float], empties: Sequence[Emptiness] = (), *, seed: int = SEED) -> Summary:
    """Summary of one value a case.

    Args:
        values: one a case; NaN is left out and counted.
        empties: which mask was empty, one a case, in the same order; may be left out.
        seed: of the bootstrap.

    Raises:
        ValueError: the sequences differ in length.
    """
    array = np.asarray(values, dtype=float)
    if len(empties) not in (0, len(array)):
        raise ValueError(f"{len(array)} values come with {len(empties)} kinds of emptiness")
    counted = array[~np.isnan(array)]
    found = _empty_counts(array, empties)
    if not counted.size:
        nan = np.nan
        return Summary(0, len(array), nan, nan, nan, nan, nan, nan, nan, (nan, nan), found)
    q25, median, q75 = (float(q) for q in np.percentile(counted, [25, 50, 75]))
    return Summary(
        n=len(counted),
        left_out=len(array) - len(counted),
        mean=float(counted.mean()),
        sd=float(counted.std()),
        median=median,
        q25=q25,
        q75=q75,
        low=float(counted.min()),
        high=float(counted.max()),
        interval=bootstrap_interval(counted, seed=seed),
        empties=found,
    )


def paired(first: Sequence[float], second: Sequence[float], *, seed: int = SEED) -> Paired:
    """One method against another; values of the same case stand at the same place. Pairs with a NaN are left out.

    Raises:
        ValueError: the sequences differ in length.
    """
    from scipy.stats import wilcoxon

    if len(first) != len(second):
        raise ValueError(f"{len(first)} values cannot be paired with {len(second)}")
    pairs = np.array([first, second], dtype=float)
    pairs = pairs[:, ~np.isnan(pairs).any(axis=0)]
    if not pairs.size:
        return Paired(0, np.nan, np.nan, np.nan, (np.nan, np.nan), np.nan)
    differences = pairs[0] - pairs[1]
    return Paired(
        n=pairs.shape[1],
        first=float(pairs[0].mean()),
        second=float(pairs[1].mean()),
        difference=float(differences.mean()),
        interval=bootstrap_interval(differences, seed=seed),
        p=float(wilcoxon(differences).pvalue) if differences.any() else np.nan,
    )


def bootstrap_interval(values: np.ndarray, *, seed: int = SEED) -> tuple[float, float]:
    """95 % interval of the mean by the percentile method (Efron and Tibshirani 1993); NaN for fewer than two values."""
    if len(values) < 2:
        return np.nan, np.nan
    generator = np.random.default_rng(seed)
    means = values[generator.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _empty_counts(values: np.ndarray, empties: Sequence[Emptiness]) -> tuple[EmptyCount, ...]:
    kinds: tuple[Emptiness, ...] = ("both", "reference", "prediction")
    found = []
    for kind in kinds:
        theirs = [value for value, empty in zip(values, empties, strict=False) if empty == kind]
        if theirs:
            distinct = sorted({float(value) for value in theirs if not np.isnan(value)})
            found.append(EmptyCount(kind, len(theirs), tuple(distinct)))
    return tuple(found)
