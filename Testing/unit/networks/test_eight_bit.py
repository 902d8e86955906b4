"""Convolutions in 8 bits: rounding by hand, and what a network takes."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from BrainTumorSegLib.domain.errors import CheckpointError
from BrainTumorSegLib.networks.eight_bit import EightBit, convolutions, in_eight_bits, watched


def identity() -> nn.Conv2d:
    convolution = nn.Conv2d(1, 1, 1, bias=False)
    convolution.weight.data.fill_(1.0)
    return convolution.requires_grad_(False)


@pytest.mark.parametrize(
    ("low", "high", "given", "rounded"),
    [
        (0.0, 255.0, [0.0, 0.4, 0.6, 254.7, 300.0, -3.0], [0.0, 0.0, 1.0, 255.0, 255.0, 0.0]),
        (-1.0, 1.55, [0.0, 0.014, -0.996, -2.0, 2.0], [0.0, 0.01, -1.0, -1.0, 1.55]),  # steps of .01
    ],
)
def test_what_is_taken_is_rounded_to_256_steps(
    low: float, high: float, given: list[float], rounded: list[float]
) -> None:
    images = torch.tensor(given).reshape(1, 1, 1, -1)
    assert EightBit(identity(), low, high)(images).flatten().tolist() == pytest.approx(rounded, abs=1e-5)


def test_weights_are_rounded_to_127_steps_an_output_channel() -> None:
    convolution = nn.Conv2d(2, 2, 1, bias=False).requires_grad_(False)
    convolution.weight.data = torch.tensor([[0.63, 0.014], [-6.3, 0.06]]).reshape(2, 2, 1, 1)
    second = torch.tensor([0.0, 255.0]).reshape(1, 2, 1, 1)  # of the second input channel alone
    found = EightBit(convolution, 0.0, 255.0)(second).flatten() / 255
    assert found.tolist() == pytest.approx([0.01, 0.1], abs=1e-6)


def test_a_channel_of_nothing_stays_nothing() -> None:
    convolution = identity()
    convolution.weight.data.zero_()
    assert EightBit(convolution, -1.0, 2.0)(torch.rand(1, 1, 3, 3)).abs().max() == 0


def test_ranges_are_of_all_that_was_taken_and_span_zero() -> None:
    network = nn.Sequential(identity(), nn.ReLU(), identity())
    with watched(network) as found:
        network(torch.tensor([-2.0, 1.0]).reshape(1, 1, 1, 2))
        network(torch.tensor([3.0, 2.0]).reshape(1, 1, 1, 2))
    assert found == {"0": (-2.0, 3.0), "2": (0.0, 3.0)}
    network(torch.full((1, 1, 1, 1), 9.0))  # nobody watches any more
    assert found["0"] == (-2.0, 3.0)


def test_those_that_are_named_compute_in_8_bits() -> None:
    network = nn.Sequential(identity(), nn.Sequential(identity(), nn.ReLU()))
    assert list(convolutions(network)) == ["0", "1.0"]
    images = torch.tensor([0.4, 7.6]).reshape(1, 1, 1, 2)
    assert in_eight_bits(network, {"1.0": (0.0, 255.0)})(images).flatten().tolist() == [0.0, 8.0]
    assert isinstance(network[0], nn.Conv2d)
    with pytest.raises(CheckpointError, match="elsewhere"):
        in_eight_bits(network, {"elsewhere": (0.0, 1.0)})
