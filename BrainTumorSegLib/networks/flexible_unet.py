"""FlexibleUNet: a U-Net decoder over an EfficientNet (Tan 2019) or ResNet (He 2016) encoder, from MONAI."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from .family import NetworkFamily

DECODER = (256, 128, 64, 32, 16)
# Parts of an EfficientNet that only classification uses: they would hold weights that never learn.
_CLASSIFIER = ("_conv_head", "_bn1", "_fc")
# EfficientNet's own .01 is for hundreds of thousands of steps; in some thousand the statistics of use would lag behind.
# With .1 they follow single batches: on the LGG images the Dice of a held-out fold leapt between .51 and .83.
_LEAST_MOMENTUM = 0.02


def build(
    dimensions: int,
    in_channels: int,
    out_channels: int,
    encoder: str = "efficientnet-b0",
    decoder: Sequence[int] = DECODER,
    dropout: float = 0.0,
) -> nn.Module:
    """U-Net over ``encoder`` (``efficientnet-b0`` … ``-b8``, ``resnet10`` … ``resnet200``) with fresh weights."""
    from monai.networks.nets import FlexibleUNet

    network = FlexibleUNet(
        in_channels=in_channels,
        out_channels=out_channels,
        backbone=encoder,
        pretrained=False,
        decoder_channels=tuple(decoder),
        spatial_dims=dimensions,
        dropout=dropout,
        is_pad=False,
    )
    adapt_encoder(network.encoder)
    return network


def adapt_encoder(encoder: nn.Module) -> None:
    """Make a classifier's encoder one that learns to segment: without what it does not use, on few images."""
    for name in _CLASSIFIER:
        if hasattr(encoder, name):
            setattr(encoder, name, nn.Identity())
    for part in encoder.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.momentum = None
            part.register_forward_pre_hook(_settle)


def _settle(norm: nn.modules.batchnorm._BatchNorm, inputs: Any) -> None:
    """Batch normalisation uses the plain mean of its first batches, then a moving one: right soon, and steady later."""
    if norm.training and norm.momentum != _LEAST_MOMENTUM:  # once settled, the count is not asked for: a GPU would wait
        seen = 0 if norm.num_batches_tracked is None else int(norm.num_batches_tracked)
        norm.momentum = max(_LEAST_MOMENTUM, 1 / (1 + seen))


def _divisor(arguments: Mapping[str, Any]) -> int:
    return 32


FAMILY = NetworkFamily("flexible_unet", build, _divisor, (2, 3), {"decoder": (1, 4096), "dropout": (0, 1)})
