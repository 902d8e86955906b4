"""Networks in 8 bits by OpenVINO, run by test_openvino.py in a process of their own."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from BrainTumorSegLib.domain.errors import DeviceError
from BrainTumorSegLib.domain.progress import Progress
from BrainTumorSegLib.inference.backends import conversions, create_backend
from BrainTumorSegLib.models.checkpoint_file import Checkpoint, load_checkpoint, save_checkpoint
from BrainTumorSegLib.models.description import NetworkSpec
from BrainTumorSegLib.networks import create_network
from BrainTumorSegLib.networks.eight_bit import EightBit, in_eight_bits, watched
from Testing.samples import describe_model
from Testing.unit.inference.test_openvino import entries


def eight_bit(path: Path) -> Checkpoint:
    """A U-Net with random weights whose convolutions may compute in 8 bits, coarsely, so that it shows."""
    d = describe_model(2, network=NetworkSpec("unet", {"width": 4, "levels": 2}))
    torch.manual_seed(0)
    network = create_network("unet", dimensions=2, in_channels=4, out_channels=3, arguments=d.network.arguments).eval()
    with watched(network) as ranges, torch.inference_mode():
        network(torch.from_numpy(IMAGES))
    coarse = {name: (10 * low, 10 * high) for name, (low, high) in ranges.items()}
    spec = dataclasses.replace(d.network, eight_bit=coarse)
    return load_checkpoint(save_checkpoint(dataclasses.replace(d, network=spec), network.state_dict(), path))


IMAGES = np.random.default_rng(3).normal(size=(2, 4, 32, 24)).astype(np.float32)


def test_eight_bits_where_the_network_says_how(tmp_path: Path, home: Path) -> None:
    checkpoint = eight_bit(tmp_path / "model.safetensors")
    found = {}
    for precision in ("auto", "fp32"):
        backend = create_backend("openvino", "cpu", precision)
        backend.prepare(checkpoint, Progress())
        backend.load(checkpoint)
        found[precision] = backend.probabilities(IMAGES)
        assert backend.precision == {"auto": "int8"}.get(precision, precision)
    assert len(entries(home)) == 2  # each has its own conversion
    apart = np.abs(found["auto"] - found["fp32"])
    expected = in_eight_bits(checkpoint.build(), checkpoint.description.network.eight_bit)
    with torch.inference_mode():
        rounded = torch.sigmoid(expected(torch.from_numpy(IMAGES))).numpy()
    assert np.abs(found["auto"] - rounded).mean() < apart.mean() / 2  # it rounds as PyTorch does


def test_eight_bits_that_come_out_wrong_are_not_taken(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = eight_bit(tmp_path / "model.safetensors")
    convert = conversions.converted

    def faulty(network: Any, tile: np.ndarray) -> Any:
        other = copy.deepcopy(network)
        for part in other.modules():
            if isinstance(part, EightBit):
                part.scale /= 1000
        return convert(other, tile)

    monkeypatch.setattr(conversions, "converted", faulty)
    with pytest.raises(DeviceError, match="another result"):
        create_backend("openvino", "cpu", "int8").prepare(checkpoint, Progress())
    backend = create_backend("openvino", "cpu", "auto")
    backend.prepare(checkpoint, Progress())
    assert backend.precision in ("bf16", "fp32")
