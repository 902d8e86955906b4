"""The Lightning module: network, loss, optimiser, schedule and the monitored Dice."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from lightning.pytorch import LightningModule

from BrainTumorSegLib.errors import ExecutionError, RequestError
from BrainTumorSegLib.networks import create_network
from BrainTumorSegLib.networks.registry import family_of

from .losses import create_loss
from .recipe import OptimisationRecipe, Recipe
from .supervision import UNKNOWN, Supervision

TRAINING_LOSS = "training_loss"
MONITOR = "validation_loss"
DICE = "validation_dice_"


class SegmentationModule(LightningModule):
    """Trains one network as its recipe says; measures loss and, over all monitored patches, Dice an output.

    Raises:
        CheckpointError: the network is not known, or not with these arguments.
        RequestError: the network cannot take the recipe's patch.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe = recipe
        self.network = create_network(
            recipe.network.family,
            dimensions=recipe.dimensions,
            in_channels=len(recipe.modalities),
            out_channels=len(recipe.outputs),
            arguments=recipe.network.arguments,
        )
        divisor = family_of(recipe.network.family).divisor(recipe.network.arguments)
        if any(size % divisor for size in recipe.sampling.patch):
            raise RequestError(
                f"Recipe {recipe.id}: {recipe.network.family} needs a patch divisible by {divisor},"
                f" got {list(recipe.sampling.patch)}.",
                "Mend sampling.patch.",
            )
        self.loss = Supervision(create_loss(recipe.optimisation.loss))
        self._overlap = torch.zeros(2, len(recipe.outputs))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``(N, C, …)`` → logits ``(N, outputs, …)``."""
        return self.network(images)

    def training_step(self, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
        """One batch forward.

        Raises:
            ExecutionError: the loss is not finite.
        """
        loss = self.loss(self(batch["image"]), batch["target"], batch["image"])
        if not torch.isfinite(loss):
            raise ExecutionError(f"The loss is {loss.item()} at step {self.global_step}.", "Lower learning_rate.")
        self._log(TRAINING_LOSS, loss)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start counting overlaps."""
        self._overlap = torch.zeros(2, len(self.recipe.outputs), device=self.device)

    def validation_step(self, batch: dict[str, torch.Tensor], index: int) -> None:
        """Loss, and the voxels that Dice is made of."""
        logits = self(batch["image"])
        self._log(MONITOR, self.loss(logits, batch["target"], batch["image"]), len(batch["image"]))
        space = [0, *range(2, logits.ndim)]
        predicted, target = (logits > 0) & (batch["target"] != UNKNOWN), batch["target"] > 0
        self._overlap[0] += 2 * (predicted & target).sum(space)
        self._overlap[1] += predicted.sum(space) + target.sum(space)

    def on_validation_epoch_end(self) -> None:
        """Dice over all monitored patches together; every process has seen all of them."""
        shared, size = self._overlap
        dice = torch.where(size > 0, shared / size.clamp(min=1), torch.ones_like(size))
        for output, value in zip(self.recipe.outputs, dice, strict=True):
            self._log(f"{DICE}{output.name}", value)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the recipe, so that a run is resumed only with the one it began with."""
        checkpoint["recipe"] = dataclasses.asdict(self.recipe)

    def configure_optimizers(self) -> Any:
        """Optimiser and a learning rate that depends on the step alone."""
        o = self.recipe.optimisation
        parameters = self.network.parameters()
        optimiser: torch.optim.Optimizer
        if o.optimiser == "adamw":
            optimiser = torch.optim.AdamW(parameters, o.learning_rate, weight_decay=o.weight_decay)
        elif o.optimiser == "adam":
            optimiser = torch.optim.Adam(parameters, o.learning_rate, weight_decay=o.weight_decay)
        else:
            optimiser = torch.optim.SGD(parameters, o.learning_rate, 0.99, weight_decay=o.weight_decay, nesterov=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: learning_rate_factor(step, o))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _log(self, name: str, value: torch.Tensor, batch: int | None = None) -> None:
        """Mean over the interval and the processes; written by the interval log, so by no logger here."""
        kept: dict[str, Any] = {"on_step": False, "on_epoch": True, "prog_bar": True, "logger": False}
        self.log(name, value, sync_dist=True, batch_size=batch, **kept)


def learning_rate_factor(step: int, o: OptimisationRecipe) -> float:
    """Learning rate at a step as a share of the highest: linear warm-up, then cosine or poly decay."""
    warmup = round(o.warmup * o.steps)
    if step < warmup:
        return (step + 1) / warmup
    done = min((step - warmup) / max(o.steps - warmup, 1), 1.0)
    factor = (1 + math.cos(math.pi * done)) / 2 if o.schedule == "cosine" else (1 - done) ** 0.9
    floor = o.minimum_learning_rate / o.learning_rate
    return floor + (1 - floor) * factor
