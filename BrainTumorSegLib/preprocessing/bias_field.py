"""The bias field of an image, as of coils that do not receive evenly, estimated and taken out."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..domain.volume import Volume, bounding_box
from ..models.description import PreprocessingSpec
from .steps import Done

if TYPE_CHECKING:
    import SimpleITK as sitk

# The field is found on voxels of about this size, in few rounds: it is smooth, and finer work takes part of a large
# oedema for it (docs/explanation/training-study.md).
_COARSE_MM = 8.0
_ITERATIONS = (20, 20)
# Where an image is smaller, in voxels of that size, finer ones are used.
_FEWEST = 12
# Of N4's cubic spline along an axis, between knots: one on the first level, halved on each later one.
_SPANS = 2 ** (len(_ITERATIONS) - 1)
# Thinner stacks have no field that could be known from the tissues.
_THINNEST = 8


def correct_bias_field(image: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Divide by the bias field that N4 finds over the non-zero voxels (Tustison 2010, doi 10.1109/TMI.2010.2046908).

    Args:
        image: ``(Z, Y, X)``, any real type; not negative where it is not 0.
        spacing: of its voxels, ``(z, y, x)`` in mm.

    Returns:
        float32 array of the same shape, 0 where the image is; where an axis has less than 8 voxels the image stays: if
        it is float32, it is given back itself.
    """
    import SimpleITK as sitk

    values = np.asarray(image, dtype=np.float32)
    if not (values > 0).any() or min(values.shape) < _THINNEST:
        return values
    coarse = thinned(values, spacing)
    mask = coarse > 0
    if not sitk.GetArrayViewFromImage(mask).any():
        return values
    n4 = sitk.N4BiasFieldCorrectionImageFilter()
    n4.SetMaximumNumberOfIterations(_ITERATIONS)
    n4.SetNumberOfThreads(1)  # on so few voxels threads wait for each other: sequences run side by side instead
    n4.Execute(coarse, mask)
    box = bounding_box(values)
    corrected = np.zeros_like(values)
    corrected[box] = values[box] / np.exp(_log_field(n4, values.shape, box))
    return corrected


def thinned(values: np.ndarray, spacing: tuple[float, ...]) -> sitk.Image:
    """Voxels some 8 mm apart, those that SimpleITK's ``Shrink`` takes, without a copy of the whole image for it.

    It lies in the space in which the image begins at 0 and its voxels are 1 apart.
    """
    import SimpleITK as sitk

    factors = [
        max(1, min(round(_COARSE_MM / step), size // _FEWEST)) for step, size in zip(spacing, values.shape, strict=True)
    ]
    # Both images have one centre; where it falls between two voxels, the later ones are taken.
    origin = [
        (size - 1) / 2 - factor * (size // factor - 1) / 2 for size, factor in zip(values.shape, factors, strict=True)
    ]
    taken = [
        math.floor(first + 0.5) + factor * np.arange(size // factor)
        for first, size, factor in zip(origin, values.shape, factors, strict=True)
    ]
    coarse = sitk.GetImageFromArray(values[np.ix_(*taken)])
    coarse.SetSpacing([float(factor) for factor in reversed(factors)])
    coarse.SetOrigin(origin[::-1])
    return coarse


def _log_field(n4: sitk.N4BiasFieldCorrectionImageFilter, shape: tuple[int, ...], box: tuple[slice, ...]) -> np.ndarray:
    """Logarithm of the field in a box of the image, float32.

    ITK evaluates its spline in every voxel of the whole image. Along each axis it is a cubic polynomial between two
    knots, which the values at both and at two places between determine: so few are asked of ITK, and the box follows.
    """
    import SimpleITK as sitk

    lattice = sitk.Image([3 * _SPANS + 1] * 3, sitk.sitkFloat32)
    lattice.SetSpacing([(size - 1) / (3 * _SPANS) for size in reversed(shape)])
    field = sitk.GetArrayFromImage(n4.GetLogBiasFieldAsImage(lattice)).astype(np.float64)
    z, y, x = (
        _cubic_weights(np.arange(part.start, part.stop) / (size - 1)) for size, part in zip(shape, box, strict=True)
    )
    # Not by matrix products: where memory is short, OpenBLAS ends the process.
    field = np.einsum("ac,zyc->zya", x, np.einsum("ac,zcx->zax", y, np.einsum("ac,cyx->ayx", z, field)))
    return field.astype(np.float32)


def _cubic_weights(places: np.ndarray) -> np.ndarray:
    """``(places, 3 spans + 1)``: what the values along an axis count for in places from 0 to 1, after Lagrange."""
    thirds = places * 3 * _SPANS
    first = 3 * np.minimum(thirds // 3, _SPANS - 1).astype(int)
    weights = np.zeros((len(places), 3 * _SPANS + 1))
    for node in range(4):
        factors = [(thirds - first - other) / (node - other) for other in range(4) if other != node]
        weights[np.arange(len(places)), first + node] = np.prod(factors, axis=0)
    return weights


def bias_field_step(volume: Volume, modality: str, spec: PreprocessingSpec) -> tuple[Volume, Done | None]:
    """The correction, where the model asks for it and enough is there to find the field in."""
    if spec.bias_correction != "n4":
        return volume, None
    values = np.asarray(volume.array, dtype=np.float32)
    array = correct_bias_field(values, volume.spacing)
    if array is values:
        return volume, Done("bias field not corrected, too little is there to find it in")
    return volume.with_array(array), Done("bias field corrected by N4")
