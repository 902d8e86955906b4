"""Summaries and paired comparisons: by hand, and against NumPy and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from BrainTumorSegLib.evaluation.metrics import EmptyCount, Paired, bootstrap_interval, paired, summarise

NAN = math.nan


def test_by_hand() -> None:
    found = summarise([1.0, 2.0, 3.0, 4.0, NAN])
    assert (found.n, found.left_out) == (4, 1)
    assert (found.mean, found.median, found.q25, found.q75) == (2.5, 2.5, 1.75, 3.25)
    assert found.sd == pytest.approx(math.sqrt(1.25))  # divided by n, not n − 1
    assert (found.low, found.high) == (1, 4)
    assert 1 <= found.interval[0] < 2.5 < found.interval[1] <= 4


def test_empties_and_how_they_counted() -> None:
    found = summarise([0.8, 1.0, 1.0, 0.0, NAN], ["", "both", "both", "reference", "prediction"])
    assert found.empties == (
        EmptyCount("both", 2, (1.0,)),
        EmptyCount("reference", 1, (0.0,)),
        EmptyCount("prediction", 1, ()),
    )


@pytest.mark.parametrize("values", [[], [NAN, NAN]])
def test_where_nothing_counts(values: list[float]) -> None:
    found = summarise(values)
    assert found.n == 0 and found.left_out == len(values)
    assert math.isnan(found.mean) and math.isnan(found.median) and math.isnan(found.interval[0])


def test_one_case_has_no_interval() -> None:
    found = summarise([0.5])
    assert (found.mean, found.sd) == (0.5, 0.0) and math.isnan(found.interval[0])


def test_the_bootstrap_is_the_same_each_time_and_agrees_with_scipy() -> None:
    values = np.random.default_rng(7).beta(8, 2, 60)
    found = bootstrap_interval(values)
    assert found == bootstrap_interval(values) != bootstrap_interval(values, seed=1)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=5000, rng=0).confidence_interval
    assert found == pytest.approx((theirs.low, theirs.high), abs=0.005)


def test_the_bootstrap_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(11)
    intervals = [bootstrap_interval(generator.normal(size=40), seed=seed) for seed in range(200)]
    assert 0.89 < np.mean([low <= 0 <= high for low, high in intervals]) < 0.99


def test_paired_by_hand_and_against_scipy() -> None:
    first = np.array([0.9, 0.8, 0.7, 0.95, 0.6, 0.85, NAN])
    second = np.array([0.8, 0.75, 0.72, 0.9, 0.45, 0.83, 0.9])
    found = paired(first.tolist(), second.tolist())
    assert found.n == 6
    assert found.first == pytest.approx(0.8) and found.second == pytest.approx(4.45 / 6)
    assert found.difference == pytest.approx(0.35 / 6)
    # Differences by size: .02 −, .02, .05, .05, .1, .15: the rank sum of the negative one decides.
    assert found.p == pytest.approx(stats.wilcoxon(first[:6], second[:6]).pvalue)
    assert found.interval[0] < found.difference < found.interval[1]
    turned = paired(second.tolist(), first.tolist())
    assert turned.difference == pytest.approx(-found.difference) and turned.p == pytest.approx(found.p)


def test_equal_methods_and_none_at_all() -> None:
    same = paired([0.5, 0.6], [0.5, 0.6])
    assert (same.difference, same.interval) == (0, (0, 0)) and math.isnan(same.p)
    none = paired([NAN], [1.0])
    assert isinstance(none, Paired) and none.n == 0 and math.isnan(none.difference)
    with pytest.raises(ValueError, match="paired"):
        paired([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="emptiness"):
        summarise([1.0], ["", ""])
