from __future__ import annotations

from typing import Any

import pytest
import torch

from BrainTumorSegLib.domain.errors import CheckpointError
from BrainTumorSegLib.networks import create_network, family_of
from BrainTumorSegLib.networks.outline import shapes_only, without_values
from Testing.torchvision_operators import declare_missing

from .test_registry import every_small_network


def made(family: str, dimensions: int, arguments: dict[str, Any]) -> torch.nn.Module:
    return create_network(family, dimensions=dimensions, in_channels=4, out_channels=3, arguments=arguments).eval()


@every_small_network
def test_an_outline_has_every_shape_and_no_memory(family: str, dimensions: int, arguments: dict[str, Any]) -> None:
    with shapes_only():
        outline = made(family, dimensions, arguments)
    real = made(family, dimensions, arguments).state_dict()
    shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in outline.state_dict().items()}
    assert shapes == {name: (tensor.shape, tensor.dtype) for name, tensor in real.items()}
    assert all(tensor.is_meta for tensor in outline.parameters())


@every_small_network
def test_without_first_values_a_network_is_the_same_with_its_own(
    family: str, dimensions: int, arguments: dict[str, Any]
) -> None:
    torch.manual_seed(4)
    real = made(family, dimensions, arguments)
    with without_values():
        built = made(family, dimensions, arguments)
    built.load_state_dict(real.state_dict())
    images = torch.randn(1, 4, *[32 if family != "resunet_a" else 64] * dimensions)
    with torch.inference_mode():
        assert torch.equal(built(images), real(images))


@pytest.mark.parametrize(
    ("family", "arguments"),
    [
        ("unet", {"levels": 8, "width": 1024}),
        ("segresnet", {"blocks_down": [32] * 6, "blocks_up": [32] * 5, "width": 1024}),
        ("dynunet", {"filters": [4096] * 12}),
        ("attention_unet", {"channels": [4096] * 12}),
        ("swin_unetr", {"width": 768, "depths": [32] * 4, "window": 16}),
        ("flexible_unet", {"encoder": "resnet200", "decoder": [4096] * 5}),
    ],
)
def test_the_largest_within_the_limits_have_an_outline(family: str, arguments: dict[str, Any]) -> None:
    """Which of them a file has weights for is another question."""
    with shapes_only():
        network = made(family, 3, arguments)
    assert sum(tensor.numel() for tensor in network.parameters()) > 1e9


@pytest.mark.parametrize("encoder", ["resnext101_32x48d", "tu-regnety_2560"])
def test_the_largest_encoders_have_an_outline(encoder: str) -> None:
    declare_missing()
    pytest.importorskip("segmentation_models_pytorch", reason="the extra [encoders]", exc_type=ImportError)
    with shapes_only():
        network = made("encoders", 2, {"encoder": encoder})
    assert sum(tensor.numel() for tensor in network.parameters()) > 8e8
    # The library makes the first layer anew, for as many channels as there are, in memory.
    assert sum(tensor.numel() for tensor in network.parameters() if not tensor.is_meta) < 1e5


def test_an_encoder_is_named_and_not_fetched() -> None:
    build = family_of("encoders").build
    for name in ("tu-hf-hub:owner/model", "../up", "", "a b"):
        with pytest.raises(CheckpointError, match="no name of an encoder"):
            build(2, 4, 3, encoder=name)
