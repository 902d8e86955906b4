"""Augmentation by MONAI's transforms, each sample with a seed of its own."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch

from .recipe import AugmentationRecipe

Pair = tuple[torch.Tensor, torch.Tensor]

# The z-score of no signal: over the 23 training patients the mean of the brain is 2.5 (T2) to 3.7 (T1) standard
# deviations. A coil's sensitivity multiplies the signal, not its z-score.
_NO_SIGNAL = -3.0


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
    degree 2 (Van Leemput 1999, doi 10.1109/42.811270), a field of its own for each sequence.
    """

    def __init__(
        self, recipe: AugmentationRecipe, dimensions: int, optional: Mapping[int, float] | None = None
    ) -> None:
        """``optional``: channels that may be left out, and how readily; without it all alike, but never all at once."""
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
        self._field = mt.RandBiasField(degree=2, coeff_range=(-0.15, 0.15), prob=recipe.bias_field)
        self._missing, self._optional = recipe.missing, optional

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
        images[self._left_out(len(images), seed)] = 0
        images[absent] = 0
        return images, labels_out.to(torch.uint8)

    def _in_fields(self, images: torch.Tensor, seed: int) -> torch.Tensor:
        """Each z-scored sequence as a coil that does not receive evenly would have it."""
        result = []
        for channel, image in enumerate(images):
            self._field.set_random_state(seed=int(np.random.default_rng([seed, channel]).integers(2**31)))
            field = self._field(torch.ones_like(image[None]))[0]
            result.append(image + (image - _NO_SIGNAL) * (field - 1))  # as it was where there is no field
        return torch.stack(result)

    def _left_out(self, channels: int, seed: int) -> list[int]:
        """Channels to leave out: none, or as many as a fair die says, drawn one by one by how readily each may go."""
        generator = np.random.default_rng(seed)
        optional = dict.fromkeys(range(channels), 1.0) if self._optional is None else self._optional
        most = len(optional) - (len(optional) == channels)
        if most < 1 or generator.random() >= self._missing:
            return []
        number = generator.integers(1, most + 1)
        weights = np.array([*optional.values()])
        return generator.choice([*optional], number, replace=False, p=weights / weights.sum()).tolist()
