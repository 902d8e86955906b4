"""Learning-rate schedule, monitored Dice and a loss that is not finite."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from BrainTumorSegLib.domain.errors import CheckpointError, ExecutionError
from Testing.training_data import write_recipe
from Training.module import SegmentationModule
from Training.recipe import OptimisationRecipe, load_recipe
from Training.schedule import MovingAverage, Plateau, averaging_decay, learning_rate_factor


def test_warm_up_then_cosine() -> None:
    o = OptimisationRecipe(steps=100, interval=10, warmup=0.1, schedule="cosine", learning_rate=1e-3)
    assert [learning_rate_factor(step, o) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert learning_rate_factor(10, o) == pytest.approx(1.0)
    assert learning_rate_factor(55, o) == pytest.approx(0.5)  # half of the 90 steps after the warm-up
    assert learning_rate_factor(40, o) == pytest.approx(0.75)  # a third: (1 + cos 60°) / 2
    assert learning_rate_factor(100, o) == pytest.approx(0.0)
    assert learning_rate_factor(500, o) == pytest.approx(0.0)  # never up again


def test_averages_forget_what_a_network_begins_with() -> None:
    assert [averaging_decay(step, 0.99) for step in (0, 8, 10_000)] == pytest.approx([0.1, 0.5, 0.99])
    norm = torch.nn.BatchNorm1d(1)
    average = torch.optim.swa_utils.AveragedModel(norm, avg_fn=MovingAverage(0.99), use_buffers=True)
    values = torch.linspace(-0.1, 0.1, 50)[:, None]
    for _ in range(200):
        norm(values)
        average.update_parameters(norm)
    variance = average.state_dict()["module.running_var"].item()
    assert variance == pytest.approx(values.var().item(), rel=0.1)  # a plain average of .99 has .14


def test_a_fresh_network_begins_with_the_prior(tmp_path: Path) -> None:
    """The logit of .01 is -4.595."""
    recipe = load_recipe(write_recipe(tmp_path / "prior.toml", {"ema = 0.8": "ema = 0.8\nprior = 0.01"}))
    module = SegmentationModule(recipe).eval()
    convolutions = [m for m in module.network.modules() if isinstance(m, torch.nn.Conv3d)]
    (bias,) = [m.bias for m in convolutions if m.out_channels == len(recipe.outputs)]
    assert bias is not None and bias.tolist() == pytest.approx([-4.595] * len(recipe.outputs), abs=1e-3)
    even = SegmentationModule(load_recipe(write_recipe(tmp_path / "even.toml"))).eval()
    image = torch.randn(1, len(recipe.modalities), *recipe.sampling.patch, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        means = [torch.sigmoid(each(image)).mean().item() for each in (module, even)]
    assert means[0] < 0.1 < 0.3 < means[1]


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


def test_plateau_by_hand() -> None:
    """Patience 1: the second interval in a row without a lower loss reduces, and the count begins anew."""
    plateau = Plateau(factor=0.5, patience=1)
    reductions = []
    for loss in (3.0, 2.0, 2.0, 1.0, 1.0, math.nan, 1.5, 1.5, 0.5):
        plateau.look(loss)
        reductions.append(plateau.reduction)
    assert reductions == [1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_plateau_agrees_with_torch() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([parameter], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.3, patience=2, threshold=0.0, eps=0.0)
    ours = Plateau(factor=0.3, patience=2)
    for loss in torch.rand(60, generator=torch.Generator().manual_seed(4)).tolist():
        theirs.step(loss)
        ours.look(loss)
        assert optimiser.param_groups[0]["lr"] == pytest.approx(ours.reduction, rel=1e-6)
    assert ours.reduction < 0.1


def test_plateau_learning_rate() -> None:
    o = OptimisationRecipe(
        steps=100, interval=1, warmup=0.1, schedule="plateau", learning_rate=1e-4, minimum_learning_rate=1e-6
    )
    assert learning_rate_factor(4, o, 0.5) == 0.5  # still warming up
    assert [learning_rate_factor(50, o, reduction) for reduction in (1.0, 0.1, 0.001)] == pytest.approx(
        [1.0, 0.1, 0.01]
    )


def test_a_resumed_module_goes_on_from_the_plateau(module: SegmentationModule) -> None:
    module.plateau = Plateau(0.1, 0)
    for loss in (1.0, 2.0):
        module.plateau.look(loss)
    state: dict[str, object] = {}
    module.on_save_checkpoint(state)
    resumed = SegmentationModule(module.recipe)
    resumed.on_load_checkpoint(state)
    assert (resumed.plateau.lowest, resumed.plateau.waited, resumed.plateau.reduction) == (1.0, 0, 0.1)
    resumed.on_load_checkpoint({})  # of before there was a plateau
    assert resumed.plateau.reduction == 0.1


def test_the_plateau_reaches_the_optimiser(module: SegmentationModule) -> None:
    o = dataclasses.replace(module.recipe.optimisation, schedule="plateau", optimiser="nadam", warmup=0.0)
    planned = SegmentationModule(dataclasses.replace(module.recipe, optimisation=o))
    parts = planned.configure_optimizers()
    optimiser, scheduler = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    assert isinstance(optimiser, torch.optim.NAdam)
    planned.plateau.reduction = 0.25
    optimiser.step()
    scheduler.step()
    assert optimiser.param_groups[0]["lr"] == pytest.approx(o.learning_rate / 4)


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
    assert [logged[f"validation_iou_{name}"] for name in ("ET", "TC", "WT")] == [0.5, 1.0, 0.0]
    assert logged["validation_mean_iou"] == 0.5
    # Of 3 × 16 voxels one of ET and the 8 of WT are missed.
    assert logged["validation_accuracy"] == pytest.approx(39 / 48)
    module.on_validation_epoch_start()  # counts from nothing again
    module.validation_step({"image": logits[[0]], "target": (logits[[0]] > 0).float()}, 0)
    module.on_validation_epoch_end()
    assert logged["validation_dice_ET"] == 1.0


def test_voxels_of_which_nothing_is_known_count_in_no_measure(
    module: SegmentationModule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two known voxels of ET, one found; found ones elsewhere are neither right nor wrong."""
    logits, target = torch.ones(1, 3, 2, 2, 2), torch.full((1, 3, 2, 2, 2), -1.0)
    target[0, :, 0, 0, :] = 1
    logits[0, :, 0, 0, 0] = -1
    logged: dict[str, float] = {}
    monkeypatch.setattr(module, "_log", lambda name, value, batch=None: logged.update({name: float(value)}))
    monkeypatch.setattr(module, "forward", lambda image: image)
    module.on_validation_epoch_start()
    module.validation_step({"image": logits, "target": target}, 0)
    module.on_validation_epoch_end()
    assert logged["validation_iou_ET"] == logged["validation_accuracy"] == 0.5
    assert logged["validation_dice_ET"] == pytest.approx(2 / 3)


