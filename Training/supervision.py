"""What a network returns while it trains, set against the masks: one map, several of them, or several tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy import ndimage
from torch import nn

from BrainTumorSegLib.networks.family import MultitaskLogits

# Value of the targets where nobody has said what there is; such voxels count in no loss and no measure.
UNKNOWN = -1.0

Outputs = torch.Tensor | Sequence[torch.Tensor] | MultitaskLogits


class Supervision(nn.Module):
    """A loss of logits and target, applied to all that a network returns.

    Several maps of logits (U²-Net) are summed with weight 1 each. Of several tasks (ResUNet-a) the mean is taken:
    segmentation, its border, the distance to it, and the images themselves.

    Args:
        loss: of logits and target.
        weights: one for each output; its loss is taken of each by itself then, and their weighted mean. All alike
            without it.
    """

    def __init__(self, loss: nn.Module, weights: Sequence[float] = ()) -> None:
        super().__init__()
        self.loss = loss
        self.weights = tuple(weights)

    def forward(self, outputs: Outputs, target: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Logits and target ``(N, outputs, …)`` with :data:`UNKNOWN` voxels, images ``(N, C, …)`` → a scalar."""
        if isinstance(outputs, torch.Tensor):
            return self._known(outputs, target, target)
        if isinstance(outputs, MultitaskLogits):
            masks = target.clamp(min=0)
            parts = [
                self._known(outputs.segmentation, target, target),
                self._known(outputs.boundary, boundaries(masks), target),
                self._known(outputs.distance, distances(masks), target),
                self.loss(outputs.intensity, intensities(images)),
            ]
            return torch.stack(parts).mean()
        return torch.stack([self._known(logits, target, target) for logits in outputs]).sum()

    def _known(self, logits: torch.Tensor, wanted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss over the voxels whose target is known."""
        known = target[:, 0] != UNKNOWN
        if known.all():
            return self._weighted(logits, wanted)
        if not known.any():
            return (logits * 0).sum()
        # As one image of one row: what is averaged or summed over the batch and space stays the same.
        return self._weighted(logits.movedim(1, -1)[known].T[None], wanted.movedim(1, -1)[known].T[None])

    def _weighted(self, logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """The loss, or the weighted mean of that of each output."""
        if not self.weights:
            loss: torch.Tensor = self.loss(logits, wanted)
            return loss
        each = [self.loss(logits[:, i : i + 1], wanted[:, i : i + 1]) for i in range(len(self.weights))]
        return torch.stack(each) @ logits.new_tensor(self.weights, dtype=torch.float32) / sum(self.weights)


def boundaries(masks: torch.Tensor) -> torch.Tensor:
    """Masks ``(N, outputs, …)`` → their borders: what one step of growing adds and one of shrinking takes."""
    pool = nn.functional.max_pool2d if masks.ndim == 4 else nn.functional.max_pool3d
    grown, shrunk = pool(masks, 3, stride=1, padding=1), -pool(-masks, 3, stride=1, padding=1)
    return grown - shrunk


def distances(masks: torch.Tensor) -> torch.Tensor:
    """Masks ``(N, outputs, …)`` → distance of each voxel inside to the outside, the largest of a mask being 1."""
    flat = masks.flatten(0, 1).cpu().numpy() > 0
    maps = np.stack([ndimage.distance_transform_edt(mask) for mask in flat])
    highest = maps.max(axis=tuple(range(1, maps.ndim)), keepdims=True)
    scaled = np.divide(maps, highest, out=np.zeros_like(maps), where=highest > 0)
    return torch.from_numpy(scaled).to(masks).reshape(masks.shape)


def intensities(images: torch.Tensor) -> torch.Tensor:
    """Images ``(N, C, …)``, each channel of each brought to 0…1."""
    space = tuple(range(2, images.ndim))
    low, high = images.amin(space, keepdim=True), images.amax(space, keepdim=True)
    return (images - low) / (high - low).clamp(min=1e-6)
