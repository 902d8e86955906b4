"""The numbers of a run: a line an interval, a table, curves."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from BrainTumorSegLib.io.staging import atomic

from ..module import ACCURACY, DICE, IOU, MEAN_IOU, MONITOR, TRAINING_LOSS

LOG, CURVES = "metrics.csv", "curves.png"

# How many times the median the highest value has to be for an axis of logarithms.
_FAR = 30

Row = dict[str, float]


class IntervalLog(Callback):
    """One row of numbers an interval: a printed line, ``metrics.csv``, ``curves.png`` and the loggers.

    The rows are part of the training checkpoint, so after a resume files and curves show the whole run, and
    nothing of what was lost with the kill.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[Row] = []
        self._began, self._first_step, self._seconds = 0.0, 0, 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._began, self._first_step = time.monotonic(), trainer.global_step
        self._seconds = self.rows[-1]["seconds"] if self.rows else 0.0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the interval's row."""
        step = trainer.global_step
        if self.rows and self.rows[-1]["step"] == step:
            return
        elapsed = time.monotonic() - self._began
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        row = {"step": step, "learning_rate": trainer.optimizers[0].param_groups[0]["lr"], **metrics}
        self.rows.append(row | {"seconds": round(self._seconds + elapsed, 1)})
        if not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            logger.log_metrics({name: value for name, value in row.items() if name != "step"}, step)
        write_rows(self.rows, self.folder / LOG)
        draw_curves(self.rows, self.folder / CURVES)
        total = int(trainer.max_epochs or 0) * int(trainer.num_training_batches)
        left = elapsed / max(step - self._first_step, 1) * (total - step)
        _say(trainer, describe(self.rows[-1], total, left))

    def state_dict(self) -> dict[str, Any]:
        """The rows."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from these rows."""
        self.rows = list(state_dict["rows"])


def _say(trainer: Trainer, line: str) -> None:
    """Print a line, above the progress bar where there is one."""
    bar = trainer.progress_bar_callback
    if bar is not None:
        bar.print(line)
    else:
        print(line, flush=True)


def describe(row: Row, total: int, seconds_left: float) -> str:
    """One line that says how the run goes."""
    regions = " ".join(f"{name.removeprefix(DICE)} {value:.3f}" for name, value in row.items() if name.startswith(DICE))
    return (
        f"step {row['step']:>{len(str(total))}}/{total}"
        f"  loss {row[TRAINING_LOSS]:.4f}  validation loss {row[MONITOR]:.4f}  Dice {regions}"
        f"  lr {row['learning_rate']:.2e}  {_duration(seconds_left)} left"
    )


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def write_rows(rows: list[Row], log: Path) -> None:
    """All rows as CSV."""
    with atomic(log) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[-1]))
        writer.writeheader()
        writer.writerows(rows)


def draw_curves(rows: list[Row], picture: Path) -> None:
    """Loss, Dice, IoU with accuracy, and learning rate over the steps, as one PNG."""
    from matplotlib.figure import Figure

    groups = {
        "Loss": [name for name in rows[-1] if name.endswith("loss")],
        "Dice": [name for name in rows[-1] if name.startswith(DICE) or name.endswith("batch_dice")],
        "IoU and accuracy": [
            name
            for name in rows[-1]
            if name.startswith(IOU) or name in (MEAN_IOU, ACCURACY) or name.endswith(("batch_iou", "batch_accuracy"))
        ],
        "Learning rate": ["learning_rate"],
    }
    steps = [row["step"] for row in rows]
    figure = Figure(figsize=(12, 7.2), layout="constrained")
    for axes, (title, names) in zip(figure.subplots(2, 2).flat, groups.items(), strict=True):
        for name in names:
            axes.plot(steps, [row.get(name, math.nan) for row in rows], marker=".", label=name.replace("_", " "))
        values = [row[name] for row in rows for name in names if name in row]
        axes.set(title=title, xlabel="step", yscale=scale_of(values))
        axes.grid(alpha=0.3)
        if len(names) > 1:
            axes.legend(frameon=False, fontsize=8)
    with atomic(picture) as part:
        figure.savefig(part, dpi=110)


def scale_of(values: Sequence[float]) -> str:
    """``log`` where on a linear axis a few high values would press all others together, as a first loss of 600 does."""
    known = sorted(value for value in values if math.isfinite(value))
    return "log" if known and known[0] > 0 and known[-1] > _FAR * known[len(known) // 2] else "linear"
