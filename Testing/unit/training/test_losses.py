"""Losses against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from monai.losses import DiceLoss

from Training.losses import create_loss
from Training.recipe import LOSSES


def test_dice_bce_by_hand() -> None:
    """Two voxels, logits 0 and ln 3 (probabilities 1/2 and 3/4), target 1 and 0."""
    logits = torch.tensor([0.0, math.log(3)]).reshape(1, 1, 2, 1, 1)
    target = torch.tensor([1.0, 0.0]).reshape(1, 1, 2, 1, 1)
    # Dice: 1 - 2·(1/2) / ((1/4 + 9/16) + 1); cross-entropy: mean of -ln 1/2 and -ln 1/4.
    expected = (1 - 1 / (1 + 13 / 16)) + (math.log(2) + math.log(4)) / 2
    assert create_loss("dice_bce")(logits, target).item() == pytest.approx(expected, rel=1e-4)
    assert create_loss("bce")(logits, target).item() == pytest.approx(math.log(8) / 2, rel=1e-6)


def test_soft_dice_by_hand() -> None:
    """One channel as above, one that is empty and where next to nothing is found."""
    logits = torch.tensor([[0.0, math.log(3)], [-30.0, -30.0]]).reshape(1, 2, 2, 1)
    target = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).reshape(1, 2, 2, 1)
    first = 1 - (2 * 0.5 + 1) / (0.5 + 0.75 + 1 + 1)
    assert create_loss("dice")(logits, target).item() == pytest.approx(first / 2, rel=1e-5)
    assert create_loss("dice")(logits[:, 1:], 1 - target[:, 1:]).item() == pytest.approx(1 - 1 / 3, rel=1e-5)


def test_tversky_by_hand() -> None:
    """Probabilities 1/2, 3/4 and 1/2 over two samples, of which the first and the third are tumour."""
    logits = torch.tensor([0.0, math.log(3), 0.0, -30.0]).reshape(2, 1, 2, 1)
    target = torch.tensor([1.0, 0.0, 1.0, 0.0]).reshape(2, 1, 2, 1)
    # Found 1, too much 3/4, missed 1, over the batch as a whole.
    expected = 1 - (1 + 1) / (1 + 0.3 * 0.75 + 0.7 * 1 + 1)
    assert create_loss("tversky")(logits, target).item() == pytest.approx(expected, rel=1e-5)


def test_tversky_takes_for_tumour_what_dice_leaves_out() -> None:
    """Where a tenth is right for certain and of the rest a third, found or not together: .26 < 1/3 < .42."""
    target = torch.zeros(1, 1, 1, 1000)
    target[..., :100] = 1
    target[..., 100:190:3] = 1
    unsure = torch.full((1,), -0.1, requires_grad=True)
    for name, finds in (("tversky", True), ("dice", False)):
        certain, outside = torch.full((100,), 20.0), torch.full((810,), -20.0)
        logits = torch.cat([certain, unsure.expand(90), outside]).reshape(1, 1, 1, 1000)
        (gradient,) = torch.autograd.grad(create_loss(name)(logits, target), unsure)
        assert (gradient.item() < 0) == finds


def test_tanimoto_by_hand() -> None:
    """Volumes 1 and 2 of four voxels, so weights 1 and 1/4, of the complement 1/9 and 1/4."""
    logits = torch.tensor([[0.0, math.log(3), 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]).reshape(1, 2, 4, 1)
    target = torch.tensor([[1.0, 0, 0, 0], [1.0, 1.0, 0, 0]]).reshape(1, 2, 4, 1)
    # First channel: Σ l p = 1/2, Σ l² + p² - l p = 1 + 3/4 + 9/16 - 1/2. Second: 1 and 2 + 1 - 1.
    whole = (0.5 + 1 / 4) / (1 + 21 / 16 - 0.5 + 2 / 4)
    # Complement: Σ = 1/4 + 1/2 + 1/2, 3 + 1/4 + 1/16 + 1/4 + 1/4 - that; second as before.
    shared = 1.25
    rest = (shared / 9 + 1 / 4) / ((3 + 13 / 16 - shared) / 9 + 2 / 4)
    assert create_loss("tanimoto")(logits, target).item() == pytest.approx(1 - (whole + rest) / 2, abs=1e-4)


def test_tanimoto_is_nothing_where_all_is_right_and_falls_where_something_is_learnt() -> None:
    target = torch.zeros(2, 2, 8, 8)
    target[0, 0, 2:5, 2:5] = 1
    loss = create_loss("tanimoto")
    assert loss(80 * target - 40, target).item() == pytest.approx(0, abs=1e-5)
    assert loss(40 - 80 * target, target).item() == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("name", ["tanimoto", "dice", "tversky"])
def test_losses_by_overlap_push_false_positives_down_also_where_there_is_no_tumour(name: str) -> None:
    logits = torch.zeros(2, 1, 16, 16, requires_grad=True)
    create_loss(name)(logits, torch.zeros(2, 1, 16, 16)).backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all() and (logits.grad > 0).all()


def test_dice_is_taken_over_the_batch_not_a_sample() -> None:
    """A sample without the region does not count for itself: both voxels are one overlap."""
    logits = torch.tensor([20.0, -20.0]).reshape(2, 1, 1, 1)
    target = torch.tensor([1.0, 0.0]).reshape(2, 1, 1, 1)
    assert create_loss("dice_bce")(logits, target).item() == pytest.approx(0, abs=1e-4)
    both = create_loss("dice_bce")(torch.full_like(logits, 20.0), target).item()
    assert both == pytest.approx((1 - 2 / 3) + 10, abs=1e-3)  # 2·1/(2+1); half of -ln sigmoid(-20) = 20


def test_channels_count_alike() -> None:
    logits = torch.tensor([20.0, 20.0]).reshape(1, 2, 1, 1)
    target = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1)
    # One channel right (0), the other all wrong (Dice 1); cross-entropy 0 and 20.
    assert create_loss("dice_bce")(logits, target).item() == pytest.approx(0.5 + 10, abs=1e-3)


def test_false_positives_in_an_empty_channel_are_pushed_down() -> None:
    """Soft Dice gives next to no gradient where there is nothing to find; the cross-entropy does."""
    logits = torch.zeros(1, 1, 4, 4, 4, requires_grad=True)
    loss = create_loss("dice_bce")
    loss(logits, torch.zeros(1, 1, 4, 4, 4)).backward()
    assert logits.grad is not None
    assert torch.allclose(logits.grad, torch.full_like(logits, 0.5 / 64), rtol=1e-2)  # sigmoid(0) over 64 voxels
    dice_alone = torch.zeros(1, 1, 4, 4, 4, requires_grad=True)
    DiceLoss(sigmoid=True, squared_pred=True, batch=True)(dice_alone, torch.zeros(1, 1, 4, 4, 4)).backward()
    assert dice_alone.grad is not None
    assert dice_alone.grad.abs().max() < 1e-6


def test_half_precision_logits_are_summed_in_single() -> None:
    logits = torch.full((1, 1, 64, 64, 64), -11.0, dtype=torch.float16)
    target = torch.zeros(1, 1, 64, 64, 64)
    for name in LOSSES:
        loss = create_loss(name)(logits, target)
        assert loss.dtype == torch.float32
        assert torch.isfinite(loss)
