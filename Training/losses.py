"""Losses for overlapping regions: every output channel is a sigmoid of its own."""

from __future__ import annotations

import torch
from torch import nn


class DiceBCELoss(nn.Module):
    """Soft Dice over batch and space plus binary cross-entropy, both on logits ``(N, C, …)``, equal weight.

    Soft Dice alone gives no penalty for false positives in a channel without positives; the
    cross-entropy does. The squared denominator is Milletari's (V-Net, 2016).
    """

    def __init__(self) -> None:
        super().__init__()
        from monai.losses import DiceLoss

        self.dice = DiceLoss(sigmoid=True, squared_pred=True, batch=True, smooth_nr=1e-5, smooth_dr=1e-5)
        self.bce = nn.BCEWithLogitsLoss()

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean loss, a scalar."""
        logits = logits.float()
        return self.dice(logits, target) + self.bce(logits, target)


class BCELoss(nn.BCEWithLogitsLoss):
    """Binary cross-entropy on logits, in fp32."""

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean loss, a scalar."""
        return super().forward(input.float(), target)


def create_loss(name: str) -> nn.Module:
    """The loss that recipes call so."""
    return {"dice_bce": DiceBCELoss, "bce": BCELoss}[name]()
