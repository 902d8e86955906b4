"""The U-Nets that nnU-Net v2 plans (Isensee 2021; residual encoders, Isensee 2024, arXiv 2404.09556).

Built here with the names that weights have there (`dynamic-network-architectures`), less those that name a tensor twice
and the outputs of deep supervision, which only training uses.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .family import NetworkFamily
from .instance_norm import allow_single_voxels

_LAYERS: dict[int, dict[str, Any]] = {
    2: {"conv": nn.Conv2d, "up": nn.ConvTranspose2d, "pool": nn.AvgPool2d},
    3: {"conv": nn.Conv3d, "up": nn.ConvTranspose3d, "pool": nn.AvgPool3d},
}
_NORMS: dict[tuple[str, int], Any] = {
    ("instance", 2): nn.InstanceNorm2d,
    ("instance", 3): nn.InstanceNorm3d,
    ("batch", 2): nn.BatchNorm2d,
    ("batch", 3): nn.BatchNorm3d,
}


class _Kit:
    """What all layers of a network have in common."""

    def __init__(self, dimensions: int, norm: str, eps: float, bias: bool, slope: float) -> None:
        if (norm, dimensions) not in _NORMS:
            raise ValueError(f"norm is {norm!r}, not instance or batch")
        self.layers, self.bias = _LAYERS[dimensions], bias
        self._norm, self._eps, self._slope = _NORMS[norm, dimensions], eps, slope

    def norm(self, channels: int) -> nn.Module:
        made: nn.Module = self._norm(channels, eps=self._eps, affine=True)
        return made

    def activation(self) -> nn.Module:
        return nn.LeakyReLU(self._slope, inplace=True)


class _Unit(nn.Module):
    """Convolution, normalisation and, but before an addition, activation."""

    def __init__(
        self,
        kit: _Kit,
        inputs: int,
        outputs: int,
        kernel: Sequence[int],
        stride: Sequence[int] | int = 1,
        *,
        activated: bool = True,
        bias: bool | None = None,
    ) -> None:
        super().__init__()
        padding = [(size - 1) // 2 for size in kernel]
        bias = kit.bias if bias is None else bias
        stride = stride if isinstance(stride, int) else tuple(stride)
        self.conv = kit.layers["conv"](inputs, outputs, tuple(kernel), stride, tuple(padding), bias=bias)
        self.norm = kit.norm(outputs)
        self.nonlin = kit.activation() if activated else nn.Identity()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(N, inputs, …)`` → ``(N, outputs, …)``."""
        result: torch.Tensor = self.nonlin(self.norm(self.conv(features)))
        return result


