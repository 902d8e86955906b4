"""How weights lie in a checkpoint's file.

``fp16``: rounded to half precision. ``int8``: kernels of convolutions as whole numbers from -127 to 127 with one scale
for each pair of input and output channel (symmetric quantisation as in Krishnamoorthi 2018, arXiv 1806.08342, section
2, but with finer scales, which halve the error), so that the file is little more than half; all else in fp16. Networks
compute with neither: what is loaded is turned into fp32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .errors import CheckpointError

if TYPE_CHECKING:
    import torch

STORAGES = ("fp16", "int8")
SCALE = ".scale"
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
            stored[name] = tensor.to(_stored_type(name, tensor)).contiguous()
    for name, tensor in stored.items():
        if not torch.isfinite(tensor.float()).all():
            shown = name.removesuffix(SCALE)
            raise CheckpointError(
                f"Weight {shown} is not finite in {storage}.", "Training diverged; take an earlier state."
            )
    return stored


def unpack(stored: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Name → weight, of what :func:`pack` made; kernels stored as whole numbers in fp32, all else as it is stored."""
    import torch

    scaled = {name for name, tensor in stored.items() if tensor.dtype == torch.int8 and name + SCALE in stored}
    scales = {name + SCALE for name in scaled}
    return {
        name: tensor.float() * stored[name + SCALE].float() if name in scaled else tensor
        for name, tensor in stored.items()
        if name not in scales
    }


def _quantise(kernel: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole numbers, and what they are multiplied with, so that the largest weight becomes 127.

    A kernel of one voxel is a number: there all of an output channel have one scale.
    """
    import torch

    shared = tuple(range(2 if kernel[0, 0].numel() > 1 else 1, kernel.ndim))
    scale = (kernel.abs().amax(dim=shared, keepdim=True) / 127).half()
    whole = torch.round(kernel / scale.float().masked_fill(scale == 0, 1.0)).clamp(-127, 127)
    return whole.to(torch.int8).contiguous(), scale.contiguous()


def _stored_type(name: str, tensor: torch.Tensor) -> torch.dtype:
    import torch

    if not tensor.is_floating_point():
        return tensor.dtype
    return torch.float32 if name.endswith(_STATISTICS) else torch.float16
