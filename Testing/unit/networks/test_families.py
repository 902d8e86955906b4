"""What is peculiar to single families."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from BrainTumorSegLib.domain.errors import CheckpointError
from BrainTumorSegLib.networks import create_network, encoders
from BrainTumorSegLib.networks.family import MultitaskLogits
from BrainTumorSegLib.networks.flexible_unet import adapt_encoder
from BrainTumorSegLib.networks.instance_norm import allow_single_voxels
from BrainTumorSegLib.networks.resunet_a import PyramidPooling
from Testing.torchvision_operators import declare_missing


def test_u2net_learns_from_seven_maps_and_answers_with_one() -> None:
    torch.manual_seed(0)
    network: Any = create_network("u2net", dimensions=2, in_channels=1, out_channels=2, arguments={"form": "small"})
    images = torch.randn(2, 1, 37, 155)
    outputs = network(images)
    assert isinstance(outputs, list) and [tuple(o.shape) for o in outputs] == [(2, 2, 37, 155)] * 7
    fused, *sides = outputs
    torch.testing.assert_close(fused, network.fuse(torch.cat(sides, dim=1)))
    # From full resolution to the deepest stage, 32 times coarser: the coarser, the less it varies from voxel to voxel.
    roughness = [float(side.diff(dim=-1).abs().mean() / side.std()) for side in (s.detach() for s in sides)]
    assert roughness == sorted(roughness, reverse=True)
    torch.testing.assert_close(network.eval()(images).shape, fused.shape)


def test_resunet_a_tells_its_tasks_apart_in_training_alone() -> None:
    torch.manual_seed(0)
    arguments = {"width": 4, "multitask": True}
    network: Any = create_network("resunet_a", dimensions=2, in_channels=4, out_channels=3, arguments=arguments)
    tasks = network(torch.randn(2, 4, 32, 64))
    assert isinstance(tasks, MultitaskLogits)
    shapes = {name: tuple(value.shape) for name, value in tasks._asdict().items()}
    logits = (2, 3, 32, 64)
    assert shapes == {"segmentation": logits, "boundary": logits, "distance": logits, "intensity": (2, 4, 32, 64)}
    # Each task sees those before it: distance, then border, then segmentation.
    for name, seen in {"distance": set(), "boundary": {"distance"}, "segmentation": {"distance", "boundary"}}.items():
        network.zero_grad()
        getattr(network(torch.randn(2, 4, 32, 64)), name).std().backward()
        heads = {"distance", "boundary", "segmentation", "intensity"}
        assert {head for head in heads if getattr(network.head, head)[0][0].weight.grad is not None} == seen | {name}


def test_pyramid_pooling_by_hand() -> None:
    """One image, one channel; each grid's maxima where the identity is all that follows."""
    pooling: Any = PyramidPooling(4, 8, 4).eval()
    with torch.no_grad():
        for reduction in pooling.reductions:
            reduction.weight.copy_(torch.tensor([1.0, 0, 0, 0]).view(1, 4, 1, 1))
            reduction.bias.zero_()
        pooling.join[0].weight.copy_(torch.eye(8).view(8, 8, 1, 1))
        pooling.join[0].bias.zero_()
        image = torch.arange(4 * 16 * 16.0).view(1, 4, 16, 16)
        result = pooling(image) * (1 + 1e-5)  # two normalisations divide by √(1 + 1e-5)
    torch.testing.assert_close(result[:, :4], image * (1 + 1e-5) ** 0.5)
    for level in range(4):
        cell = 16 // 2**level
        maxima = image[0, 0].view(2**level, cell, 2**level, cell).amax(dim=(1, 3))
        torch.testing.assert_close(result[0, 4 + level], maxima.repeat_interleave(cell, 0).repeat_interleave(cell, 1))


