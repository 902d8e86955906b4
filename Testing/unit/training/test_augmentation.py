"""Augmentation: labels follow the image, outside stays 0, a seed decides all."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from Training.augmentation import Augmentation, coil_field
from Training.recipe import AugmentationRecipe

NUMBERS = [field.name for field in dataclasses.fields(AugmentationRecipe) if field.type == "float"]
NONE = AugmentationRecipe(**dict.fromkeys(NUMBERS, 0.0) | {"mirror": False})  # type: ignore[arg-type]


def painted(dimensions: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels 1 to 3 in blocks off the middle of a brain, and an image whose value is 10 · (label + 1) in the brain."""
    shape = (18, 20, 22)[-dimensions:]
    labels = torch.zeros(1, *shape, dtype=torch.uint8)
    inner = tuple(slice(3, -3) for _ in shape)
    brain = torch.zeros(1, *shape)
    brain[0][inner] = 1
    labels[0][tuple(slice(4, 9) for _ in shape)] = 1
    labels[0][tuple(slice(9, 12) for _ in shape)] = 2
    labels[0][tuple(slice(5, 8) for _ in shape)] = 3
    return brain * (labels + 1) * 10, labels


def centroid(weights: torch.Tensor) -> torch.Tensor:
    """Centre of mass in voxels."""
    index = torch.stack(torch.meshgrid(*[torch.arange(n) for n in weights.shape], indexing="ij")).flatten(1).float()
    return (index * weights.flatten()).sum(1) / weights.sum()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_nothing_asked_nothing_done(dimensions: int) -> None:
    image, labels = painted(dimensions)
    for seed in range(5):
        out, out_labels = Augmentation(NONE, dimensions)(image, labels, seed)
        assert torch.equal(out, image)
        assert torch.equal(out_labels, labels)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_mirrored_labels_lie_on_the_mirrored_image(dimensions: int) -> None:
    augmentation = Augmentation(dataclasses.replace(NONE, mirror=True), dimensions)
    image, labels = painted(dimensions)
    seen = set()
    for seed in range(40):
        out, out_labels = augmentation(image, labels, seed)
        assert torch.equal(out.div(10).round() - 1 == out_labels, out > 0)
        assert torch.equal(out.sort().values.sum(), image.sort().values.sum())
        seen.add(tuple(torch.nonzero(out_labels[0] == 3)[0].tolist()))
    assert len(seen) == 2**dimensions  # every axis is mirrored at times


@pytest.mark.parametrize("dimensions", [2, 3])
def test_turned_and_scaled_labels_lie_on_the_image(dimensions: int) -> None:
    """Only where linear interpolation mixes neighbours may the painted value differ from the label's."""
    augmentation = Augmentation(dataclasses.replace(NONE, affine=1.0), dimensions)
    image, labels = painted(dimensions)
    moved = 0
    for seed in range(10):
        out, out_labels = augmentation(image, labels, seed)
        assert set(out_labels.unique().tolist()) <= {0, 1, 2, 3}
        moved += not torch.equal(out_labels, labels)
        apart = (out[0] / 10 - 1 - out_labels[0]).abs()[out[0] > 0]
        assert (apart < 0.5).float().mean() > 0.8
        repainted = (out[0] > 0) * (out_labels[0] + 1) * 10
        assert torch.allclose(centroid(out[0]), centroid(repainted), atol=0.25)
    assert moved == 10


@pytest.mark.parametrize("name", ["noise", "blur", "brightness", "contrast", "gamma", "low_resolution", "bias_field"])
def test_intensities_change_inside_only(name: str) -> None:
    augmentation = Augmentation(dataclasses.replace(NONE, **{name: 1.0}), 3)  # type: ignore[arg-type]
    image, labels = painted()
    out, out_labels = augmentation(image, labels, 1)
    assert not torch.equal(out, image)
    assert torch.equal(out_labels, labels)
    assert not out[image == 0].any()
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("name", ["noise", "gamma", "contrast", "brightness", "bias_field"])
def test_a_sequence_that_a_patient_lacks_stays_empty(name: str) -> None:
    """It would look as if it were there; the others change."""
    image, labels = four_channels()
    image[1] = 0
    out, _ = Augmentation(dataclasses.replace(NONE, **{name: 1.0}), 3)(image, labels, 1)  # type: ignore[arg-type]
    assert not out[1].any()
    assert all(out[channel].any() and not torch.equal(out[channel], image[channel]) for channel in (0, 2, 3))


