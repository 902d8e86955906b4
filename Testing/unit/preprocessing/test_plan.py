from __future__ import annotations

import numpy as np

from BrainTumorSegLib.domain.grid import Grid
from BrainTumorSegLib.preprocessing.appearance import HEAD, PART, STRIPPED
from BrainTumorSegLib.preprocessing.plan import Plan, plan_of

ONE = Grid((8, 9, 10), np.eye(4))
OTHER = Grid((4, 9, 10), np.diag([1.0, 1, 2, 1]))
FLAIR, BOTH = frozenset({"flair"}), frozenset({"t1ce", "flair"})


def plan(one: str, other: str, grid: Grid = ONE, *options: str, **more: object) -> Plan:
    """For a T1ce on the grid ``ONE``, the reference, and a FLAIR."""
    return plan_of({"t1ce": ONE, "flair": grid}, {"t1ce": one, "flair": other}, "t1ce", *options, **more)  # type: ignore[arg-type]


def test_prepared_images_are_left_alone_and_why() -> None:
    assert plan(STRIPPED, STRIPPED) == Plan(why="the images are skull-stripped and on one grid")
    small = "an image is too small for a head, or has no background"
    assert plan(STRIPPED, PART, OTHER) == Plan(why=small)
    assert plan(PART, HEAD, OTHER) == Plan(unfit=FLAIR, why=small)


def test_what_is_done_all_the_same() -> None:
    assert plan(STRIPPED, STRIPPED, ONE, "register") == Plan(FLAIR)
    assert plan(STRIPPED, STRIPPED, masked=True) == Plan(FLAIR, BOTH)
    assert plan(PART, PART, ONE, "register") == Plan(FLAIR)


def test_a_part_of_a_head_keeps_no_whole_head_from_being_prepared() -> None:
    assert plan(HEAD, PART, OTHER) == Plan(stripped=frozenset({"t1ce"}), parts=FLAIR)
    assert plan(HEAD, PART, OTHER, masked=True) == Plan(FLAIR, BOTH)
    assert plan(HEAD, PART, OTHER, "register") == Plan(FLAIR, BOTH), "a part of a head has a skull, too"
    assert plan(STRIPPED, PART, OTHER, "register") == Plan(FLAIR)


def test_by_a_part_of_a_head_no_skull_is_taken_away() -> None:
    assert plan(PART, HEAD, OTHER, "register") == Plan(FLAIR, unfit=FLAIR)
    assert plan(PART, HEAD, OTHER, masked=True) == Plan(FLAIR, BOTH)
    assert plan(PART, HEAD, OTHER, "register", brain="head") == Plan(FLAIR)


def test_another_grid_is_registered() -> None:
    assert plan(STRIPPED, STRIPPED, OTHER) == Plan(FLAIR)


def test_heads_are_registered_and_stripped() -> None:
    """Also on one grid, which tells nothing of how the head was held."""
    assert plan(HEAD, HEAD) == Plan(FLAIR, BOTH)
    assert plan(STRIPPED, HEAD) == Plan(FLAIR, FLAIR)


def test_what_is_left_as_it_is_says_that_it_does_not_fit() -> None:
    assert plan(HEAD, HEAD, OTHER, "none") == Plan(unfit=BOTH, why="as asked for")
    assert plan(STRIPPED, STRIPPED, OTHER, "none") == Plan(why="as asked for")


def test_a_network_of_whole_heads_wants_them_so() -> None:
    assert plan(HEAD, HEAD, brain="head") == Plan(FLAIR)
    assert plan(HEAD, HEAD, ONE, "none", brain="head") == Plan(why="as asked for")
    assert plan(HEAD, HEAD, masked=True, brain="head") == Plan(FLAIR)
    assert not plan_of({"flair": ONE}, {"flair": HEAD}, "flair", brain="head").registered