def test_instance_normalisation_of_one_voxel_is_the_bias() -> None:
    network: Any = allow_single_voxels(nn.Sequential(nn.InstanceNorm2d(3, affine=True), nn.InstanceNorm2d(3)))
    with torch.no_grad():
        network[0].bias.copy_(torch.tensor([1.0, 2.0, 3.0]))
    assert torch.equal(network[0](torch.full((2, 3, 1, 1), 7.0))[1, :, 0, 0], torch.tensor([1.0, 2.0, 3.0]))
    assert not network[1](torch.full((2, 3, 1, 1), 7.0)).any()
    images = torch.randn(2, 3, 4, 1)
    torch.testing.assert_close(network[1](images), nn.InstanceNorm2d(3)(images))


def library_reason() -> str:
    """Why segmentation-models-pytorch cannot be used here; empty where it can."""
    declare_missing()
    try:
        encoders.library()
    except CheckpointError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("architecture", encoders.ARCHITECTURES)
def test_library_encoders(architecture: str) -> None:
    if reason := library_reason():
        pytest.skip(reason)
    torch.manual_seed(1)
    arguments = {"architecture": architecture, "encoder": "efficientnet-b0"}
    network = create_network("encoders", dimensions=2, in_channels=4, out_channels=3, arguments=arguments)
    logits = network(torch.randn(4, 4, 64, 96))
    assert logits.shape == (4, 3, 64, 96)
    (logits * torch.randn_like(logits)).sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []
    with pytest.raises(CheckpointError, match="nosuchnet"):
        create_network(
            "encoders", dimensions=2, in_channels=4, out_channels=3, arguments={**arguments, "encoder": "nosuchnet"}
        )


@pytest.mark.parametrize("encoder", ["efficientnet-b0", "resnet10"])
def test_what_an_encoder_uses_after_thirty_steps_is_what_it_has_seen(encoder: str) -> None:
    """Else a network of some hundred steps would be of no use, however well it has learned."""
    torch.manual_seed(0)
    network = create_network(
        "flexible_unet", dimensions=2, in_channels=1, out_channels=1, arguments={"encoder": encoder}
    )
    first = next(part for part in network.modules() if isinstance(part, nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network.train()
    images = 5 * torch.randn(2, 1, 32, 32) + 3
    with torch.no_grad():
        for _ in range(30):
            network(images)
    torch.testing.assert_close(first.running_mean, seen[0].mean((0, 2, 3)), rtol=0.05, atol=0.01)


def test_an_encoders_statistics_are_a_mean_at_first_and_move_slowly_later() -> None:
    """Also in a copy that goes on from the weights alone, as a resumed run does."""
    torch.manual_seed(0)
    norms = [nn.BatchNorm2d(3) for _ in range(2)]
    for norm in norms:
        adapt_encoder(nn.Sequential(norm))
    batches = [torch.randn(4, 3, 8, 8) + torch.randn(3, 1, 1) for _ in range(60)]
    means = torch.stack([batch.mean((0, 2, 3)) for batch in batches])
    for batch in batches[:20]:
        norms[0](batch)
    torch.testing.assert_close(norms[0].running_mean, means[:20].mean(dim=0))
    norms[1].load_state_dict(norms[0].state_dict())
    for norm in norms:
        for batch in batches[20:50]:
            norm(batch)
        mean = means[:50].mean(dim=0)
        torch.testing.assert_close(norm.running_mean, mean)
        for batch, seen in zip(batches[50:], means[50:], strict=True):
            norm(batch)
            mean = 0.98 * mean + 0.02 * seen
        torch.testing.assert_close(norm.running_mean, mean)


def test_without_the_library_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(CheckpointError, match="segmentation-models-pytorch cannot be imported") as caught:
        create_network("encoders", dimensions=2, in_channels=4, out_channels=3)
    for part in ("torchvision", torch.__version__, 'pip install "segmentation-models-pytorch>='):
        assert part in caught.value.remedy


def test_the_library_is_imported_only_when_it_is_asked_for() -> None:
    code = "import sys; from BrainTumorSegLib.networks import FAMILIES, family_of; [family_of(n) for n in FAMILIES];"
    code += " print([name for name in ('segmentation_models_pytorch', 'torchvision', 'monai') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "[]"
