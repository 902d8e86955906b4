"""The included brain extraction with its weights, on made heads."""

from __future__ import annotations

import numpy as np
import pytest

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.errors import BrainTumorSegError
from BrainTumorSegLib.domain.grid import Grid
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.preprocessing.alignment import align_case
from BrainTumorSegLib.preprocessing.brain_extraction import Brain, extract_brain, extract_together, hd_bet
from BrainTumorSegLib.preprocessing.brain_extraction.included import network_image
from BrainTumorSegLib.preprocessing.resampling import onto
from Testing.head_images import dice, make_head


@pytest.fixture
def without_hd_bet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hd_bet, "PACKAGE", "no_such_package")


def _flip(size: int, axis: int) -> np.ndarray:
    step = np.eye(4)
    step[axis, axis], step[axis, 3] = -1, size - 1
    return step


def test_what_the_network_sees_does_not_depend_on_how_an_image_is_stored(head: Volume) -> None:
    image, grid = network_image(head)
    assert grid.spacing == pytest.approx((2, 2, 2)) and image.dtype == np.float32
    assert image.min() == 0 and image.max() == 1
    # Twice the values and an offset below zero, listed along other axes: the same place, the same image.
    other = Volume(np.ascontiguousarray(head.array[::-1] * 2.0 - 300), head.affine @ _flip(head.shape[0], 2), "other")
    again, same = network_image(other)
    assert np.allclose(same.affine, grid.affine) and np.allclose(again, image, atol=1e-5)


def test_of_a_signed_image_the_network_sees_the_magnitude() -> None:
    """As of inversion recovery: air is grey, between tissue that is darker and tissue that is brighter."""
    z, y, x = np.mgrid[:40, :50, :50]
    inside = (z - 20) ** 2 / 15**2 + (y - 25) ** 2 / 20**2 + (x - 25) ** 2 / 20**2 <= 1
    signed = np.where(inside, np.where(x < 25, 30.0, 200.0), 100.0).astype(np.float32)
    image, _ = network_image(Volume(signed, np.diag([2.0, 2.0, 2.0, 1.0])))
    assert image[:, 0].max() < 0.02 and image[0].max() < 0.02  # air
    halves = {round(float(image[20, 25, x]), 1) for x in (15, 35)}
    assert halves == {0.7, 1.0}  # 70 and 100 away from air


@pytest.mark.parametrize("modality", ["t1", "t1ce", "t2", "flair"])
def test_the_included_network_finds_the_brain_in_any_sequence(modality: str, without_hd_bet: None) -> None:
    head, truth = make_head(modality)
    brain = extract_brain(head, "auto")
    assert brain.method == "included"
    assert brain.mask.dtype == bool and brain.mask.shape == head.shape
    assert dice(brain.mask, truth.array) > 0.9


def rotation(degrees: float, axis: int) -> np.ndarray:
    turn = np.deg2rad(degrees)
    first, second = [other for other in range(3) if other != axis]
    matrix = np.eye(4)
    matrix[[first, second], [first, second]] = np.cos(turn)
    matrix[first, second], matrix[second, first] = -np.sin(turn), np.sin(turn)
    return matrix


@pytest.mark.parametrize(
    ("name", "shape", "spacing", "turn"),
    [
        ("thick slices", (26, 240, 240), (0.9, 0.9, 6.0), np.eye(4)),
        ("sagittal", (40, 110, 110), (2.2, 2.2, 4.5), rotation(90, 1)),
        ("oblique by 25°", (90, 110, 110), (2.2, 2.2, 2.0), rotation(25, 0)),
        ("cut at the vertex", (48, 120, 120), (2.0, 2.0, 2.0), np.eye(4)),
        ("fine", (150, 230, 230), (1.0, 1.0, 1.0), rotation(12, 2)),
    ],
)
def test_the_included_network_on_clinical_grids(
    name: str, shape: tuple[int, int, int], spacing: tuple[float, float, float], turn: np.ndarray
) -> None:
    head, truth = make_head()
    low = Grid.of(head).corners().min(axis=0)
    middle = (low + Grid.of(head).corners().max(axis=0)) / 2
    axes = turn @ np.diag([-spacing[0], -spacing[1], spacing[2], 1])
    axes[:3, 3] = middle - axes[:3, :3] @ ((np.asarray(shape[::-1]) - 1) / 2)
    if name == "cut at the vertex":
        axes[2, 3] = low[2] + 1
    grid = Grid(shape, axes)
    image = Volume(onto(head.array, Grid.of(head), grid), axes, name)
    expected = onto(truth.array.astype(np.float32), Grid.of(truth), grid) >= 0.5
    mask = extract_brain(image, "included").mask
    assert mask.shape == shape and dice(mask, expected) > 0.88