def test_a_loss_that_is_not_finite_ends_the_run(module: SegmentationModule) -> None:
    image = torch.full((1, 4, 16, 16, 16), math.nan)
    with pytest.raises(ExecutionError, match="loss is nan at step 0"):
        module.training_step({"image": image, "target": torch.zeros(1, 3, 16, 16, 16)}, 0)


def test_unknown_network(tmp_path: Path) -> None:
    file = write_recipe(tmp_path / "r.toml", {'family = "segresnet"': 'family = "resnot"'})
    with pytest.raises(CheckpointError, match="resnot"):
        SegmentationModule(load_recipe(file))


@pytest.mark.parametrize("held", [False, True])
def test_batch_statistics_are_held_where_the_recipe_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: bool
) -> None:
    changes = {"width = 8": 'width = 8, norm = "batch"', "# top": 'init = "some-model"'}
    if held:
        changes["ema = 0.8"] = "hold_statistics = true"
    module = SegmentationModule(load_recipe(write_recipe(tmp_path / "r.toml", changes))).train()
    monkeypatch.setattr(module, "_log", lambda *_: None)
    before = {name: value.clone() for name, value in module.network.state_dict().items()}
    module.training_step({"image": torch.rand(2, 4, 16, 16, 16) + 5, "target": torch.zeros(2, 3, 16, 16, 16)}, 0)
    changed = {name for name, value in module.network.state_dict().items() if not torch.equal(value, before[name])}
    assert module.network.training
    assert changed == (set() if held else {name for name in before if "running" in name or "num_batches" in name})
