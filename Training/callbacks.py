"""What Lightning does not keep by itself: random states, and curves that can be looked at."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from BrainTumorSegLib.files import atomic


class RandomState(Callback):
    """Keeps the states of all random generators in the training checkpoint, so that a resumed run goes on."""

    def state_dict(self) -> dict[str, Any]:
        """Python's, NumPy's and torch's states."""
        state: dict[str, Any] = {
            "python": random.getstate(),
            "numpy": np.random.get_state(),
            "torch": torch.get_rng_state(),
        }
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state_all()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put them back."""
        random.setstate(state_dict["python"])
        np.random.set_state(state_dict["numpy"])
        torch.set_rng_state(state_dict["torch"].cpu())
        if "cuda" in state_dict and torch.cuda.is_available():
            torch.cuda.set_rng_state_all([state.cpu() for state in state_dict["cuda"]])


class Curves(Callback):
    """Draws the curves after each validation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Redraw from the log."""
        if trainer.is_global_zero:
            draw_curves(self.folder / "metrics.csv", self.folder / "curves.png")


def read_log(file: Path) -> dict[str, list[tuple[int, float]]]:
    """Metric → (step, value) pairs of a CSV log."""
    series: dict[str, list[tuple[int, float]]] = {}
    with file.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            for name, value in row.items():
                if value and name not in ("step", "epoch"):
                    series.setdefault(name, []).append((int(row["step"]), float(value)))
    return series


def draw_curves(log: Path, picture: Path) -> None:
    """Loss, Dice and learning rate over the steps, as one PNG."""
    if not log.is_file():
        return
    from matplotlib.figure import Figure

    series = read_log(log)
    groups = {
        "Loss": [name for name in series if name.endswith("loss")],
        "Dice": [name for name in series if "dice" in name],
        "Learning rate": [name for name in series if name.startswith("lr")],
    }
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(1, 3), groups.items(), strict=True):
        for name in names:
            steps, values = zip(*series[name], strict=True)
            axes.plot(steps, values, label=name.replace("_", " "))
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if len(names) > 1:
            axes.legend(frameon=False, fontsize=8)
    with atomic(picture) as part:
        figure.savefig(part, dpi=110)
