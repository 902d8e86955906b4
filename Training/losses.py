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


class SoftDiceLoss(nn.Module):
    """Soft Dice over batch and space on logits ``(N, C, …)``, 1 added above and below, mean over the channels.

    As with ResUNet++ (Jha 2019, arXiv 1911.07067) and the LGG U-Net (Buda 2019). The 1 makes a channel without
    positives right when nothing is found in it.
    """

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean loss, a scalar."""
        probabilities, space = torch.sigmoid(logits.float()), _batch_and_space(logits)
        shared = (probabilities * target).sum(space)
        return (1 - (2 * shared + 1) / (probabilities.sum(space) + target.sum(space) + 1)).mean()


class TverskyLoss(nn.Module):
    """One minus the Tversky index over batch and space on logits ``(N, C, …)``, mean over the channels.

    What is missed weighs .7, what is found too much .3 (Salehi 2017, arXiv 1706.05721, their best). It asks for more
    sensitivity than Dice, where both weigh the same. 1 is added above and below, as in :class:`SoftDiceLoss`.
    """

    def __init__(self) -> None:
        super().__init__()
        from monai.losses import TverskyLoss as Tversky

        self.tversky = Tversky(sigmoid=True, alpha=0.3, beta=0.7, batch=True, smooth_nr=1.0, smooth_dr=1.0)

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean loss, a scalar."""
        loss: torch.Tensor = self.tversky(logits.float(), target)
        return loss


class TanimotoLoss(nn.Module):
    """Tanimoto with complement on logits ``(N, C, …)`` (Diakogiannis 2020, arXiv 1904.00592, section 3.2).

    ``1 - (T(p, l) + T(1 - p, 1 - l)) / 2`` with ``T = (Σ w l p + ε) / (Σ w (l² + p² - l p) + ε)``, ε = 1e-5, summed
    over batch, space and channels; a channel weighs ``w = 1 / volume²``, its volume being the mean over the batch. A
    channel without volume weighs as the smallest that has some, and where none has, as one that fills the patch.
    Targets may be any numbers from 0 to 1. Meant for slices: at the volumes of 3D patches ε outweighs the sums.
    """

    SMOOTH = 1e-5

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean loss, a scalar."""
        p = torch.sigmoid(logits.float())
        return 1 - (self._overlap(p, target) + self._overlap(1 - p, 1 - target)) / 2

    def _overlap(self, p: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        space = _batch_and_space(p)
        volume = target.sum(space) / len(target)
        smallest = volume[volume > 0].min() if (volume > 0).any() else volume.new_tensor(float(target[0, 0].numel()))
        weight = torch.where(volume > 0, volume, smallest) ** -2
        shared = (target * p).sum(space)
        union = (target**2).sum(space) + (p**2).sum(space) - shared
        return ((weight * shared).sum() + self.SMOOTH) / ((weight * union).sum() + self.SMOOTH)


def _batch_and_space(tensor: torch.Tensor) -> list[int]:
    """All dimensions of ``(N, C, …)`` but the channels."""
    return [0, *range(2, tensor.ndim)]


LOSSES: dict[str, type[nn.Module]] = {
    "dice_bce": DiceBCELoss,
    "bce": BCELoss,
    "dice": SoftDiceLoss,
    "tversky": TverskyLoss,
    "tanimoto": TanimotoLoss,
}


def create_loss(name: str) -> nn.Module:
    """The loss that recipes call so."""
    return LOSSES[name]()
