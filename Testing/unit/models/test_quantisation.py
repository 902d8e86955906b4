"""Weights as they lie in a file: sizes, rounding, scales, what cannot be stored."""

from __future__ import annotations

import pytest
import torch

from BrainTumorSegLib.domain.errors import CheckpointError
from BrainTumorSegLib.models.quantisation import SCALE, pack, unpack


def kernel(*values: float) -> torch.Tensor:
    """Two output channels, one input channel, kernels of 1 × 1 × 2 voxels."""
    return torch.tensor(values).reshape(2, 1, 1, 1, 2)


def test_the_largest_weight_of_a_kernel_becomes_127_and_comes_back() -> None:
    """Kernel one in steps of 0.01, kernel two in steps of 2: the second rounds 3 to 2 steps, 4."""
    stored = pack({"a.weight": kernel(1.27, -0.504, 254.0, 3.0)}, "int8")
    assert stored["a.weight"].dtype == torch.int8
    assert stored["a.weight"].flatten().tolist() == [127, -50, 127, 2]
    assert stored["a.weight" + SCALE].flatten().tolist() == pytest.approx([0.01, 2.0], rel=5e-4)  # in fp16
    back = unpack(stored)
    assert set(back) == {"a.weight"}
    assert back["a.weight"].flatten().tolist() == pytest.approx([1.27, -0.5, 254.0, 4.0], rel=5e-4)
    assert back["a.weight"].shape == (2, 1, 1, 1, 2)


def test_what_is_stored_again_does_not_change() -> None:
    weight = {"a.weight": torch.randn(7, 3, 3, 3, 3, generator=torch.Generator().manual_seed(1))}
    once = unpack(pack(weight, "int8"))
    torch.testing.assert_close(unpack(pack(once, "int8"))["a.weight"], once["a.weight"], rtol=1e-6, atol=0)
    assert (once["a.weight"] - weight["a.weight"]).abs().max() <= weight["a.weight"].abs().max() / 254 * 1.1


def test_two_input_channels_share_a_scale_where_there_are_pairs() -> None:
    """Largest weights 1.27 (channels 1 and 2) and 127 (3 and 4); three channels have a scale each."""
    weight = torch.tensor([1.27, 0.1, 0.5, 0.2, 127.0, 1.4, 3.0, 2.0]).reshape(1, 4, 2, 1)
    stored = pack({"a.weight": weight, "b.weight": weight[:, :3]}, "int8")
    assert stored["a.weight"].flatten().tolist() == [127, 10, 50, 20, 127, 1, 3, 2]
    assert stored["a.weight" + SCALE].flatten().tolist() == pytest.approx([0.01, 1.0], rel=5e-4)
    assert stored["b.weight" + SCALE].shape == (1, 3, 1, 1)
    back = unpack(stored)["a.weight"].flatten().tolist()
    assert back == pytest.approx([1.27, 0.1, 0.5, 0.2, 127.0, 1.0, 3.0, 2.0], rel=5e-4)


def test_a_file_with_a_scale_for_every_pair_of_channels_is_read() -> None:
    whole = torch.tensor([127, 1, 2, 127], dtype=torch.int8).reshape(1, 2, 2, 1)
    scale = torch.tensor([0.5, 2.0], dtype=torch.float16).reshape(1, 2, 1, 1)
    back = unpack({"a.weight": whole, "a.weight" + SCALE: scale})["a.weight"]
    assert back.flatten().tolist() == [63.5, 0.5, 4.0, 254.0]


def test_kernels_of_one_voxel_share_the_scale_of_their_output_channel() -> None:
    stored = pack({"a.weight": torch.tensor([[1.0, 0.5], [0.0, 127.0]]).reshape(2, 2, 1, 1)}, "int8")
    assert stored["a.weight" + SCALE].shape == (2, 1, 1, 1)
    assert stored["a.weight"].flatten().tolist() == [127, 64, 0, 127]  # 63.5 in steps of 1 / 127, a little less in fp16


def test_a_channel_of_zeros_stays_zero() -> None:
    back = unpack(pack({"a.weight": kernel(0.0, 0.0, 1.0, -1.0)}, "int8"))["a.weight"]
    assert back.flatten().tolist() == pytest.approx([0.0, 0.0, 1.0, -1.0], rel=5e-4)


@pytest.mark.parametrize("storage", ["fp16", "int8"])
def test_all_but_kernels_is_stored_alike(storage: str) -> None:
    """Biases and matrices in fp16, statistics in fp32, counters as they are."""
    weights = {
        "a.bias": torch.tensor([0.1]),
        "b.weight": torch.ones(2, 2),
        "n.running_var": torch.tensor([1e6]),
        "n.num_batches_tracked": torch.tensor(3),
    }
    types = {name: tensor.dtype for name, tensor in pack(weights, storage).items()}
    assert list(types.values()) == [torch.float16, torch.float16, torch.float32, torch.int64]
    assert unpack(pack(weights, storage))["n.running_var"].item() == 1e6


def test_fp16_rounds_kernels_to_half_precision() -> None:
    stored = pack({"a.weight": kernel(0.1, 0.2, 0.3, 0.4)}, "fp16")
    assert list(stored) == ["a.weight"] and stored["a.weight"].dtype == torch.float16


@pytest.mark.parametrize(("storage", "value"), [("fp16", 1e6), ("fp16", float("nan")), ("int8", float("inf"))])
def test_a_weight_that_cannot_be_stored_is_named(storage: str, value: float) -> None:
    with pytest.raises(CheckpointError, match=r"Weight a\.weight is not finite"):
        pack({"a.weight": kernel(1.0, 2.0, 3.0, value)}, storage)
