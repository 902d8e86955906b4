from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from BrainTumorSegLib.domain.errors import CheckpointError
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.inference.backends.torch_backend import TorchBackend
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.inference.slicewise import Slicewise
from BrainTumorSegLib.inference.sliding_window import SlidingWindow
from BrainTumorSegLib.models.checkpoint_file import load_checkpoint, save_checkpoint
from BrainTumorSegLib.models.description import NetworkSpec, TilingSpec
from BrainTumorSegLib.networks import FAMILIES, create_network
from BrainTumorSegLib.networks.registry import family_of
from Testing.samples import Patient, describe_model

# Small forms of every family, to run.
SMALL: list[tuple[str, int, dict[str, Any]]] = [
    ("unet", 2, {"width": 4, "levels": 2}),
    ("unet", 2, {"width": 4, "levels": 3, "deep_supervision": True}),
    ("unet", 3, {"width": 4, "levels": 1}),
    ("unet", 3, {"width": 4, "levels": 2, "deep_supervision": True}),
    ("segresnet", 2, {"width": 8}),
    ("segresnet", 3, {"width": 8, "blocks_down": [1, 1], "blocks_up": [1]}),
    ("segresnet", 3, {"width": 3, "blocks_down": [1, 1], "blocks_up": [1], "norm": "batch"}),
    ("dynunet", 2, {"filters": [4, 8, 8]}),
    ("dynunet", 3, {"filters": [4, 8, 8], "residual": True}),
    ("u2net", 2, {"form": "small"}),
    ("resunet_a", 2, {"form": "d6", "width": 4}),
    ("resunet_a", 2, {"form": "d7", "width": 4, "multitask": True}),
    ("resunet_plus_plus", 2, {"widths": [32, 32, 32, 32, 32]}),
    ("swin_unetr", 2, {"width": 12, "heads": [1, 1, 1, 1], "window": 3}),
    ("swin_unetr", 3, {"width": 12, "depths": [1, 1, 1, 1], "heads": [1, 1, 1, 1], "window": 3}),
    ("attention_unet", 2, {"channels": [4, 8, 8]}),
    ("attention_unet", 3, {"channels": [4, 8, 8]}),
    ("flexible_unet", 2, {"encoder": "efficientnet-b0", "decoder": [16, 8, 8, 8, 4]}),
    ("flexible_unet", 3, {"encoder": "resnet10", "decoder": [16, 8, 8, 8, 4]}),
]
IDS = [
    f"{family}-{dimensions}d-{'-'.join(str(v) for v in arguments.values())}" for family, dimensions, arguments in SMALL
]
every_small_network = pytest.mark.parametrize(("family", "dimensions", "arguments"), SMALL, ids=IDS)


