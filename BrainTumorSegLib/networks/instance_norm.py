"""Instance normalisation for images so small that a single voxel reaches a network's bottom."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class _SingleVoxel:
    """What torch refuses: a single value less its mean is 0, whatever it is divided by."""

    bias: Any

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        if features[0, 0].numel() > 1:
            return super().forward(features)  # type: ignore[misc]
        nothing = torch.zeros_like(features)
        return nothing if self.bias is None else nothing + self.bias.view(1, -1, *[1] * (features.ndim - 2))


class InstanceNorm2d(_SingleVoxel, nn.InstanceNorm2d):
    """In two dimensions."""


class InstanceNorm3d(_SingleVoxel, nn.InstanceNorm3d):
    """In three dimensions."""


def allow_single_voxels(network: nn.Module) -> nn.Module:
    """Exchange the fresh instance normalisations of a network for these; returns it."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.InstanceNorm2d | nn.InstanceNorm3d):
                kind = InstanceNorm2d if isinstance(child, nn.InstanceNorm2d) else InstanceNorm3d
                setattr(module, name, kind(child.num_features, eps=child.eps, affine=child.affine))
    return network
