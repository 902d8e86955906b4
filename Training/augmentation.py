"""Augmentation by MONAI's transforms, each sample with a seed of its own."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from .recipe import AugmentationRecipe

Pair = tuple[torch.Tensor, torch.Tensor]

# The z-score of no signal: over the 23 training patients the mean of the brain is 2.5 (T2) to 3.7 (T1) standard
# deviations. A coil's sensitivity multiplies the signal, not its z-score.
_NO_SIGNAL = -3.0
# Largest coefficient of a polynomial of a field.
_UNEVENNESS = 0.15


@contextmanager
def _plain_tensors() -> Iterator[None]:
    """Keep MONAI from making its own tensors; around each call, since worker processes begin with its default."""
    from monai.data.meta_obj import get_track_meta, set_track_meta

    before = get_track_meta()
    set_track_meta(False)
    try:
        yield
    finally:
        set_track_meta(before)


class Augmentation:
    """Turn, scale, mirror, blur and recolour a patch, leave sequences out.

    Ranges follow nnU-Net (Isensee 2021, supplement), which has no bias field: its logarithm is a polynomial of
    degree 2 (Van Leemput 1999, doi 10.1109/42.811270), a field of its own for each sequence. Patches may lie on any
    device, and are augmented there.
    """

    def __init__(
        self,
        recipe: AugmentationRecipe,
        dimensions: int,
        optional: Mapping[int, float] | None = None,
        device: torch.device | None = None,
    ) -> None:
        """Prepare the transforms.

        Args:
            recipe: how often each is done.
            dimensions: of the patches.
            optional: channels that may be left out, and how readily; without it all alike, but never all at once.
            device: where the patches will lie, for what is made there.
        """
        from monai import transforms as mt

        both, image = ["image", "labels"], ["image"]
        angles = (math.radians(30),) * (3 if dimensions == 3 else 1)
        steps: list[mt.Transform] = [
            mt.RandAffined(
                both,
                prob=recipe.affine,
                rotate_range=angles,
                scale_range=(0.25,) * dimensions,
                mode=["bilinear", "nearest"],
                padding_mode="zeros",
                device=device,
            ),
            mt.RandGaussianNoised(image, prob=recipe.noise, std=0.1),
            mt.RandGaussianSmoothd(image, (0.5, 1.0), (0.5, 1.0), (0.5, 1.0), prob=recipe.blur),
            mt.RandScaleIntensityd(image, 0.3, prob=recipe.brightness, channel_wise=recipe.channel_wise),
            mt.RandScaleIntensityFixedMeand(image, factors=0.25, prob=recipe.contrast, preserve_range=True),
            mt.RandAdjustContrastd(image, prob=recipe.gamma, gamma=(0.7, 1.5), retain_stats=True),
            mt.RandSimulateLowResolutiond(
                image,
                prob=recipe.low_resolution,
                zoom_range=(0.5, 1.0),
                upsample_mode="trilinear" if dimensions == 3 else "bilinear",
            ),
        ]
        if recipe.mirror:
            steps += [mt.RandFlipd(both, prob=0.5, spatial_axis=axis) for axis in range(dimensions)]
        self._transform = mt.Compose(steps)
        self._uneven, self._missing, self._optional = recipe.bias_field, recipe.missing, optional

    def __call__(self, image: torch.Tensor, labels: torch.Tensor, seed: int) -> Pair:
        """``image`` ``(C, …)`` float and ``labels`` ``(1, …)`` uint8 → the same, augmented; a function of ``seed``.

        A sequence that the patient lacks, 0 throughout, stays so: that is how the network knows it is not there.
        """
        self._transform.set_random_state(seed=seed)
        absent = ~image.flatten(1).any(dim=1)
        brain = (image != 0).any(dim=0, keepdim=True)
        with _plain_tensors(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # MONAI's notes on its own defaults
            # The brain goes through the spatial transforms beside the labels, so that outside stays 0 after noise.
            result = self._transform({"image": image, "labels": torch.cat([labels.float(), brain.float()])})
            images = self._in_fields(result["image"], seed)
        labels_out, brain_out = result["labels"][:1], result["labels"][1:] > 0.5
        images = (images * brain_out).contiguous()
        images[absent] = 0
        images[self._left_out((~absent).nonzero().flatten().tolist(), seed)] = 0
        return images, labels_out.to(torch.uint8)

    def _in_fields(self, images: torch.Tensor, seed: int) -> torch.Tensor:
        """Each z-scored sequence as a coil that does not receive evenly would have it."""
        result = []
        for channel, image in enumerate(images):
            # [seed, 0] draws what seed alone does: channel 0 would be uneven only where sequences are left out.
            generator = np.random.default_rng([seed, channel, 1])
            if generator.random() < self._uneven:
                field = coil_field(image.shape, generator, image.device)
                image = image + (image - _NO_SIGNAL) * (field - 1)
            result.append(image)
        return torch.stack(result)

    def _left_out(self, present: Sequence[int], seed: int) -> list[int]:
        """Channels to leave out of those that are there, never all of them.

        None, or as many as a fair die says, drawn one by one by how readily each may go.
        """
        generator = np.random.default_rng(seed)
        readily = dict.fromkeys(present, 1.0) if self._optional is None else self._optional
        optional = {channel: readily[channel] for channel in present if channel in readily}
        most = len(optional) - (len(optional) == len(present))
        if most < 1 or generator.random() >= self._missing:
            return []
        number = generator.integers(1, most + 1)
        weights = np.array([*optional.values()])
        return generator.choice([*optional], number, replace=False, p=weights / weights.sum()).tolist()


def coil_field(
    shape: Sequence[int], generator: np.random.Generator, device: torch.device | None = None
) -> torch.Tensor:
    """What a coil multiplies the signal by: its logarithm is a sum of Legendre polynomials of degree 2 at most."""
    along = [torch.linspace(-1, 1, size, device=device) for size in shape]
    bases = [torch.stack([torch.ones_like(x), x, (3 * x**2 - 1) / 2]) for x in along]
    factors = generator.uniform(-_UNEVENNESS, _UNEVENNESS, (3,) * len(bases))
    factors[np.indices(factors.shape).sum(axis=0) > 2] = 0
    logarithm = torch.tensor(factors, dtype=torch.float32, device=device)
    for basis in bases:  # takes an axis of coefficients from the front, puts one of places at the end
        logarithm = torch.tensordot(logarithm, basis, dims=([0], [0]))
    return logarithm.exp()
