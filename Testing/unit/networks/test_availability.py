"""A network that takes any subset of sequences sees which were given, in every family that offers it."""

from __future__ import annotations

import pytest
import torch

from BrainTumorSegLib.networks import create_network
from BrainTumorSegLib.networks.availability import append_availability


def test_given_and_missing_channels_are_reported_by_hand() -> None:
    images = torch.zeros(2, 3, 2, 2)
    images[0, 1, 0, 1] = -0.5  # one voxel is enough: outside the brain a given sequence is 0 too
    images[1, 0] = 1.0
    (reported,) = append_availability(torch.nn.Identity(), (images,))
    assert torch.equal(reported[:, :3], images)
    assert reported[:, 3:].amax(dim=(2, 3)).tolist() == reported[:, 3:].amin(dim=(2, 3)).tolist()
    assert reported[:, 3:, 0, 0].tolist() == [[0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize("dimensions", [2, 3])
def test_the_network_tells_missing_from_average(dimensions: int) -> None:
    """A sequence that is 0 (its average) in all but one far corner, and one that is not there."""
    arguments = {"width": 8, "blocks_down": [1, 1], "blocks_up": [1], "availability": True}
    torch.manual_seed(0)
    network = create_network("segresnet", dimensions=dimensions, in_channels=2, out_channels=1, arguments=arguments)
    network.eval()
    given = torch.randn(1, 2, *[32] * dimensions)
    given[:, 1] = 0
    missing = given.clone()
    given[(0, 1, *[0] * dimensions)] = 1e-6
    with torch.no_grad():
        assert not torch.allclose(network(given), network(missing), atol=1e-3)


def test_half_precision_stays_half_precision() -> None:
    (reported,) = append_availability(torch.nn.Identity(), (torch.ones(1, 1, 2, 2, dtype=torch.bfloat16),))
    assert reported.dtype is torch.bfloat16
