"""Weights of a narrower network of the same form as the start of a wider one, which begins by computing the same.

Net2Net (Chen 2016, arXiv 1511.05641) copies filters to widen a network; here the added ones begin at random, and what
was there does not listen to them yet. Instance normalisation treats each filter by itself, so that nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from BrainTumorSegLib.domain.errors import CheckpointError


def widened(narrow: Mapping[str, torch.Tensor], fresh: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The state of a DynUNet that computes what a narrower one does.

    Args:
        narrow: state of the narrower network.
        fresh: state of the wider network, newly made.

    Raises:
        CheckpointError: the networks are of other forms, or the second one is narrower.
    """
    if set(narrow) != set(fresh):
        raise CheckpointError("The networks have other layers.", "Begin from a network of the same form.")
    return {name: _widened(name, narrow[name].float(), weight) for name, weight in fresh.items()}


def _widened(name: str, old: torch.Tensor, fresh: torch.Tensor) -> torch.Tensor:
    """One parameter; kernels are ``(out, in, …)``, those of transposed convolutions ``(in, out, …)``."""
    if old.ndim != fresh.ndim or any(a > b for a, b in zip(old.shape, fresh.shape, strict=True)):
        raise CheckpointError(f"{name} is {list(old.shape)}, no part of {list(fresh.shape)}.", "Take a wider network.")
    result = fresh.clone()
    if old.ndim == 1:
        result[: len(old)] = old
        return result
    transposed = "transp_conv" in name
    kernel, known = (result.transpose(0, 1), old.transpose(0, 1)) if transposed else (result, old)
    outputs = known.shape[0]
    kernel[:outputs] = 0
    # What is upsampled and what was skipped lie one after the other, each with its added channels at its end.
    parts = 2 if "conv_block.conv1" in name else 1
    wide, size = kernel.shape[1] // parts, known.shape[1] // parts
    for part in range(parts):
        kernel[:outputs, part * wide : part * wide + size] = known[:, part * size : (part + 1) * size]
    return result
