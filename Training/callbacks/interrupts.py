"""A run that is stopped, and what it needs to go on as if it had not been."""

from __future__ import annotations

import random
import signal
import threading
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class Stoppable(Callback):
    """Makes SIGTERM end a run as Ctrl-C does.

    Lightning's own handler waits for the other processes inside the handler, where they never answer.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the handler in the place of Lightning's, which restores what was there before when it is done."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._stop)

    @staticmethod
    def _stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        if hasattr(signal, "SIGCHLD"):  # torch's handler for workers that die, as they do by the same signal
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        raise KeyboardInterrupt


class RandomState(Callback):
    """Keeps the states of all random generators in the training checkpoint, so that a resumed run goes on."""

    def __init__(self) -> None:
        self._restored: dict[str, Any] = {}

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
        """Remember them until training starts: what comes before draws numbers too."""
        self._restored = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put them back."""
        state, self._restored = self._restored, {}
        if not state:
            return
        random.setstate(state["python"])
        np.random.set_state(state["numpy"])
        torch.set_rng_state(state["torch"].cpu())
        if "cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state_all([generator.cpu() for generator in state["cuda"]])
