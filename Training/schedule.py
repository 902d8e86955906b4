"""How the learning rate goes, by the step or down where the loss no longer falls; and the average of the weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .recipe import OptimisationRecipe

if TYPE_CHECKING:
    import torch


def averaging_decay(step: float, decay: float) -> float:
    """The decay of a moving average of weights at a step, lower at first.

    Else what a network begins with, above all the variances of batch normalisation, would stay in it for hundreds of
    steps.
    """
    return min(decay, (1 + step) / (10 + step))


class MovingAverage:
    """How torch's averaged model takes up the weights of a step; ``decay`` is the highest."""

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def __call__(self, mean: torch.Tensor, weight: torch.Tensor, step: torch.Tensor | int) -> torch.Tensor:
        """The new mean."""
        return mean + (weight - mean) * (1 - averaging_decay(float(step), self.decay))


def learning_rate_factor(step: int, o: OptimisationRecipe, reduction: float = 1.0) -> float:
    """Learning rate at a step as a share of the highest: linear warm-up, then cosine or poly decay, or a plateau's.

    ``reduction`` is what a plateau has brought it to; it goes down to the recipe's floor and no further.
    """
    warmup = round(o.warmup * o.steps)
    if step < warmup:
        return (step + 1) / warmup
    floor = o.minimum_learning_rate / o.learning_rate
    if o.schedule == "plateau":
        return max(reduction, floor)
    done = min((step - warmup) / max(o.steps - warmup, 1), 1.0)
    factor = (1 + math.cos(math.pi * done)) / 2 if o.schedule == "cosine" else (1 - done) ** 0.9
    return floor + (1 - floor) * factor


class Plateau:
    """Reduces the learning rate by ``factor`` after more than ``patience`` intervals in a row without a lower loss.

    Lightning would move such a schedule on after the state of the interval is saved, so a resumed run would lose
    one look at the loss; the module asks this one before.
    """

    def __init__(self, factor: float, patience: int) -> None:
        self.factor, self.patience = factor, patience
        self.lowest, self.waited, self.reduction = math.inf, 0, 1.0

    def look(self, loss: float) -> None:
        """Take note of an interval's loss; one that is not finite is no improvement."""
        if loss < self.lowest:
            self.lowest, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.reduction, self.waited = self.reduction * self.factor, 0

    def state_dict(self) -> dict[str, float]:
        """What a resumed run goes on from."""
        return {"lowest": self.lowest, "waited": self.waited, "reduction": self.reduction}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from there."""
        self.lowest, self.waited, self.reduction = state["lowest"], int(state["waited"]), state["reduction"]
