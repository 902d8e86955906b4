from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import nn

from BrainTumorSegLib.errors import CheckpointError
from BrainTumorSegLib.networks import create_network, families, register
from BrainTumorSegLib.networks.registry import NetworkFamily, family_of

# Small forms of every family, to run.
SMALL: list[tuple[str, int, dict[str, Any]]] = [
    ("unet", 2, {"width": 4, "levels": 2}),
    ("unet", 3, {"width": 4, "levels": 1}),
    ("segresnet", 2, {"width": 8}),
    ("segresnet", 3, {"width": 8, "blocks_down": [1, 1], "blocks_up": [1]}),
    ("dynunet", 2, {"filters": [4, 8, 8]}),
    ("dynunet", 3, {"filters": [4, 8, 8], "residual": True}),
]


@pytest.mark.parametrize(
    ("family", "dimensions", "channels", "arguments", "millions"),
    [
        ("unet", 2, (3, 1), {}, 7.76),
        ("unet", 2, (4, 3), {"width": 24}, 4.37),
        ("unet", 2, (3, 1), {"width": 64}, 31.04),
        ("segresnet", 3, (4, 3), {}, 4.70),
        ("segresnet", 3, (4, 3), {"width": 32}, 18.8),
        ("dynunet", 3, (4, 3), {}, 31.2),
    ],
)
def test_parameter_counts(
    family: str, dimensions: int, channels: tuple[int, int], arguments: Mapping[str, Any], millions: float
) -> None:
    with torch.device("meta"):
        network = create_network(
            family, dimensions=dimensions, in_channels=channels[0], out_channels=channels[1], arguments=arguments
        )
    count = sum(parameter.numel() for parameter in network.parameters()) / 1e6
    digits = len(str(millions).split(".")[1])
    assert round(count, digits) == millions


def test_parameters_of_a_unet_by_hand() -> None:
    """Width 2, one level, 1 → 1, 2D: 3×3 weights without bias, two a norm, 2×2 up and 1×1 out with bias."""
    network = create_network("unet", dimensions=2, in_channels=1, out_channels=1, arguments={"width": 2, "levels": 1})
    encoder = 9 * (1 * 2 + 2 * 2) + 2 * 4
    bottleneck = 9 * (2 * 4 + 4 * 4) + 2 * 8
    up = 4 * 4 * 2 + 2
    decoder = 9 * (4 * 2 + 2 * 2) + 2 * 4
    head = 2 + 1
    assert sum(p.numel() for p in network.parameters()) == encoder + bottleneck + up + decoder + head


@pytest.mark.parametrize(("family", "dimensions", "arguments"), SMALL)
def test_shapes_and_gradients(family: str, dimensions: int, arguments: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = create_network(family, dimensions=dimensions, in_channels=2, out_channels=3, arguments=arguments)
    divisor = family_of(family).divisor(arguments)
    shape = (2 * divisor, *(3 * divisor,) * (dimensions - 1))
    logits = network(torch.randn(2, 2, *shape))
    assert logits.shape == (2, 3, *shape)
    assert logits.min() < 0, "logits, not probabilities"
    (logits * torch.randn_like(logits)).sum().backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # A bias before a normalisation that subtracts the mean has no influence, so its gradient is only rounding.
    assert silent == []


@pytest.mark.parametrize(("family", "dimensions", "arguments"), SMALL)
def test_the_divisor_is_what_the_network_needs(family: str, dimensions: int, arguments: dict[str, Any]) -> None:
    network = create_network(family, dimensions=dimensions, in_channels=1, out_channels=1, arguments=arguments).eval()
    divisor = family_of(family).divisor(arguments)
    halvings = divisor.bit_length() - 1
    assert divisor == 2**halvings and halvings >= 1
    with torch.no_grad(), pytest.raises(RuntimeError):
        wrong = network(torch.zeros(1, 1, *(3 * divisor + divisor // 2,) * dimensions))
        if wrong.shape[2:] != (3 * divisor + divisor // 2,) * dimensions:
            raise RuntimeError("another size came out")


def test_a_unet_sees_its_whole_field() -> None:
    """An input voxel influences outputs as far away as the pooling reaches, on both sides."""
    torch.manual_seed(1)
    network = create_network("unet", dimensions=2, in_channels=1, out_channels=1, arguments={"width": 4, "levels": 2})
    network.eval()
    image = torch.randn(1, 1, 64, 64, requires_grad=True)
    network(image)[0, 0, 32, 32].backward()
    assert image.grad is not None
    reach = image.grad[0, 0].abs().sum(0).nonzero().flatten() - 32
    assert reach.min() < -8 and reach.max() > 8
    assert reach.abs().max() < 32


@pytest.mark.parametrize(
    ("name", "options", "named"),
    [
        ("skynet", {}, "skynet"),
        ("torch.nn.Linear", {}, "torch.nn.Linear"),
        ("unet", {"dimensions": 4}, "not 4D"),
        ("unet", {"arguments": {"colour": 1}}, "colour"),
        ("unet", {"arguments": {"in_channels": 1}}, "in_channels"),
        ("segresnet", {"arguments": {"width": 3}}, "segresnet"),  # 8 groups do not divide 3
    ],
)
def test_unknown_networks_and_arguments_are_refused(name: str, options: dict[str, Any], named: str) -> None:
    values: dict[str, Any] = {"dimensions": 2, "in_channels": 1, "out_channels": 1, **options}
    with pytest.raises(CheckpointError, match=named) as caught:
        create_network(name, **values)
    assert caught.value.remedy


def test_the_registry() -> None:
    known = families()
    assert {"unet", "segresnet", "dynunet"} <= set(known)
    assert all(name == family.name for name, family in known.items())
    with pytest.raises(ValueError, match="twice"):
        register(NetworkFamily("unet", lambda **_: nn.Identity(), lambda _: 1, (2,)))
    known.clear()
    assert families(), "a caller cannot empty the registry"
