"""The Lightning module: network, loss, optimiser, schedule and the monitored Dice."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule

from BrainTumorSegLib.errors import RequestError
from BrainTumorSegLib.networks import create_network

from .losses import create_loss
from .recipe import OptimisationRecipe, Recipe

MONITOR = "validation_loss"


class SegmentationModule(LightningModule):
    """Trains one network as its recipe says. Logs loss, learning rate and patch-wise Dice an output."""

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
        layout = torch.channels_last if recipe.dimensions == 2 else torch.channels_last_3d
        self.network.to(memory_format=layout)
        self.layout = layout
        self.loss = create_loss(recipe.optimisation.loss)
        self._overlap: torch.Tensor | None = None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``(N, C, …)`` → logits ``(N, outputs, …)``."""
        return self.network(images.contiguous(memory_format=self.layout))

    def training_step(self, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
        """One batch forward."""
        loss = self.loss(self(batch["image"]), batch["target"])
        if not torch.isfinite(loss):
            raise RequestError(f"The loss is {loss.item()} at step {self.global_step}.", "Lower the learning rate.")
        self.log("training_loss", loss, on_step=False, on_epoch=True, prog_bar=True, sync_dist=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Start counting overlaps."""
        self._overlap = torch.zeros(2, len(self.recipe.outputs), device=self.device)

    def validation_step(self, batch: dict[str, torch.Tensor], index: int) -> None:
        """Loss, and the voxels that Dice is made of."""
        logits = self(batch["image"])
        self.log(MONITOR, self.loss(logits, batch["target"]), on_epoch=True, prog_bar=True, sync_dist=True)
        space = [0, *range(2, logits.ndim)]
        predicted, target = logits > 0, batch["target"] > 0
        assert self._overlap is not None
        self._overlap[0] += 2 * (predicted & target).sum(space)
        self._overlap[1] += predicted.sum(space) + target.sum(space)

    def on_validation_epoch_end(self) -> None:
        """Dice over all monitored patches together."""
        assert self._overlap is not None
        shared, size = self.all_gather(self._overlap).reshape(-1, 2, len(self.recipe.outputs)).sum(0)
        for output, value in zip(self.recipe.outputs, shared / size.clamp(min=1), strict=True):
            self.log(f"validation_dice_{output.name}", value)

    def configure_optimizers(self) -> Any:
        """Optimiser and a learning rate that depends on the step alone."""
        o = self.recipe.optimisation
        parameters = self.network.parameters()
        if o.optimiser == "adamw":
            optimiser: torch.optim.Optimizer = torch.optim.AdamW(parameters, o.learning_rate, weight_decay=o.weight_decay)
        elif o.optimiser == "adam":
            optimiser = torch.optim.Adam(parameters, o.learning_rate, weight_decay=o.weight_decay)
        elif o.optimiser == "sgd":
            optimiser = torch.optim.SGD(parameters, o.learning_rate, 0.99, weight_decay=o.weight_decay, nesterov=True)
        else:
            raise RequestError(f"Unknown optimiser {o.optimiser!r}.", "Choose adamw, adam or sgd.")
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: learning_rate_factor(step, o))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def learning_rate_factor(step: int, o: OptimisationRecipe) -> float:
    """Learning rate at a step as a share of the highest: linear warm-up, then cosine or poly decay.

    Raises:
        RequestError: unknown schedule.
    """
    warmup = round(o.warmup * o.steps)
    if step < warmup:
        return (step + 1) / warmup
    done = min((step - warmup) / max(o.steps - warmup, 1), 1.0)
    if o.schedule == "cosine":
        factor = (1 + math.cos(math.pi * done)) / 2
    elif o.schedule == "poly":
        factor = (1 - done) ** 0.9
    else:
        raise RequestError(f"Unknown schedule {o.schedule!r}.", "Choose cosine or poly.")
    floor = o.minimum_learning_rate / o.learning_rate
    return floor + (1 - floor) * factor