class _Stack(nn.Module):
    """Units, the first with a stride."""

    def __init__(
        self, kit: _Kit, count: int, inputs: int, outputs: int, kernel: Sequence[int], stride: Sequence[int] | int = 1
    ) -> None:
        super().__init__()
        first = _Unit(kit, inputs, outputs, kernel, stride)
        self.convs = nn.Sequential(first, *(_Unit(kit, outputs, outputs, kernel) for _ in range(count - 1)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(N, inputs, …)`` → ``(N, outputs, …)``."""
        result: torch.Tensor = self.convs(features)
        return result


class _Block(nn.Module):
    """Two units beside a way round them, which averages where they stride (ResNet-D, He 2019)."""

    def __init__(self, kit: _Kit, inputs: int, outputs: int, kernel: Sequence[int], stride: Sequence[int]) -> None:
        super().__init__()
        self.conv1 = _Unit(kit, inputs, outputs, kernel, stride)
        self.conv2 = _Unit(kit, outputs, outputs, kernel, activated=False)
        self.nonlin2 = kit.activation()
        around: list[nn.Module] = []
        if any(step != 1 for step in stride):
            around.append(kit.layers["pool"](tuple(stride), tuple(stride)))
        if inputs != outputs:
            around.append(_Unit(kit, inputs, outputs, [1] * len(kernel), activated=False, bias=False))
        self.skip = nn.Sequential(*around)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(N, inputs, …)`` → ``(N, outputs, …)``."""
        result: torch.Tensor = self.nonlin2(self.conv2(self.conv1(features)) + self.skip(features))
        return result


class _Blocks(nn.Module):
    def __init__(
        self, kit: _Kit, count: int, inputs: int, outputs: int, kernel: Sequence[int], stride: Sequence[int]
    ) -> None:
        super().__init__()
        once = [1] * len(kernel)
        first = _Block(kit, inputs, outputs, kernel, stride)
        self.blocks = nn.Sequential(first, *(_Block(kit, outputs, outputs, kernel, once) for _ in range(count - 1)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """``(N, inputs, …)`` → ``(N, outputs, …)``."""
        result: torch.Tensor = self.blocks(features)
        return result


class _Encoder(nn.Module):
    """Stages down; the residual one has a stem before them."""

    def __init__(
        self,
        kit: _Kit,
        inputs: int,
        features: Sequence[int],
        kernels: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
        counts: Sequence[int],
        residual: bool,
    ) -> None:
        super().__init__()
        self.stem = _Stack(kit, 1, inputs, features[0], kernels[0]) if residual else nn.Identity()
        before = [features[0] if residual else inputs, *features]
        plans = zip(counts, before, features, kernels, strides, strict=False)
        if residual:
            stages: list[nn.Module] = [_Blocks(kit, *plan) for plan in plans]
        else:
            stages = [nn.Sequential(_Stack(kit, *plan)) for plan in plans]
        self.stages = nn.Sequential(*stages)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """``(N, C, …)`` → what each stage gives."""
        features, found = self.stem(images), []
        for stage in self.stages:
            features = stage(features)
            found.append(features)
        return found


class _Decoder(nn.Module):
    """Stages up, numbered from the bottom."""

    def __init__(
        self,
        kit: _Kit,
        outputs: int,
        features: Sequence[int],
        kernels: Sequence[Sequence[int]],
        strides: Sequence[Sequence[int]],
        counts: Sequence[int],
    ) -> None:
        super().__init__()
        ups, stages = [], []
        for number, count in enumerate(counts, 1):
            below, here = features[-number], features[-number - 1]
            step = tuple(strides[-number])
            ups.append(kit.layers["up"](below, here, step, step, bias=kit.bias))
            stages.append(_Stack(kit, count, 2 * here, here, kernels[-number - 1]))
        self.transpconvs, self.stages = nn.ModuleList(ups), nn.ModuleList(stages)
        self.seg_layers = nn.ModuleList([kit.layers["conv"](features[0], outputs, 1)])

    def forward(self, skips: list[torch.Tensor]) -> torch.Tensor:
        """What the encoder's stages gave → logits."""
        features = skips[-1]
        for up, stage, skip in zip(self.transpconvs, self.stages, skips[-2::-1], strict=True):
            features = stage(torch.cat((up(features), skip), 1))
        result: torch.Tensor = self.seg_layers[0](features)
        return result


class PlannedUNet(nn.Module):
    """A U-Net of nnU-Net's plans; see :func:`build`."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """``(N, C, …)`` → logits ``(N, outputs, …)``."""
        result: torch.Tensor = self.decoder(self.encoder(images))
        return result


def build(
    dimensions: int,
    in_channels: int,
    out_channels: int,
    features: Sequence[int] = (32, 64, 128, 256, 320, 320),
    kernels: Sequence[Sequence[int]] = ((3, 3, 3),) * 6,
    strides: Sequence[Sequence[int]] = ((1, 1, 1), *((2, 2, 2),) * 5),
    encoder: Sequence[int] = (2,) * 6,
    decoder: Sequence[int] = (2,) * 5,
    residual: bool = False,
    bias: bool = True,
    norm: str = "instance",
    eps: float = 1e-5,
    slope: float = 0.01,
) -> nn.Module:
    """The network that a configuration of `plans.json` asks for; the defaults are those of a plain one in 3D.

    Args:
        dimensions: 2 or 3.
        in_channels: of the images.
        out_channels: classes or regions.
        features: of each stage.
        kernels: size of the kernels of each stage.
        strides: of the first convolution of each stage.
        encoder: convolutions (``residual``: blocks) of each stage down.
        decoder: convolutions of each stage up, from the bottom.
        residual: whether the encoder is the residual one (ResidualEncoderUNet), else PlainConvUNet.
        bias: of convolutions.
        norm: ``instance`` or ``batch``.
        eps: of the normalisation.
        slope: of the leaky ReLU, 0 for a ReLU.
    """
    stages = len(features)
    if not len(kernels) == len(strides) == len(encoder) == stages == len(decoder) + 1:
        raise ValueError(f"{stages} stages need as many kernels, strides and blocks, and one less up")
    if any(len(part) != dimensions for part in (*kernels, *strides)):
        raise ValueError(f"kernels and strides need {dimensions} numbers each")
    kit = _Kit(dimensions, norm, eps, bias, slope)
    network = PlannedUNet(
        _Encoder(kit, in_channels, features, kernels, strides, encoder, residual),
        _Decoder(kit, out_channels, features, kernels, strides, decoder),
    )
    return allow_single_voxels(network)


def _divisor(arguments: Mapping[str, Any]) -> int:
    strides = arguments.get("strides", ((1, 1, 1), *((2, 2, 2),) * 5))
    return math.lcm(*(math.prod(along) for along in zip(*strides, strict=True)))


LIMITS: dict[str, tuple[float, float]] = {
    "features": (1, 4096),
    "kernels": (1, 15),
    "strides": (1, 8),
    "encoder": (1, 32),
    "decoder": (1, 32),
    "eps": (0, 1),
    "slope": (0, 1),
}
FAMILY = NetworkFamily("nnunet", build, _divisor, (2, 3), LIMITS, channels_last=(2,))
