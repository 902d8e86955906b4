from __future__ import annotations

import numpy as np
import pytest

from BrainTumorSegLib.domain.grid import Grid
from BrainTumorSegLib.preprocessing.appearance import HEAD, PART, STRIPPED
from BrainTumorSegLib.preprocessing.plan import Plan, plan_of

ONE = Grid((8, 9, 10), np.eye(4))
OTHER = Grid((4, 9, 10), np.diag([1.0, 1, 2, 1]))
BOTH = frozenset({"t1ce", "flair"})


@pytest.mark.parametrize("look", [STRIPPED, PART])
def test_prepared_images_are_left_alone(look: str) -> None:
    grids, looks = {"t1ce": ONE, "flair": ONE}, {"t1ce": look, "flair": look}
    assert plan_of(grids, looks, "t1ce") == Plan()
    assert plan_of(grids, looks, "t1ce", "register") == Plan(frozenset({"flair"}))
    assert plan_of(grids, looks, "t1ce", masked=True) == Plan(frozenset({"flair"}), BOTH)


def test_another_grid_is_registered() -> None:
    assert plan_of({"t1ce": ONE, "flair": OTHER}, dict.fromkeys(BOTH, STRIPPED), "t1ce") == Plan(frozenset({"flair"}))


def test_a_head_among_brains_is_stripped_alone() -> None:
    looks = {"t1ce": STRIPPED, "flair": HEAD}
    plan = plan_of(dict.fromkeys(BOTH, ONE), looks, "t1ce")
    assert plan == Plan(frozenset({"flair"}), frozenset({"flair"}))


def test_what_is_left_as_it_is_says_that_it_does_not_fit() -> None:
    looks = {"t1ce": HEAD, "flair": HEAD}
    assert plan_of(dict.fromkeys(BOTH, OTHER), looks, "t1ce", "none") == Plan(unfit=BOTH)


def test_a_network_of_whole_heads_wants_them_so() -> None:
    looks = dict.fromkeys(BOTH, HEAD)
    assert plan_of(dict.fromkeys(BOTH, ONE), looks, "t1ce", brain="head") == Plan()
    assert plan_of(dict.fromkeys(BOTH, ONE), looks, "t1ce", "none", brain="head") == Plan()
    assert plan_of({"t1ce": ONE, "flair": OTHER}, looks, "t1ce", brain="head") == Plan(frozenset({"flair"}))
