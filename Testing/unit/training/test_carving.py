"""CarveMix: regions worked out by hand in a plane, and what is left alone."""

from __future__ import annotations

import numpy as np
import pytest

from Training.datasets.carving import carve
from Training.datasets.case import UNKNOWN_LABEL

Pair = tuple[np.ndarray, np.ndarray]


class Draws:
    """A generator whose next two draws are known, as shares of the range."""

    def __init__(self, even: float, share: float) -> None:
        self.even, self.share = even, share

    def random(self) -> float:
        return self.even

    def uniform(self, low: float, high: float) -> float:
        return low + self.share * (high - low)


def drawn(host: Pair, donor: Pair, even: float, share: float) -> Pair:
    return carve(host, donor, Draws(even, share))  # type: ignore[arg-type]


@pytest.fixture
def host() -> Pair:
    """All brain, of value 1, with oedema in a corner."""
    labels = np.zeros((1, 11, 11), np.uint8)
    labels[0, 0, 0] = 2
    return np.ones((2, 1, 11, 11), np.float16), labels


@pytest.fixture
def donor() -> Pair:
    """All brain, of value 5, with 5 × 5 pixels of tumour, whose middle is three pixels deep and enhances."""
    labels = np.zeros((1, 11, 11), np.uint8)
    labels[0, 3:8, 3:8] = 1
    labels[0, 5, 5] = 3
    return np.full((2, 1, 11, 11), 5, np.float16), labels


def square(low: int, high: int) -> np.ndarray:
    region = np.zeros((1, 11, 11), bool)
    region[0, low:high, low:high] = True
    return region


@pytest.mark.parametrize(
    ("even", "share", "region"),
    [
        (0.2, 0.0, square(3, 8)),  # up to the tumour's border
        (0.2, 1 / 3, square(3, 8) | square(2, 9) & (np.add.outer(square(3, 8)[0].any(0), square(3, 8)[0].any(1)) > 0)),
        (0.8, 1.0, square(4, 7)),  # deeper than half of it: two pixels and more, of three
    ],
)
def test_regions_by_hand(host: Pair, donor: Pair, even: float, share: float, region: np.ndarray) -> None:
    image, labels = drawn(host, donor, even, share)
    assert np.array_equal(image[0] == 5, region)
    assert np.array_equal(image[1] == 5, region)
    assert np.array_equal(labels, np.where(region, donor[1], host[1]))
    assert (host[0] == 1).all() and host[1].sum() == 2


def test_a_tumour_that_reaches_the_edge_of_the_patch_is_as_deep_as_it_is_seen(host: Pair, donor: Pair) -> None:
    donor[1][:] = 2
    image, labels = drawn(host, donor, 0.2, 0.5)
    assert (image == 5).all() and (labels == 2).all()


def test_nothing_is_put_outside_either_brain_nor_where_the_donor_is_unknown(host: Pair, donor: Pair) -> None:
    host[0][:, 0, :4], donor[0][:, 0, :, 7], donor[1][0, 5, 3] = 0, 0, UNKNOWN_LABEL
    image, labels = drawn(host, donor, 0.2, 0.0)
    expected = square(3, 8)
    expected[0, 3], expected[0, :, 7], expected[0, 5, 3] = False, False, False
    assert np.array_equal(image[0] == 5, expected)
    assert UNKNOWN_LABEL not in labels


@pytest.mark.parametrize("change", ["no tumour", "unknown", "other sequences"])
def test_a_host_stays_as_it_is(host: Pair, donor: Pair, change: str) -> None:
    if change == "other sequences":
        donor[0][1] = 0
    else:
        donor[1][:] = 0 if change == "no tumour" else UNKNOWN_LABEL
    image, labels = drawn(host, donor, 0.2, 0.5)
    assert np.array_equal(image, host[0]) and np.array_equal(labels, host[1])


def test_in_space_distances_are_in_space(host: Pair, donor: Pair) -> None:
    """Three slices, the tumour in the middle one alone: it is one voxel deep, and so is its rim at most."""
    thick = np.concatenate([np.zeros_like(donor[1]), donor[1], np.zeros_like(donor[1])])
    three = np.repeat(donor[0], 3, axis=1), thick
    image, _ = drawn((np.repeat(host[0], 3, axis=1), np.repeat(host[1], 3, axis=0)), three, 0.2, 1.0)
    assert (image[0, 0] == 5).sum() == (image[0, 2] == 5).sum() == 25
    assert (image[0, 1] == 5).sum() == 25 + 4 * 5
