"""Learning-rate schedule, monitored Dice and a loss that is not finite."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from BrainTumorSegLib.errors import CheckpointError, ExecutionError
from Testing.training_data import write_recipe
from Training.module import SegmentationModule, learning_rate_factor
from Training.recipe import OptimisationRecipe, load_recipe


def test_warm_up_then_cosine() -> None:
    o = OptimisationRecipe(steps=100, interval=10, warmup=0.1, schedule="cosine", learning_rate=1e-3)
    assert [learning_rate_factor(step, o) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert learning_rate_factor(10, o) == pytest.approx(1.0)
    assert learning_rate_factor(55, o) == pytest.approx(0.5)  # half of the 90 steps after the warm-up
    assert learning_rate_factor(40, o) == pytest.approx(0.75)  # a third: (1 + cos 60°) / 2
    assert learning_rate_factor(100, o) == pytest.approx(0.0)
    assert learning_rate_factor(500, o) == pytest.approx(0.0)  # never up again


def test_poly() -> None:
    o = OptimisationRecipe(steps=100, interval=10, warmup=0.0, schedule="poly")
    assert learning_rate_factor(0, o) == 1.0
    assert learning_rate_factor(50, o) == pytest.approx(0.5**0.9)
    assert learning_rate_factor(99, o) == pytest.approx(0.01**0.9)
    assert learning_rate_factor(100, o) == 0.0


def test_floor() -> None:
    o = OptimisationRecipe(steps=10, interval=1, warmup=0.0, learning_rate=1e-2, minimum_learning_rate=1e-3)
    assert learning_rate_factor(0, o) == pytest.approx(1.0)
    assert learning_rate_factor(5, o) == pytest.approx(0.1 + 0.9 / 2)
    assert learning_rate_factor(10, o) == pytest.approx(0.1)


def test_warm_up_alone() -> None:
    o = OptimisationRecipe(steps=4, interval=1, warmup=1.0)
    assert [learning_rate_factor(step, o) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]


@pytest.fixture
def module(tmp_path: Path) -> SegmentationModule:
    return SegmentationModule(load_recipe(write_recipe(tmp_path / "tiny.toml")))


def test_scheduler_follows_the_factor(module: SegmentationModule) -> None:
    o = module.recipe.optimisation
    parts = module.configure_optimizers()
    optimiser, scheduler = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    assert parts["lr_scheduler"]["interval"] == "step"
    for step in range(o.steps):
        assert optimiser.param_groups[0]["lr"] == pytest.approx(o.learning_rate * learning_rate_factor(step, o))
        optimiser.step()
        scheduler.step()


def test_monitored_dice_is_over_all_patches_together(
    module: SegmentationModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ET: 1 of 2 found in one patch, nothing to find in the other. TC: nothing anywhere. WT: all missed."""
    logits, target = torch.full((2, 3, 2, 2, 2), -1.0), torch.zeros(2, 3, 2, 2, 2)
    target[0, 0, 0, 0, :] = 1
    logits[0, 0, 0, 0, 0] = 1
    target[1, 2] = 1
    logged: dict[str, float] = {}
    monkeypatch.setattr(module, "_log", lambda name, value, batch=None: logged.update({name: float(value)}))
    monkeypatch.setattr(module, "forward", lambda image: image)
    module.on_validation_epoch_start()
    for sample in range(2):
        module.validation_step({"image": logits[[sample]], "target": target[[sample]]}, sample)
    module.on_validation_epoch_end()
    assert logged["validation_dice_ET"] == pytest.approx(2 * 1 / (1 + 2))
    assert logged["validation_dice_TC"] == 1.0
    assert logged["validation_dice_WT"] == 0.0
    module.on_validation_epoch_start()  # counts from nothing again
    module.validation_step({"image": logits[[0]], "target": (logits[[0]] > 0).float()}, 0)
    module.on_validation_epoch_end()
    assert logged["validation_dice_ET"] == 1.0


def test_a_loss_that_is_not_finite_ends_the_run(module: SegmentationModule) -> None:
    image = torch.full((1, 4, 16, 16, 16), math.nan)
    with pytest.raises(ExecutionError, match="loss is nan at step 0"):
        module.training_step({"image": image, "target": torch.zeros(1, 3, 16, 16, 16)}, 0)


def test_unknown_network(tmp_path: Path) -> None:
    file = write_recipe(tmp_path / "r.toml", {'family = "segresnet"': 'family = "resnot"'})
    with pytest.raises(CheckpointError, match="resnot"):
        SegmentationModule(load_recipe(file))