def logits_of(output: torch.Tensor | Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """All that a network returns in training mode."""
    return [output] if isinstance(output, torch.Tensor) else list(output)


@pytest.mark.parametrize(
    ("family", "dimensions", "channels", "arguments", "count"),
    [
        ("unet", 2, (3, 1), {}, 7_763_041),
        ("unet", 2, (4, 3), {"width": 24}, 4_368_339),
        ("unet", 2, (3, 1), {"width": 64}, 31_037_633),
        ("segresnet", 3, (4, 3), {}, 4_702_227),
        ("segresnet", 3, (4, 3), {"width": 32}, 18_798_627),
        ("segresnet", 3, (4, 3), {"norm": "batch"}, 4_702_227),
        ("dynunet", 3, (4, 3), {}, 31_192_035),
        ("nnunet", 3, (4, 3), {}, 31_196_675),
        # nnU-Net's ResEnc L
        ("nnunet", 3, (4, 3), {"residual": True, "encoder": [1, 3, 4, 6, 6, 6], "decoder": [1] * 5}, 102_350_851),
        ("segresnet_ds", 3, (4, 3), {}, 87_165_923),
        ("u2net", 2, (3, 1), {}, 44_009_869),  # this and the next three as in the authors' code
        ("u2net", 2, (4, 3), {}, 44_038_155),
        ("u2net", 2, (3, 1), {"form": "small"}, 1_131_181),
        ("u2net", 2, (4, 3), {"form": "small"}, 1_138_731),
        ("resunet_a", 2, (4, 3), {"width": 16}, 14_503_771),
        ("resunet_a", 2, (4, 3), {"multitask": True}, 58_038_621),
        ("resunet_a", 2, (4, 3), {"form": "d7", "width": 16, "multitask": True}, 46_151_474),
        ("resunet_a", 2, (4, 3), {"form": "d7"}, 184_479_149),
        ("resunet_plus_plus", 2, (3, 1), {}, 4_062_993),
        ("swin_unetr", 3, (4, 3), {}, 15_705_621),
        ("attention_unet", 2, (3, 1), {}, 7_940_321),
        ("flexible_unet", 2, (3, 1), {}, 5_367_117),
    ],
)
def test_parameter_counts(
    family: str, dimensions: int, channels: tuple[int, int], arguments: Mapping[str, Any], count: int
) -> None:
    # MONAI's SwinUNETR computes numbers while it is built, which the meta device cannot.
    with contextlib.nullcontext() if family == "swin_unetr" else torch.device("meta"):
        network = create_network(
            family, dimensions=dimensions, in_channels=channels[0], out_channels=channels[1], arguments=arguments
        )
    assert sum(parameter.numel() for parameter in network.parameters()) == count


def test_parameters_of_a_unet_by_hand() -> None:
    """Width 2, one level, 1 → 1, 2D: 3×3 weights without bias, two a norm, 2×2 up and 1×1 out with bias."""
    network = create_network("unet", dimensions=2, in_channels=1, out_channels=1, arguments={"width": 2, "levels": 1})
    encoder = 9 * (1 * 2 + 2 * 2) + 2 * 4
    bottleneck = 9 * (2 * 4 + 4 * 4) + 2 * 8
    up = 4 * 4 * 2 + 2
    decoder = 9 * (4 * 2 + 2 * 2) + 2 * 4
    head = 2 + 1
    assert sum(p.numel() for p in network.parameters()) == encoder + bottleneck + up + decoder + head


def test_coarser_levels_of_a_unet_learn_and_are_not_asked() -> None:
    arguments = {"width": 4, "levels": 3, "deep_supervision": True}
    network = create_network("unet", dimensions=2, in_channels=1, out_channels=2, arguments=arguments)
    images = torch.randn(2, 1, 16, 16)
    logits, *sides = network(images)
    assert len(sides) == 2 and {side.shape for side in sides} == {logits.shape}
    sides[1].sum().backward()  # of the coarsest decoder: nothing finer has a part in it
    weights = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert weights["sides.0.weight"] is not None and weights["decoders.0.0.weight"] is not None
    assert weights["decoders.1.0.weight"] is None and weights["head.weight"] is None
    assert isinstance(network.eval()(images), torch.Tensor)


@every_small_network
def test_shapes_and_gradients(family: str, dimensions: int, arguments: dict[str, Any]) -> None:
    torch.manual_seed(1)
    network = create_network(family, dimensions=dimensions, in_channels=2, out_channels=3, arguments=arguments)
    divisor = family_of(family).divisor(arguments)
    unit = divisor * math.ceil(16 / divisor)
    shape = (2 * unit, *(unit if dimensions == 3 else 3 * unit,) * (dimensions - 1))
    images = torch.randn(2, 2, *shape)
    outputs = logits_of(network(images))
    for logits in outputs:
        assert logits.shape[2:] == shape and logits.shape[0] == 2
        assert logits.min() < 0 < logits.max(), "logits, not probabilities"
    assert outputs[0].shape[1] == 3
    sum((logits * torch.randn_like(logits)).sum() for logits in outputs).backward()  # type: ignore[union-attr]
    # A bias before a normalisation that subtracts the mean has no influence, so its gradient is only rounding.
    silent = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    evaluated = network.eval()(images)
    assert isinstance(evaluated, torch.Tensor) and evaluated.shape == (2, 3, *shape)


@every_small_network
def test_the_divisor_is_what_the_network_needs(family: str, dimensions: int, arguments: dict[str, Any]) -> None:
    network = create_network(family, dimensions=dimensions, in_channels=1, out_channels=1, arguments=arguments).eval()
    divisor = family_of(family).divisor(arguments)
    assert divisor == 2 ** (divisor.bit_length() - 1)
    sizes = [37] * dimensions if divisor == 1 else [3 * divisor + divisor // 2] * dimensions
    with torch.no_grad(), contextlib.nullcontext() if divisor == 1 else pytest.raises((RuntimeError, ValueError)):
        wrong = network(torch.zeros(1, 1, *sizes))
        if list(wrong.shape[2:]) != sizes:
            raise RuntimeError("another size came out")


@every_small_network
def test_the_smallest_images(family: str, dimensions: int, arguments: dict[str, Any]) -> None:
    """A single voxel at the bottom has no spread to be normalised by."""
    torch.manual_seed(0)
    network = create_network(family, dimensions=dimensions, in_channels=2, out_channels=3, arguments=arguments).eval()
    shape = (family_of(family).divisor(arguments),) * dimensions
    with torch.no_grad():
        logits = network(torch.randn(2, 2, *shape))
    assert logits.shape == (2, 3, *shape) and logits.isfinite().all()


@every_small_network
def test_odd_sizes_go_through_the_predictor(family: str, dimensions: int, arguments: dict[str, Any]) -> None:
    """Padded to the divisor and cut again, slice-wise and by windows."""
    torch.manual_seed(0)
    network = create_network(family, dimensions=dimensions, in_channels=1, out_channels=2, arguments=arguments).eval()
    divisor = family_of(family).divisor(arguments)
    predictor = SlidingWindow((32, 96, 32), 0.0, divisor) if dimensions == 3 else Slicewise((0, 0), divisor)
    backend = TorchBackend("cpu", "fp32")
    backend.take(network)
    shapes = [(10, 155, 37)] if dimensions == 3 else [(1, 240, 155), (1, 155, 37), (1, 37, 240)]
    for shape in shapes:
        volume = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
        probabilities = predictor(backend, volume, lambda done, total: None)
        assert probabilities.shape == (2, *shape)
        assert np.isfinite(probabilities).all() and probabilities.min() >= 0 and probabilities.max() <= 1


@every_small_network
def test_export_reload_and_the_engine(
    tmp_path: Path, patient: Patient, family: str, dimensions: int, arguments: dict[str, Any]
) -> None:
    """What is trained, what its file gives back, and what the engine computes with it are one network."""
    torch.manual_seed(0)
    tiling = TilingSpec((0, 0) if dimensions == 2 else (64, 64, 64))
    description = describe_model(dimensions, network=NetworkSpec(family, arguments), tiling=tiling)
    network = create_network(family, dimensions=dimensions, in_channels=4, out_channels=3, arguments=arguments)
    halved = {name: t.half().float() if t.is_floating_point() else t for name, t in network.state_dict().items()}
    network.load_state_dict(halved)
    checkpoint = load_checkpoint(save_checkpoint(description, network.state_dict(), tmp_path / "a.safetensors"))
    images = torch.randn(1, 4, *(64, 64) if dimensions == 2 else (32, 32, 32))
    with torch.no_grad():
        assert torch.equal(checkpoint.build()(images), network.eval()(images))
    result = segment_case(
        patient.case(), checkpoint, RunOptions(device="cpu", precision="fp32"), keep_probabilities=True
    )
    assert result.labels.shape == patient.labels.shape and result.regions == ("ET", "TC", "WT")
    probability = result.probabilities["WT"]
    assert probability[patient.images["t1"].array > 0].std() > 0, "it sees the images"


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
        ("u2net", {"dimensions": 3}, "not 3D"),
        ("u2net", {"arguments": {"form": "huge"}}, "huge"),
        ("resunet_a", {"arguments": {"form": "d5"}}, "d5"),
        ("swin_unetr", {"arguments": {"width": 10}}, "swin_unetr"),
        ("flexible_unet", {"arguments": {"encoder": "vgg"}}, "vgg"),
        ("encoders", {"arguments": {"architecture": "pan"}}, "pan"),
    ],
)
def test_unknown_networks_and_arguments_are_refused(name: str, options: dict[str, Any], named: str) -> None:
    values: dict[str, Any] = {"dimensions": 2, "in_channels": 1, "out_channels": 1, **options}
    with pytest.raises(CheckpointError, match=named) as caught:
        create_network(name, **values)
    assert caught.value.remedy


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_called_as_in_the_table(name: str) -> None:
    assert family_of(name).name == name
