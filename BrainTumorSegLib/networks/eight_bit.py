"""Convolutions that compute in 8 bits, which processors do twice as fast as in half precision.

What such a convolution takes is rounded to 256 steps between the lowest and the highest value that it took in training
images, its weights to 127 steps an output channel (Jacob 2018, arXiv 1712.05877, section 2): with 255, processors
without instructions for it (VNNI) would add two products beyond what 16 bits hold. PyTorch only rounds here; a backend
that finds the rounding in front of a convolution computes in whole numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from ..domain.errors import CheckpointError

_STEPS, _LARGEST_WEIGHT, _LIMIT = 255, 63, 127
_SMALLEST = 1e-12  # of a channel's weights: those of one that is always 0 have a scale, too


class EightBit(nn.Module):
    """A convolution that rounds what it takes; ``low`` to ``high`` holds 0, which stays 0."""

    def __init__(self, convolution: nn.Conv2d | nn.Conv3d, low: float, high: float) -> None:
        super().__init__()
        self.convolution = convolution
        self.scale = (high - low) / _STEPS
        self.zero = round(-low / self.scale)
        weight = convolution.weight.detach()
        largest = weight.abs().flatten(1).amax(1).clamp(min=_SMALLEST)
        self.weight_scale = largest / _LARGEST_WEIGHT
        self.weight_zero = torch.zeros(len(weight), dtype=torch.int32)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """As the convolution's."""
        rounded = torch.fake_quantize_per_tensor_affine(images, self.scale, self.zero, 0, _STEPS)
        weight = torch.fake_quantize_per_channel_affine(
            self.convolution.weight, self.weight_scale, self.weight_zero, 0, -_LIMIT, _LIMIT
        )
        return self.convolution._conv_forward(rounded, weight, self.convolution.bias)


def convolutions(network: nn.Module) -> dict[str, nn.Conv2d | nn.Conv3d]:
    """Those of a network that can compute in 8 bits, by name, in the order in which they were made."""
    return {name: part for name, part in network.named_modules() if isinstance(part, nn.Conv2d | nn.Conv3d)}


@contextmanager
def watched(network: nn.Module) -> Iterator[dict[str, tuple[float, float]]]:
    """Name → lowest and highest value that each convolution takes while the network runs; both span 0."""
    found: dict[str, tuple[float, float]] = {}

    def watch(name: str, images: torch.Tensor) -> None:
        low, high = found.get(name, (0.0, 0.0))
        found[name] = min(low, float(images.min())), max(high, float(images.max()))

    hooks = [
        part.register_forward_pre_hook(lambda _, inputs, name=name: watch(name, inputs[0]))
        for name, part in convolutions(network).items()
    ]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def in_eight_bits(network: nn.Module, ranges: Mapping[str, tuple[float, float]]) -> nn.Module:
    """The same network, changed: the convolutions that are named compute in 8 bits.

    Raises:
        CheckpointError: a name is none of its convolutions.
    """
    known = convolutions(network)
    for name, (low, high) in ranges.items():
        if name not in known:
            raise CheckpointError(f"{name[:80]!r} is no convolution of this network.", "Export the model again.")
        above, _, own = name.rpartition(".")
        setattr(network.get_submodule(above), own, EightBit(known[name], low, high))
    return network
