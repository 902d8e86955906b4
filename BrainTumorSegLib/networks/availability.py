"""Telling a network which sequences it was given.

A missing sequence is a channel of zeros. After normalisation a given one is zero only outside the brain, so which
channels are missing can be read off the images themselves, and nothing else has to be passed along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn


def append_availability(_network: nn.Module, images: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    """Forward pre-hook: ``(N, C, …)`` → ``(N, 2C, …)``, the added channels 1 where a channel is given and 0 where not.

    In effect a learnt bias for each channel that is given: its absence need not look like average tissue, which is
    what a 0 means after z-scoring.
    """
    import torch

    (given,) = images
    present = given.flatten(2).any(dim=2).to(given.dtype)
    maps = present.reshape(*present.shape, *[1] * (given.ndim - 2)).expand_as(given)
    return (torch.cat([given, maps], dim=1),)
