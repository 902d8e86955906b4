"""Several outputs, several tasks and unknown voxels, against values worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from BrainTumorSegLib.networks import create_network
from BrainTumorSegLib.networks.family import MultitaskLogits
from Training.losses import create_loss
from Training.supervision import UNKNOWN, Supervision, boundaries, distances, intensities


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Images, logits and target of two images of 8 × 8 with two outputs."""
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(2, 2, 8, 8, generator=generator) > 0.5).float()
    return torch.randn(2, 3, 8, 8, generator=generator), torch.randn(2, 2, 8, 8, generator=generator), target


@pytest.mark.parametrize("name", ["dice_bce", "bce"])
def test_one_map_is_the_loss_itself(name: str, batch: tuple[torch.Tensor, ...]) -> None:
    images, logits, target = batch
    assert Supervision(create_loss(name))(logits, target, images) == create_loss(name)(logits, target)


def test_an_output_that_weighs_more_counts_more(batch: tuple[torch.Tensor, ...]) -> None:
    images, logits, target = batch
    first, second = (nn.BCEWithLogitsLoss()(logits[:, i], target[:, i]).item() for i in range(2))
    loss = Supervision(create_loss("bce"), (3, 1))(logits, target, images)
    assert loss.item() == pytest.approx((3 * first + second) / 4, rel=1e-5)
    for name in ("bce", "dice", "tversky"):  # alike, they are the mean over outputs that these take anyway
        alike = Supervision(create_loss(name), (2, 2))(logits, target, images)
        assert alike.item() == pytest.approx(create_loss(name)(logits, target).item(), rel=1e-5)


def test_several_maps_are_summed() -> None:
    torch.manual_seed(0)
    network = create_network("u2net", dimensions=2, in_channels=1, out_channels=1, arguments={"form": "small"})
    images, target = torch.randn(2, 1, 32, 32), torch.zeros(2, 1, 32, 32)
    maps = network(images)
    loss = Supervision(create_loss("bce"))(maps, target, images)
    assert loss.item() == pytest.approx(sum(nn.BCEWithLogitsLoss()(m, target).item() for m in maps), rel=1e-5)
    assert len(maps) == 7


@pytest.mark.parametrize("name", ["dice_bce", "bce"])
def test_unknown_voxels_do_not_count(name: str, batch: tuple[torch.Tensor, ...]) -> None:
    """The lower half unknown is the loss of the upper half alone, whatever is predicted below."""
    images, logits, target = batch
    partly = target.clone()
    partly[:, :, 4:] = UNKNOWN
    expected = create_loss(name)(logits[:, :, :4], target[:, :, :4])
    for scale in (1, 100):
        predicted = torch.cat([logits[:, :, :4], scale * logits[:, :, 4:]], dim=2).requires_grad_()
        loss = Supervision(create_loss(name))(predicted, partly, images)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        loss.backward()
        assert predicted.grad is not None
        assert predicted.grad[:, :, :4].any() and not predicted.grad[:, :, 4:].any()


def test_nothing_known_teaches_nothing(batch: tuple[torch.Tensor, ...]) -> None:
    images, logits, target = batch
    logits.requires_grad_()
    loss = Supervision(create_loss("dice_bce"))(logits, torch.full_like(target, UNKNOWN), images)
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()


def test_tasks_are_averaged(batch: tuple[torch.Tensor, ...]) -> None:
    images, logits, target = batch
    tasks = MultitaskLogits(logits, 2 * logits, 3 * logits, 4 * images)
    bce = nn.BCEWithLogitsLoss()
    parts = [
        bce(logits, target),
        bce(2 * logits, boundaries(target)),
        bce(3 * logits, distances(target)),
        bce(4 * images, intensities(images)),
    ]
    loss = Supervision(create_loss("bce"))(tasks, target, images)
    assert loss.item() == pytest.approx(sum(part.item() for part in parts) / 4, rel=1e-5)


def test_targets_of_the_tasks_by_hand() -> None:
    mask = torch.zeros(1, 1, 7, 7)
    mask[..., 1:6, 1:6] = 1  # a square of 5
    border = torch.ones(7, 7)
    border[2:5, 2:5] = 0  # what is left when it shrinks; all around it is what it grows into
    assert torch.equal(boundaries(mask)[0, 0], border)
    rings = torch.zeros(7, 7)
    rings[1:6, 1:6], rings[2:5, 2:5], rings[3, 3] = 1, 2, 3
    torch.testing.assert_close(distances(mask)[0, 0], rings / 3)
    assert not distances(torch.zeros(1, 2, 4, 4)).any()
    image = torch.tensor([[-2.0, 0.0], [1.0, 2.0]]).view(1, 1, 2, 2)
    torch.testing.assert_close(intensities(image)[0, 0], torch.tensor([[0.0, 0.5], [0.75, 1.0]]))
    assert not intensities(torch.ones(1, 1, 2, 2)).any()
