"""The bias field of an image, as of coils that do not receive evenly, estimated and taken out."""

from __future__ import annotations

import numpy as np

from ..domain.volume import Volume
from ..models.description import PreprocessingSpec
from .steps import Done

# The field is found on voxels of about this size, in few rounds: it is smooth, and finer work takes part of a large
# oedema for it (docs/explanation/training-study.md).
_COARSE_MM = 8.0
_ITERATIONS = (20, 20)
# Where an image is smaller, in voxels of that size, finer ones are used.
_FEWEST = 12
# Thinner stacks have no field that could be known from the tissues.
_THINNEST = 8


def correct_bias_field(image: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Divide by the bias field that N4 finds over the non-zero voxels (Tustison 2010, doi 10.1109/TMI.2010.2046908).

    Args:
        image: ``(Z, Y, X)``, any real type; not negative where it is not 0.
        spacing: of its voxels, ``(z, y, x)`` in mm.

    Returns:
        float32 array of the same shape, 0 where the image is; where an axis has less than 8 voxels the image stays.
    """
    import SimpleITK as sitk

    values = np.asarray(image, dtype=np.float32)
    if not (values > 0).any() or min(values.shape) < _THINNEST:
        return values
    whole = sitk.GetImageFromArray(values)
    factors = [
        max(1, min(round(_COARSE_MM / step), size // _FEWEST)) for step, size in zip(spacing, values.shape, strict=True)
    ][::-1]
    coarse, mask = sitk.Shrink(whole, factors), sitk.Shrink(sitk.Cast(whole > 0, sitk.sitkUInt8), factors)
    if not sitk.GetArrayViewFromImage(mask).any():
        return values
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(_ITERATIONS)
    n4.Execute(coarse, mask)
    field = np.exp(sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(whole)))
    return values / field


def bias_field_step(volume: Volume, modality: str, spec: PreprocessingSpec) -> tuple[Volume, Done | None]:
    """The correction, where the model asks for it."""
    if spec.bias_correction != "n4":
        return volume, None
    array = correct_bias_field(volume.array, volume.spacing)
    return volume.with_array(array), Done("bias field corrected by N4")
