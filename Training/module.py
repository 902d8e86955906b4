"""The Lightning module: network, loss, optimiser, schedule and the monitored measures."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning_utilities import apply_to_collection

from BrainTumorSegLib.domain.errors import ExecutionError, RequestError
from BrainTumorSegLib.networks import create_network
from BrainTumorSegLib.networks.eight_bit import convolutions

from .batch_measures import batch_measures
from .losses import create_loss
from .recipe import Recipe
from .schedule import Plateau, learning_rate_factor
from .supervision import UNKNOWN, Outputs, Supervision

TRAINING_LOSS = "training_loss"
MONITOR = "validation_loss"
DICE = "validation_dice_"
IOU = "validation_iou_"
MEAN_IOU = "validation_mean_iou"
ACCURACY = "validation_accuracy"
# Before the names of batch measures.
TRAINING, VALIDATION = "training_", "validation_"


class SegmentationModule(LightningModule):
    """Trains one network as its recipe says; measures loss and, over all monitored patches, Dice and IoU an output.

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
        divisor = recipe.network.divisor
        if any(size % divisor for size in recipe.sampling.patch):
            raise RequestError(
                f"Recipe {recipe.id}: {recipe.network.family} needs a patch divisible by {divisor},"
                f" got {list(recipe.sampling.patch)}.",
                "Mend sampling.patch.",
            )
        if recipe.optimisation.prior:
            begin_with(self.network, len(recipe.outputs), recipe.optimisation.prior)
        weights = recipe.optimisation.weights
        each = [weights.get(output.name, 1.0) for output in recipe.outputs] if weights else []
        self.loss = Supervision(create_loss(recipe.optimisation.loss), each)
        self.plateau = Plateau(recipe.optimisation.plateau_factor, recipe.optimisation.plateau_patience)
        self._counts = torch.zeros(4, len(recipe.outputs), dtype=torch.long)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images ``(N, C, …)`` → logits ``(N, outputs, …)``."""
        return self.network(images)

    def train(self, mode: bool = True) -> SegmentationModule:
        """As any module, but batch normalisation stays as in use where the recipe holds its statistics."""
        super().train(mode)
        if self.recipe.optimisation.hold_statistics:
            for part in self.network.modules():
                if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
                    part.eval()
        return self

    def on_fit_start(self) -> None:
        """Have :meth:`train` set the modes: Lightning takes modules as they are."""
        self.train()

    def training_step(self, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
        """One batch forward.

        Raises:
            ExecutionError: the loss is not finite.
        """
        outputs, target, images = self._together((self(batch["image"]), batch["target"], batch["image"]))
        loss = self.loss(outputs, target, images)
        if not torch.isfinite(loss):
            raise ExecutionError(f"The loss is {loss.item()} at step {self.global_step}.", "Lower learning_rate.")
        self._log(TRAINING_LOSS, loss)
        self._log_batch(TRAINING, outputs, target)
        return loss

    def _together(self, parts: tuple[Any, ...]) -> tuple[Any, ...]:
        """The batches of all processes as one: Dice is of a whole batch, whatever processes it lies in."""
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return parts
        gathered = self.all_gather(parts, sync_grads=True)
        joined: tuple[Any, ...] = apply_to_collection(gathered, torch.Tensor, lambda tensor: tensor.flatten(0, 1))
        return joined

    def on_validation_epoch_start(self) -> None:
        """Start counting voxels."""
        self._counts = torch.zeros_like(self._counts, device=self.device)

    def validation_step(self, batch: dict[str, torch.Tensor], index: int) -> torch.Tensor:
        """Loss, and the voxels that the measures are made of; returns the logits."""
        logits = self(batch["image"])
        self._log(MONITOR, self.loss(logits, batch["target"], batch["image"]), len(batch["image"]))
        self._log_batch(VALIDATION, logits, batch["target"])
        known = batch["target"] != UNKNOWN
        predicted, target = (logits > 0) & known, batch["target"] > 0
        space = [0, *range(2, logits.ndim)]
        self._counts += torch.stack([m.sum(space) for m in (predicted & target, predicted, target, known)])
        return logits

    def on_validation_epoch_end(self) -> None:
        """Measures over all monitored patches together; every process has seen all of them."""
        shared, predicted, target, known = self._counts
        dice, iou = ratio(2 * shared, predicted + target), ratio(shared, predicted + target - shared)
        for name, values in ((DICE, dice), (IOU, iou)):
            for output, value in zip(self.recipe.outputs, values, strict=True):
                self._log(f"{name}{output.name}", value)
        wrong = predicted + target - 2 * shared
        self._log(MEAN_IOU, iou.mean())
        self._log(ACCURACY, ratio((known - wrong).sum(), known.sum()))

    def on_train_epoch_end(self) -> None:
        """Let the plateau see the interval's loss, before the interval's state is saved."""
        followed = MONITOR if self.recipe.data.fold >= 0 else TRAINING_LOSS
        self.plateau.look(float(self.trainer.callback_metrics[followed]))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the recipe, so that a run is resumed only with the one it began with, and the plateau."""
        checkpoint["recipe"] = dataclasses.asdict(self.recipe)
        checkpoint["plateau"] = self.plateau.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from the plateau; states of before there was one have none."""
        if "plateau" in checkpoint:
            self.plateau.load_state_dict(checkpoint["plateau"])

    def configure_optimizers(self) -> Any:
        """Optimiser and learning rate; a plateau's reduction takes effect one step into the next interval."""
        o = self.recipe.optimisation
        parameters = self.network.parameters()
        optimiser: torch.optim.Optimizer
        if o.optimiser == "adamw":
            optimiser = torch.optim.AdamW(parameters, o.learning_rate, weight_decay=o.weight_decay)
        elif o.optimiser == "adam":
            optimiser = torch.optim.Adam(parameters, o.learning_rate, weight_decay=o.weight_decay)
        elif o.optimiser == "nadam":
            optimiser = torch.optim.NAdam(parameters, o.learning_rate, weight_decay=o.weight_decay)
        else:
            optimiser = torch.optim.SGD(parameters, o.learning_rate, 0.99, weight_decay=o.weight_decay, nesterov=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: learning_rate_factor(step, o, self.plateau.reduction)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _log_batch(self, part: str, outputs: Outputs, target: torch.Tensor) -> None:
        """The figures of a batch as a whole, each batch weighing alike, where the recipe asks for them."""
        if self.recipe.monitoring.batch_measures:
            for name, value in batch_measures(outputs, target).items():
                self._log(f"{part}{name}", value, 1)

    def _log(self, name: str, value: torch.Tensor, batch: int | None = None) -> None:
        """Mean over the interval and the processes; written by the interval log, so by no logger here."""
        kept: dict[str, Any] = {"on_step": False, "on_epoch": True, "prog_bar": True, "logger": False}
        self.log(name, value, sync_dist=True, batch_size=batch, **kept)


def begin_with(network: torch.nn.Module, outputs: int, probability: float) -> None:
    """Have every convolution that gives as many channels as there are outputs give about this probability, in place.

    Raises:
        RequestError: there is none that has a bias.
    """
    last = [each for each in convolutions(network).values() if each.out_channels == outputs]
    biases = [each.bias for each in last if each.bias is not None]
    if not biases:
        raise RequestError("optimisation.prior needs a network whose outputs have a bias.", "Leave it out.")
    for bias in biases:
        torch.nn.init.constant_(bias, math.log(probability / (1 - probability)))


def ratio(part: torch.Tensor, whole: torch.Tensor) -> torch.Tensor:
    """Share of voxels, 1 where there are none: nothing to find and nothing found is right."""
    return torch.where(whole > 0, part / whole.clamp(min=1), 1.0)
