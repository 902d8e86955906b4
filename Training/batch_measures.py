"""Figures of a batch as a whole, as many published 2D systems print them."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from BrainTumorSegLib.networks.family import MultitaskLogits

from .supervision import UNKNOWN, Outputs

NAMES = ("batch_dice", "batch_iou", "batch_accuracy")


def batch_measures(outputs: Outputs, target: torch.Tensor) -> dict[str, torch.Tensor]:
    """Soft Dice and IoU over all known pixels of a batch together, 1 added above and below, and binary accuracy.

    Probabilities are not thresholded for Dice and IoU, and slices without tumour count with those that have some, so
    these figures are no Dice of patients: a batch is nearly always good where its largest tumours are.

    Args:
        outputs: what the network returns; of several maps the fused one, of several tasks the segmentation.
        target: ``(N, outputs, …)``, unknown voxels marked.
    """
    logits = _segmentation(outputs).detach().float()
    known = (target != UNKNOWN).float()
    probabilities, truth = torch.sigmoid(logits) * known, target * known
    shared, both = (probabilities * truth).sum(), probabilities.sum() + truth.sum()
    right = (((logits > 0) == (target > 0.5)) * known).sum() / known.sum().clamp(min=1)
    return dict(zip(NAMES, ((2 * shared + 1) / (both + 1), (shared + 1) / (both - shared + 1), right), strict=True))


def _segmentation(outputs: Outputs) -> torch.Tensor:
    if isinstance(outputs, torch.Tensor):
        return outputs
    if isinstance(outputs, MultitaskLogits):
        return outputs.segmentation
    assert isinstance(outputs, Sequence)
    return outputs[0]
