"""Networks of segmentation-models-pytorch over any of its encoders; the extra ``[encoders]`` installs it.

The library needs a torchvision that matches torch, so it is imported only when such a network is built.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import nn

from ..domain.errors import CheckpointError
from .family import NetworkFamily
from .flexible_unet import adapt_encoder

# Name in recipes and checkpoints → name in the library.
ARCHITECTURES = {
    "unet": "Unet",
    "unet_plus_plus": "UnetPlusPlus",
    "manet": "MAnet",
    "fpn": "FPN",
    "segformer": "Segformer",
}


def library() -> ModuleType:
    """The library.

    Raises:
        CheckpointError: it is not installed, or torchvision does not match torch; says how to install what does.
    """
    try:
        import segmentation_models_pytorch
    except (ImportError, RuntimeError) as error:  # a torchvision of another torch fails while it registers operators
        import torch

        raise CheckpointError(
            f"segmentation-models-pytorch cannot be imported ({error}).",
            f"Install the torchvision of torch {torch.__version__}, both of one build (pytorch.org/get-started gives"
            ' the command for your system), then: python -m pip install "segmentation-models-pytorch>=0.5".',
        ) from error
    return segmentation_models_pytorch


def build(
    dimensions: int, in_channels: int, out_channels: int, architecture: str = "unet", encoder: str = "resnet34"
) -> nn.Module:
    """``architecture`` over the library's ``encoder`` with fresh weights; ``tu-<name>`` takes one of timm's."""
    if architecture not in ARCHITECTURES:
        raise CheckpointError(
            f"segmentation-models-pytorch has no {architecture!r} here.", f"Choose from {', '.join(ARCHITECTURES)}."
        )
    if not re.fullmatch(r"[A-Za-z0-9_.-]+", encoder):  # timm would fetch what is named hf-hub:OWNER/MODEL
        raise CheckpointError(f"{encoder!r} is no name of an encoder.", "Name one of the library's.")
    kind = getattr(library(), ARCHITECTURES[architecture])
    try:
        network = kind(encoder_name=encoder, encoder_weights=None, in_channels=in_channels, classes=out_channels)
    except KeyError as error:
        raise CheckpointError(f"There is no encoder {encoder!r} ({error.args[0]}).", "Choose another.") from error
    adapt_encoder(network.encoder)
    return network


def _divisor(arguments: Mapping[str, Any]) -> int:
    return 32


FAMILY = NetworkFamily("encoders", build, _divisor, (2,))