def test_all_at_once_is_a_function_of_the_seed() -> None:
    everything = AugmentationRecipe(**dict.fromkeys(NUMBERS, 1.0) | {"missing": 0.0})  # type: ignore[arg-type]
    image, labels = painted()
    first, other = Augmentation(everything, 3), Augmentation(everything, 3)
    other(image, labels, 99)  # what came before does not matter, nor do the global generators
    torch.manual_seed(5)
    results = [augmentation(image, labels, 7) for augmentation in (first, other)]
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert not torch.equal(first(image, labels, 8)[0], results[0][0])
    assert type(results[0][0]) is torch.Tensor
    assert results[0][1].dtype == torch.uint8
    assert torch.equal(image, painted()[0])  # the input stays


def test_the_state_of_other_generators_is_left_alone() -> None:
    state = torch.get_rng_state()
    Augmentation(AugmentationRecipe(True, 1.0, 1.0), 3)(*painted(), 3)
    assert torch.equal(torch.get_rng_state(), state)


def four_channels() -> tuple[torch.Tensor, torch.Tensor]:
    image, labels = painted()
    return image * torch.tensor([1.0, 2.0, 3.0, 4.0]).reshape(4, 1, 1, 1), labels


def test_left_out_sequences_are_zero_and_the_others_untouched() -> None:
    image, labels = four_channels()
    augmentation = Augmentation(dataclasses.replace(NONE, missing=1.0), 3)
    subsets = set()
    for seed in range(300):
        out, out_labels = augmentation(image, labels, seed)
        kept = tuple(channel for channel in range(4) if out[channel].any())
        assert torch.equal(out[list(kept)], image[list(kept)])
        assert torch.equal(out_labels, labels)
        subsets.add(kept)
    assert len(subsets) == 14  # all but none and all


def test_sequences_are_left_out_as_often_as_asked_for_and_one_to_three_alike() -> None:
    image, labels = four_channels()
    augmentation = Augmentation(dataclasses.replace(NONE, missing=0.5), 3)
    left_out = [sum(not out.any() for out in augmentation(image, labels, seed)[0]) for seed in range(600)]
    assert sum(count == 0 for count in left_out) == pytest.approx(300, abs=50)  # 4 standard deviations
    for size in (1, 2, 3):
        assert left_out.count(size) == pytest.approx(100, abs=37)


def test_only_optional_sequences_are_left_out() -> None:
    image, labels = torch.ones(3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8)
    augmentation = Augmentation(dataclasses.replace(NONE, missing=1.0), 2, optional={0: 1.0, 2: 1.0})
    given = {tuple(augmentation(image, labels, seed)[0].flatten(1).any(dim=1).tolist()) for seed in range(40)}
    assert given == {(False, True, True), (True, True, False), (False, True, False)}


def test_what_goes_less_readily_stays_more_often() -> None:
    """Drawn one by one with weights 1, 1, 1 and 1/4: the last stays alone in 3/3.25 · 2/2.25 · 1/1.25 of the draws."""
    image, labels = four_channels()
    augmentation = Augmentation(dataclasses.replace(NONE, missing=1.0), 3, optional={0: 1.0, 1: 1.0, 2: 1.0, 3: 0.25})
    given = [augmentation(image, labels, seed)[0].flatten(1).any(dim=1).tolist() for seed in range(900)]
    alone = [kept for kept in given if sum(kept) == 1]
    assert sum(kept[3] for kept in alone) / len(alone) == pytest.approx(0.656, abs=0.11)  # 4 standard deviations
    assert sum(kept == [True, True, True, False] for kept in given) / 900 == pytest.approx(0.25 / 3.25 / 3, abs=0.022)


