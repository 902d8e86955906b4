"""How weights lie in a checkpoint's file.

``fp32``: as they are. ``fp16``: rounded to half precision.
``int8``: kernels of convolutions as whole numbers from -127 to 127 with a scale
for every output channel and two input channels (symmetric quantisation as in Krishnamoorthi 2018, arXiv 1806.08342,
section 2, but with finer scales, which nearly halve the error), so that the file is little more than half; all else in
fp16. Networks compute with neither: what is loaded is turned into fp32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..domain.errors import CheckpointError

if TYPE_CHECKING:
    import torch

    from .tensor_file import StoredTensor

STORAGES = ("fp16", "int8", "fp32")
SCALE = ".scale"
# Input channels that share a scale: one for each would add 3 % to the file and take a seventh off the error.
_SHARED = 2
# Of batch normalisation: variances may be larger than fp16 holds, and they are few.
_STATISTICS = ("running_mean", "running_var")


def pack(weights: Mapping[str, torch.Tensor], storage: str) -> dict[str, torch.Tensor]:
    """Name → tensor as stored.

    Raises:
        CheckpointError: a weight is not finite, or does not fit fp16.
    """
    import torch

    stored: dict[str, torch.Tensor] = {}
    for name, weight in weights.items():
        tensor = weight.detach().cpu()
        if storage == "int8" and tensor.is_floating_point() and tensor.ndim > 2:
            stored[name], stored[name + SCALE] = _quantise(tensor.float())
        else:
            stored[name] = tensor.to(_stored_type(name, tensor, storage)).contiguous()
    for name, tensor in stored.items():
        if not torch.isfinite(tensor.float()).all():
            shown = name.removesuffix(SCALE)
            raise CheckpointError(
                f"Weight {shown} is not finite in {storage}.", "Training diverged; take an earlier state."
            )
    return stored


def unpacked(stored: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """Name → type and shape of the weight, of what :func:`unpack` will make of these, without any of their values.

    Raises:
        CheckpointError: a scale does not belong to its kernel: multiplied, they could become far larger than both.
    """
    scaled = {name for name, tensor in stored.items() if tensor.kind == "I8" and name + SCALE in stored}
    for name in scaled:
        kernel, scale = stored[name].shape, stored[name + SCALE].shape
        fits = len(kernel) > 2 and len(scale) == len(kernel) and scale[0] == kernel[0] and set(scale[2:]) == {1}
        if not fits or not 1 <= scale[1] <= kernel[1] or kernel[1] % scale[1] or not stored[name + SCALE].is_float:
            raise CheckpointError(
                f"The scales of weight {name[:80]!r} do not fit it.", "Export it again from its training run."
            )
    scales = {name + SCALE for name in scaled}
    return {
        name: replace(tensor, kind="F32") if name in scaled else tensor
        for name, tensor in stored.items()
        if name not in scales
    }


def unpack(stored: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Name → weight, of what :func:`pack` made; kernels stored as whole numbers in fp32, all else as it is stored."""
    import torch

    scaled = {name for name, tensor in stored.items() if tensor.dtype == torch.int8 and name + SCALE in stored}
    scales = {name + SCALE for name in scaled}
    return {
        name: _multiplied(tensor, stored[name + SCALE]) if name in scaled else tensor
        for name, tensor in stored.items()
        if name not in scales
    }


def _multiplied(whole: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """A kernel in fp32, of no more memory than itself."""
    kernel = whole.float()
    groups = kernel.view(kernel.shape[0], scale.shape[1], -1)  # input channels that share a scale, and their voxels
    groups *= scale.float().view(*scale.shape[:2], 1)
    return kernel


def _quantise(kernel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole numbers, and what they are multiplied with, so that the largest weight becomes 127.

    A kernel of one voxel is a number: there all of an output channel have one scale.
    """
    import torch

    outputs, inputs = kernel.shape[:2]
    alike = inputs if kernel[0, 0].numel() == 1 else _SHARED if inputs % _SHARED == 0 else 1
    largest = kernel.abs().reshape(outputs, inputs // alike, -1).amax(dim=2)
    scale = (largest / 127).half().reshape(outputs, inputs // alike, *[1] * (kernel.ndim - 2))
    step = _spread(scale, kernel)
    whole = torch.round(kernel / step.masked_fill(step == 0, 1.0)).clamp(-127, 127)
    return whole.to(torch.int8).contiguous(), scale.contiguous()


def _spread(scale: torch.Tensor, kernel: torch.Tensor) -> torch.Tensor:
    """The scale of each pair of channels of a kernel, whatever their number that share one."""
    return scale.float().repeat_interleave(kernel.shape[1] // scale.shape[1], dim=1)


def _stored_type(name: str, tensor: torch.Tensor, storage: str) -> torch.dtype:
    import torch

    if not tensor.is_floating_point():
        return tensor.dtype
    return torch.float32 if storage == "fp32" or name.endswith(_STATISTICS) else torch.float16
