"""The states of a run on disk, the last one and the best, and what is not taken from them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer, callbacks
from lightning.pytorch.callbacks import Checkpoint

from BrainTumorSegLib.domain.errors import ExecutionError
from BrainTumorSegLib.io.staging import atomic

from ..module import MONITOR

LAST, BEST = "last.ckpt", "best.ckpt"


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the destination, then renames: a kill while saving leaves the state before.

    Lightning's own goes through the system's temporary folder, from where moving is copying on many machines.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Save whole or not at all."""
        with atomic(path) as part:
            torch.save(checkpoint, part)


class Keeper(Checkpoint):
    """Saves the last state after each interval, and the best one where something held out is monitored.

    Lightning's ``ModelCheckpoint(save_last=True)`` saves the last state only when it is the best one.
    """

    def __init__(self, folder: Path, *, best: bool) -> None:
        self.folder, self.keep_best = folder, best
        self.lowest = math.inf

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save.

        Raises:
            ExecutionError: the monitored loss is not finite; the last finite state is kept.
        """
        value = float(trainer.callback_metrics[MONITOR])
        if not math.isfinite(value):
            raise ExecutionError(f"The {MONITOR} is {value} at step {trainer.global_step}.", "Lower learning_rate.")
        improved = self.keep_best and value < self.lowest
        if improved:
            self.lowest = value
        trainer.save_checkpoint(self.folder / LAST)
        if improved:
            trainer.save_checkpoint(self.folder / BEST)

    def state_dict(self) -> dict[str, Any]:
        """The lowest monitored loss."""
        return {"lowest": self.lowest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there."""
        self.lowest = state_dict["lowest"]


class EarlyStopping(callbacks.EarlyStopping):
    """Lightning's, with the patience of the recipe: a resumed run may have more of it or less than it began with.

    The name is Lightning's too, since it is part of the key by which a state has the callback.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there; Lightning's takes the patience of then."""
        super().load_state_dict({**state_dict, "patience": self.patience})
