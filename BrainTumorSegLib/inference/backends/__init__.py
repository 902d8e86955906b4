"""What computes a network: one small interface, a file an implementation.

To add one: a file here with a class that has what :class:`Backend` names, and a line in :data:`BACKENDS`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ...domain.errors import DeviceError

if TYPE_CHECKING:
    from ...models.checkpoint_file import Checkpoint

# Name -> module and class; a module is imported when its backend is used.
BACKENDS = {"torch": ("torch_backend", "TorchBackend")}


class Backend(Protocol):
    """A network on a device, with the precision it computes in.

    Attributes:
        device: in words, for logs and reports.
        precision: ``fp32``, ``bf16`` or ``fp16``.
    """

    device: str
    precision: str

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        """``(N, C, …)`` float32 → ``(N, outputs, …)`` float32, between 0 and 1.

        Raises:
            MemoryError, RuntimeError: memory ran out, see :func:`BrainTumorSegLib.domain.shortage.is_shortage`.
        """

    def load(self, checkpoint: Checkpoint) -> None:
        """Take the weights; until then a backend knows its device alone, and costs nothing.

        Raises:
            CheckpointError: unknown network, or weights that do not fit it.
        """

    def free_memory(self) -> None:
        """Give back what is kept of the device's memory for later."""


def create_backend(name: str, device: str, precision: str) -> Backend:
    """The backend of that name on a device; the first of them for ``auto``.

    Raises:
        DeviceError: the backend or the device is not there, or the precision is unknown.
    """
    if name not in ("auto", *BACKENDS):
        raise DeviceError(f"Unknown backend {name!r}.", f"Choose one of auto, {', '.join(BACKENDS)}.")
    module, kind = BACKENDS[next(iter(BACKENDS)) if name == "auto" else name]
    backend: Backend = getattr(importlib.import_module(f"{__name__}.{module}"), kind)(device, precision)
    return backend