def test_values_and_storage_do_not_matter() -> None:
    head, _ = make_head("t2")
    plain = extract_brain(head, "included").mask
    whole_numbers = np.round(head.array * 2 - 50).astype(np.int16)[:, ::-1]
    flipped = Volume(np.ascontiguousarray(whole_numbers), head.affine @ _flip(head.shape[1], 1), "flipped")
    assert dice(extract_brain(flipped, "included").mask[:, ::-1], plain) > 0.995


def test_what_one_sequence_hides_another_shows() -> None:
    """A body as dark as air at the brain's border, in one of two sequences."""
    (t1, truth), (flair, _) = make_head("t1"), make_head("flair")
    inside = np.argwhere(truth.array > 0)
    z, y, _ = np.median(inside, axis=0)
    side = inside[(np.abs(inside[:, 0] - z) < 2) & (np.abs(inside[:, 1] - y) < 2)]
    centre = side[side[:, 2].argmin()]
    away = np.linalg.norm((np.indices(t1.shape).T - centre) * t1.spacing, axis=-1).T
    body = (away < 15) & (truth.array > 0)
    hidden = t1.with_array(np.where(body, 0, t1.array))
    alone = extract_brain(hidden, "included")
    both = extract_together(alone, hidden, {"FLAIR": flair})
    lost = [np.count_nonzero(body & ~brain.mask) / np.count_nonzero(body) for brain in (alone, both)]
    assert lost[1] < 0.5 * lost[0] and lost[0] > 0.05
    assert dice(both.mask, truth.array) > 0.9 and "FLAIR" in both.words and both.method == "included"


def test_where_another_sequence_does_not_reach_the_first_one_counts() -> None:
    (t1, _), (flair, truth) = make_head("t1"), make_head("flair")
    alone = extract_brain(t1, "included")
    step = np.eye(4)
    step[2, 3] = half = len(flair.array) // 2
    upper = Volume(flair.array[half:], flair.affine @ step, "upper half")
    both = extract_together(alone, t1, {"FLAIR": upper}).mask
    assert dice(both[: half - 3], alone.mask[: half - 3]) > 0.99 and dice(both, truth.array) > 0.9


def test_scans_that_were_registered_show_the_brain_together() -> None:
    """The second one lies 12 mm away by its header."""
    (t1, truth), (flair, _) = make_head("t1"), make_head("flair")
    away = np.eye(4)
    away[:3, 3] = 8, -6, 6.5
    case = Case("P", {"t1": t1, "flair": Volume(flair.array, away @ flair.affine, "moved")})
    aligned = align_case(case, RunOptions(brain_extraction="included"))
    assert aligned.brain is not None and "FLAIR" in aligned.brain.words
    assert dice(aligned.brain.mask, truth.array) > 0.9
    shown = aligned.case.images["flair"]
    shown_mask = onto(shown.array != 0, Grid.of(shown), Grid.of(t1), nearest=True) > 0
    assert dice(shown_mask, aligned.brain.mask) > 0.95


def test_a_brain_of_another_method_stays() -> None:
    head, truth = make_head("t1")
    brain = Brain(truth.array > 0, "given", "from a file")
    assert extract_together(brain, head, {"FLAIR": head}) is brain


@pytest.mark.parametrize("what", ["empty", "noise", "ball"])
def test_images_without_a_brain_are_refused(what: str) -> None:
    rng = np.random.default_rng(0)
    z, y, x = np.ogrid[-1:1:60j, -1:1:80j, -1:1:80j]
    images = {
        "empty": np.zeros((60, 80, 80)),
        "noise": rng.normal(100, 10, (60, 80, 80)),
        "ball": 100.0 * (z**2 + y**2 + x**2 < 0.5),
    }
    with pytest.raises(BrainTumorSegError, match="No brain was found") as caught:
        extract_brain(Volume(images[what], np.diag([-2.0, -2, 2, 1]), "knee"), "included")
    assert caught.value.exit_code == 2