def test_a_patient_without_some_sequences_keeps_one_of_the_others() -> None:
    image, labels = four_channels()
    image[[0, 2]] = 0  # only two are there
    augmentation = Augmentation(dataclasses.replace(NONE, missing=1.0), 3, optional=dict.fromkeys(range(4), 1.0))
    given = [augmentation(image, labels, seed)[0].flatten(1).any(dim=1).tolist() for seed in range(60)]
    assert {tuple(kept) for kept in given} == {(False, True, False, False), (False, False, False, True)}


def test_a_bias_field_multiplies_the_signal() -> None:
    """Signals 1 and 2 (z-scores -2 and -1) side by side: one smooth field for both, about 1, another each sequence."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(1, 3, (2, 32, 32, 32), generator=generator).float() - 3
    labels = torch.zeros(1, 32, 32, 32, dtype=torch.uint8)
    augmentation = Augmentation(dataclasses.replace(NONE, bias_field=1.0), 3)
    fields = torch.stack([(augmentation(image, labels, seed)[0] + 3) / (image + 3) for seed in range(40)])
    assert fields.log().diff(dim=-1).abs().max() < 0.06  # as steep as polynomials of degree 2 can be at 32 voxels
    assert fields.log().std() == pytest.approx(0.15, abs=0.03)
    assert fields.log().mean() == pytest.approx(0, abs=0.05)
    assert (fields[:, 0] - fields[:, 1]).abs().mean() > 0.05


def test_whether_a_sequence_has_a_field_says_nothing_of_what_is_left_out() -> None:
    image, labels = four_channels()
    augmentation = Augmentation(dataclasses.replace(NONE, bias_field=0.5, missing=0.5), 3)
    given = [augmentation(image, labels, seed)[0] for seed in range(400)]
    whole = torch.stack([out for out in given if out.flatten(1).any(dim=1).all()])
    uneven = (whole != image).flatten(2).any(dim=2).float().mean(dim=0)
    assert uneven.tolist() == pytest.approx([0.5] * 4, abs=0.15)  # 4 standard deviations


@pytest.mark.parametrize("shape", [(5, 6), (4, 5, 6)])
def test_a_field_is_what_numpy_makes_of_its_polynomials(shape: tuple[int, ...]) -> None:
    """The same draws as coefficients of numpy's Legendre series, those of degree 3 and more left out."""
    coefficients = np.random.default_rng(7).uniform(-0.15, 0.15, (3,) * len(shape))
    for place in itertools.product(range(3), repeat=len(shape)):
        if sum(place) > 2:
            coefficients[place] = 0
    along = [np.linspace(-1, 1, size) for size in shape]
    grid: Any = np.polynomial.legendre.leggrid2d if len(shape) == 2 else np.polynomial.legendre.leggrid3d
    expected = np.exp(grid(*along, coefficients))
    np.testing.assert_allclose(coil_field(shape, np.random.default_rng(7)).numpy(), expected, rtol=1e-5)


def test_brightness_differs_between_sequences_where_asked_for() -> None:
    image, labels = torch.ones(3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.uint8)
    for channel_wise in (False, True):
        recipe = dataclasses.replace(NONE, brightness=1.0, channel_wise=channel_wise)
        found = Augmentation(recipe, 2)(image, labels, 3)[0].flatten(1)
        assert torch.equal(found.amax(dim=1), found.amin(dim=1)), "a factor a sequence"
        assert len(found[:, 0].unique()) == (3 if channel_wise else 1)


def test_a_single_sequence_is_never_left_out() -> None:
    image, labels = painted()
    assert Augmentation(dataclasses.replace(NONE, missing=1.0), 3)(image, labels, 0)[0].any()
