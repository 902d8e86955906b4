"""What the network makes of a few validation slices, as a picture, interval by interval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from BrainTumorSegLib.domain.labels import REGIONS
from BrainTumorSegLib.io.staging import atomic
from BrainTumorSegLib.models.description import OutputSpec

from ..recipe import Recipe
from ..supervision import UNKNOWN

PICTURE = "validation-slices.png"
TAG = "validation slices"
COLUMNS = ("image", "truth", "prediction")

# Shown behind the masks: the first of these that the network takes.
_SHOWN = ("flair", "t1ce", "t2", "t1")
_OPACITY = 0.5
_UNKNOWN_COLOUR = (90, 90, 130)
_GAP, _HEADING = 4, 14


class SliceImages(Callback):
    """After each validation: image, truth and prediction of the first monitored patches (those with tumour before
    the others), as PNG and in TensorBoard.

    Of a 3D patch the middle axial slice is shown. The patches are the same each time, so the picture of an interval
    compares with that of another.
    """

    def __init__(self, folder: Path, recipe: Recipe, rows: int = 4) -> None:
        self.folder, self.outputs, self.rows = folder, recipe.outputs, rows
        self.channel = min(range(len(recipe.modalities)), key=lambda channel: _SHOWN.index(recipe.modalities[channel]))
        self._tiles: list[list[np.ndarray]] = []
        self._empty: list[list[np.ndarray]] = []

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with none."""
        self._tiles, self._empty = [], []

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Keep the first patches; ``outputs`` are the logits ``(N, outputs, …)``."""
        for number in range(len(outputs)):
            tiles = self._tiles if (batch["target"][number] > 0).any() else self._empty
            if len(tiles) < self.rows:
                image, target, logits = (
                    middle(part[number].float().cpu()) for part in (batch["image"], batch["target"], outputs)
                )
                tiles.append(panels(image[self.channel], target, logits > 0, self.outputs))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the picture, by the first process alone."""
        tiles = (self._tiles + self._empty)[: self.rows]
        if not trainer.is_global_zero or not tiles:
            return
        from PIL import Image

        picture = arrange(tiles)
        with atomic(self.folder / PICTURE) as part:
            Image.fromarray(picture).save(part, format="PNG")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(TAG, picture, trainer.global_step, dataformats="HWC")


def middle(patch: torch.Tensor) -> torch.Tensor:
    """``(C, Y, X)`` as it is, of ``(C, Z, Y, X)`` the middle slice."""
    return patch if patch.ndim == 3 else patch[:, patch.shape[1] // 2]


def panels(
    image: torch.Tensor, target: torch.Tensor, predicted: torch.Tensor, outputs: Sequence[OutputSpec]
) -> list[np.ndarray]:
    """Image ``(Y, X)``, target and boolean prediction ``(outputs, Y, X)`` → three pictures ``(Y, X, 3)`` uint8."""
    low, high = np.percentile(image.numpy(), (0.5, 99.5))
    grey = np.clip((image.numpy() - low) / max(high - low, 1e-6), 0, 1) * 255
    plain = np.repeat(grey[..., None], 3, axis=-1)
    truth = _painted(plain, (target > 0).numpy(), outputs)
    truth[(target[0] == UNKNOWN).numpy()] = _UNKNOWN_COLOUR
    pictures = (plain, truth, _painted(plain, predicted.numpy(), outputs))
    return [np.round(picture).astype(np.uint8) for picture in pictures]


def _painted(plain: np.ndarray, masks: np.ndarray, outputs: Sequence[OutputSpec]) -> np.ndarray:
    """The masks over the image, the output of fewest labels last, so that inner regions lie on outer ones."""
    colours = plain.copy()
    for index in sorted(range(len(outputs)), key=lambda index: -len(outputs[index].labels)):
        # The smallest region that the output lies in gives the colour: ET's, TC's for the rest of the core, WT's.
        region = next(r for r in REGIONS.values() if set(outputs[index].labels) <= r.labels)
        colours[masks[index]] = region.colour
    return (1 - _OPACITY) * plain + _OPACITY * colours


def arrange(rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """Pictures ``(Y, X, 3)`` of one size as a table under :data:`COLUMNS`, ``(height, width, 3)`` uint8."""
    from PIL import Image, ImageDraw

    height, width = (size + _GAP for size in rows[0][0].shape[:2])
    table = Image.new("RGB", (width * len(COLUMNS) - _GAP, _HEADING + height * len(rows) - _GAP), "white")
    draw = ImageDraw.Draw(table)
    for column, title in enumerate(COLUMNS):
        draw.text((column * width, 0), title, fill="black")
        for row, pictures in enumerate(rows):
            table.paste(Image.fromarray(pictures[column]), (column * width, _HEADING + row * height))
    return np.asarray(table)
