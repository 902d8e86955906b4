"""Losses against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from monai.losses import DiceLoss

from Training.losses import create_loss


def test_dice_bce_by_hand() -> None:
    """Two voxels, logits 0 and ln 3 (probabilities 1/2 and 3/4), target 1 and 0."""
    logits = torch.tensor([0.0, math.log(3)]).reshape(1, 1, 2, 1, 1)
    target = torch.tensor([1.0, 0.0]).reshape(1, 1, 2, 1, 1)
    # Dice: 1 - 2·(1/2) / ((1/4 + 9/16) + 1); cross-entropy: mean of -ln 1/2 and -ln 1/4.
    expected = (1 - 1 / (1 + 13 / 16)) + (math.log(2) + math.log(4)) / 2
    assert create_loss("dice_bce")(logits, target).item() == pytest.approx(expected, rel=1e-4)
    assert create_loss("bce")(logits, target).item() == pytest.approx(math.log(8) / 2, rel=1e-6)


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
    for name in ("dice_bce", "bce"):
        loss = create_loss(name)(logits, target)
        assert loss.dtype == torch.float32
        assert torch.isfinite(loss)
