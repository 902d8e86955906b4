"""nnU-Net's networks as a sequence of operations on their state dict, by the names in it: what importing is checked by.

After `dynamic-network-architectures`: PlainConvUNet and ResidualEncoderUNet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..description import NetworkSpec

if TYPE_CHECKING:
    import torch


def reference_of(
    state: Mapping[str, torch.Tensor], network: NetworkSpec, dimensions: int
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Images ``(N, C, …)`` → logits, from the tensors under the names that nnU-Net's own network runs them by."""
    return _Reference(state, network.arguments, dimensions)


class _Reference:
    def __init__(self, state: Mapping[str, torch.Tensor], arguments: Mapping[str, Any], dimensions: int) -> None:
        import torch.nn.functional as functional

        self._f, self._a, self._dimensions = functional, arguments, dimensions
        self._state = {name: tensor.float() for name, tensor in state.items()}

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        import torch

        a, skips = self._a, []
        features = self._stack("encoder.stem", 1, images, None) if a["residual"] else images
        for number, (count, stride) in enumerate(zip(a["encoder"], a["strides"], strict=True)):
            if a["residual"]:
                for block in range(count):
                    features = self._block(
                        f"encoder.stages.{number}.blocks.{block}", features, stride if block == 0 else None
                    )
            else:
                features = self._stack(f"encoder.stages.{number}.0", count, features, stride)
            skips.append(features)
        for number, count in enumerate(a["decoder"]):
            name, stride = f"decoder.transpconvs.{number}", a["strides"][-number - 1]
            up = self._f.conv_transpose2d if self._dimensions == 2 else self._f.conv_transpose3d
            features = up(features, self._state[f"{name}.weight"], self._state.get(f"{name}.bias"), tuple(stride))
            features = self._stack(
                f"decoder.stages.{number}", count, torch.cat((features, skips[-number - 2]), 1), None
            )
        name = f"decoder.seg_layers.{len(a['decoder']) - 1}"
        return self._convolved(name, features, None)

    def _stack(self, name: str, count: int, features: torch.Tensor, stride: Sequence[int] | None) -> torch.Tensor:
        for number in range(count):
            features = self._active(self._unit(f"{name}.convs.{number}", features, stride if number == 0 else None))
        return features

    def _block(self, name: str, features: torch.Tensor, stride: Sequence[int] | None) -> torch.Tensor:
        around = features
        if stride and max(stride) > 1:
            pool = self._f.avg_pool2d if self._dimensions == 2 else self._f.avg_pool3d
            around = pool(around, tuple(stride), tuple(stride))
        projections = [key for key in self._state if key.startswith(f"{name}.skip.") and key.endswith(".conv.weight")]
        if projections:
            around = self._unit(projections[0].removesuffix(".conv.weight"), around, None)
        inside = self._active(self._unit(f"{name}.conv1", features, stride))
        return self._active(self._unit(f"{name}.conv2", inside, None) + around)

    def _unit(self, name: str, features: torch.Tensor, stride: Sequence[int] | None) -> torch.Tensor:
        features = self._convolved(f"{name}.conv", features, stride)
        weight, bias, eps = self._state[f"{name}.norm.weight"], self._state[f"{name}.norm.bias"], self._a["eps"]
        if self._a["norm"] == "instance":
            return self._f.instance_norm(features, weight=weight, bias=bias, eps=eps)
        mean, variance = self._state[f"{name}.norm.running_mean"], self._state[f"{name}.norm.running_var"]
        return self._f.batch_norm(features, mean, variance, weight, bias, False, 0.0, eps)

    def _convolved(self, name: str, features: torch.Tensor, stride: Sequence[int] | None) -> torch.Tensor:
        weight = self._state[f"{name}.weight"]
        convolve = self._f.conv2d if self._dimensions == 2 else self._f.conv3d
        padding = [(size - 1) // 2 for size in weight.shape[2:]]
        return convolve(
            features, weight, self._state.get(f"{name}.bias"), tuple(stride or (1,) * len(padding)), padding
        )

    def _active(self, features: torch.Tensor) -> torch.Tensor:
        return self._f.leaky_relu(features, self._a["slope"])
