"""The included network: small, of any sequence, at 2 mm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...domain.grid import Grid
from ...domain.progress import Progress
from ...domain.volume import Volume, bounding_box
from ..resampling import onto
from .components import largest_component

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = Path(__file__).with_name("brain-unet.safetensors")
ORIENTATION, SPACING_MM = "LPS", 2.0

# Grey values between these percentiles become 0 to 1: air is dark in every sequence, and what is brightest few voxels.
_DARK, _BRIGHT = 0.5, 99.5
# Air that is brighter than this share of the brightest is that of a signed image (inversion recovery), grey between
# tissues that are darker and brighter; it is alike everywhere, to the second.
_GREY_AIR, _ALIKE = 0.15, 0.1
# Of the brightest, what is brighter is head; the network sees its box and so much around it, in voxels.
_HEAD, _MARGIN = 0.1, 4

# A voxel is brain from this probability on, below a half so that little tumour is lost; radius of the ball that closes
# bays, in voxels, and the lower part of the brain, where they belong to it. Chosen on held-out training patients.
THRESHOLD, _BAY, _LOWER = 0.4, 15, 0.4

# The network finds a brain in anything. A real one has a border that is steeper than the tissue within, and tissue of
# more than one grey value (in heads, also very noisy ones: 1.3 to 5 times as steep, a spread of a tenth).
_SMOOTH, _STEEPER, _SPREAD = 1.5, 1.15, 0.05
_AT_BORDER, _WITHIN = 1.5, 4.0  # voxels from the border


class Included:
    """See :class:`.Method`."""

    title = "the included network"
    remedy = ""

    def is_installed(self) -> bool:
        """Always."""
        return True

    def find(self, volume: Volume, progress: Progress) -> np.ndarray:
        """Mask of the largest connected component, its holes filled."""
        return self.find_together((volume,), progress)

    def find_together(self, volumes: Sequence[Volume], progress: Progress) -> np.ndarray:
        """The mask by the mean probability over images of one head, on the first one's grid.

        What one sequence hides (a tumour as dark as the fluid beside it) another shows.

        Args:
            volumes: whole heads that lie over each other; where one does not reach, the others count.
            progress: told how far it is; may cancel.
        """
        from ...models.checkpoint_file import load_checkpoint

        checkpoint = load_checkpoint(WEIGHTS)
        network = checkpoint.build()
        first, grid = network_image(volumes[0])
        total, seen = np.zeros(first.shape, dtype=np.float32), np.zeros(first.shape, dtype=np.float32)
        for number, volume in enumerate(volumes):
            progress.report("brain extraction", 0.3 + 0.5 * number / len(volumes))
            image, own = network_image(volume) if number else (first, grid)
            probability = brain_probability(network, image, checkpoint.description.network.divisor)
            total += onto(probability, own, grid)
            seen += onto(np.ones(image.shape, dtype=np.uint8), own, grid, nearest=True)
        progress.report("brain extraction", 0.8)
        brain = one_piece(total / np.maximum(seen, 1))
        if not looks_like_brain(first, brain >= THRESHOLD):
            return np.zeros(volumes[0].shape, dtype=bool)
        return onto(brain, grid, Grid.of(volumes[0])) >= THRESHOLD


def network_image(volume: Volume) -> tuple[np.ndarray, Grid]:
    """What the network takes of an image: float32 ``(Z, Y, X)`` from 0 to 1, and its grid (LPS, 2 mm, same extent).

    Air is dark in it: of a signed image the network gets the magnitude. An oblique image keeps its own axes: the
    network knows tilted heads.
    """
    own = Grid.of(volume)
    grid = own.oriented(ORIENTATION).with_spacing((SPACING_MM,) * 3)
    values = rescaled(onto(np.asarray(volume.array, dtype=np.float32), own, grid))
    air = values[:, [0, 0, -1, -1], [0, -1, 0, -1]]  # the corners of each slice
    level = float(np.median(air))
    if level > _GREY_AIR and float(np.ptp(np.percentile(air, (10, 90)))) < _ALIKE:
        values = rescaled(np.abs(values - np.float32(level)))
    return values, grid


def rescaled(values: np.ndarray) -> np.ndarray:
    """Grey values between two percentiles of the whole image → float32 from 0 to 1."""
    low, high = np.percentile(values, (_DARK, _BRIGHT))
    if high <= low:
        return np.zeros(values.shape, dtype=np.float32)
    return np.clip((values - low) / (high - low), 0, 1).astype(np.float32)


def brain_probability(network: nn.Module, image: np.ndarray, divisor: int) -> np.ndarray:
    """Image as of :func:`network_image` → probability of brain, float32 of the same shape, 0 outside the head's box."""
    import torch

    from ...networks.precision import autocast, resolve_precision

    cpu = torch.device("cpu")
    box = bounding_box(image > _HEAD, _MARGIN)
    head = image[box]
    padding = [(0, math.ceil(size / divisor) * divisor - size) for size in head.shape]
    with torch.inference_mode(), autocast(cpu, resolve_precision(cpu)):
        logits = network(torch.from_numpy(np.pad(head, padding)[None, None]))
    found = torch.sigmoid(logits.float())[0, 0].numpy()
    probability = np.zeros(image.shape, dtype=np.float32)
    probability[box] = found[tuple(slice(size) for size in head.shape)]
    return probability


def looks_like_brain(image: np.ndarray, mask: np.ndarray) -> bool:
    """Whether a mask of an image, both on the network's grid, has the border and the tissues of a brain."""
    from scipy import ndimage

    box = bounding_box(mask, _MARGIN)
    image, mask = image[box], mask[box]
    depth = ndimage.distance_transform_edt(mask)
    within = depth > _WITHIN
    if not within.any():
        return False
    border = np.where(mask, depth, ndimage.distance_transform_edt(~mask)) <= _AT_BORDER
    steepness = ndimage.gaussian_gradient_magnitude(image, _SMOOTH)
    tissue = ndimage.gaussian_filter(image, _SMOOTH)[within]
    steep = steepness[border].mean() > _STEEPER * steepness[within].mean()
    return bool(steep and tissue.std() > _SPREAD * tissue.mean())


def one_piece(probability: np.ndarray) -> np.ndarray:
    """The probability of the largest connected component alone, 1 in its holes and in the bays of its upper part.

    Around the component the probability stays as it is, so that its border lies between voxels as well.
    """
    from scipy import ndimage

    brain = largest_component(probability >= THRESHOLD)
    if not brain.any():
        return np.zeros_like(probability)
    near = ndimage.binary_dilation(brain)
    result = np.where(near, probability, np.float32(0))
    result[ndimage.binary_fill_holes(_without_bays(brain)) & ~brain] = 1
    return np.asarray(result)


def _without_bays(mask: np.ndarray) -> np.ndarray:
    """A mask closed by a ball in its upper part, where a brain is convex and a bay is a tumour at its border."""
    from scipy import ndimage

    box = bounding_box(mask)
    padded = np.pad(mask[box], _BAY + 1)
    grown = ndimage.distance_transform_edt(~padded) <= _BAY
    closed = ndimage.distance_transform_edt(grown) > _BAY
    inner = (slice(_BAY + 1, -_BAY - 1),) * 3
    result, lower = mask.copy(), round(_LOWER * mask[box].shape[0])
    result[box][lower:] |= closed[inner][lower:]
    return result
