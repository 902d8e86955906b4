"""What computes a network: one small interface, a file an implementation.

To add one: a file here with a class that has what :class:`Backend` names, and a line in :data:`BACKENDS`.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import platform
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ...domain.errors import DeviceError
from ...domain.progress import Progress

if TYPE_CHECKING:
    from ...models.checkpoint_file import Checkpoint

# Name -> module and class; a module is imported when its backend is used. The first is the reference.
BACKENDS = {"torch": ("torch_backend", "TorchBackend"), "openvino": ("openvino_backend", "OpenVinoBackend")}
# What ``auto`` stands for where this is set.
CHOSEN = "BRAINTUMORSEG_BACKEND"


class Backend(Protocol):
    """A network on a device, with the precision it computes in.

    Attributes:
        name: key of :data:`BACKENDS`.
        device: in words, for logs and reports.
        precision: ``fp32``, ``bf16``, ``fp16`` or ``int8``.
    """

    name: str
    device: str
    precision: str

    @property
    def versions(self) -> dict[str, str]:
        """Version of the library that computes, by its name."""

    def prepare(self, checkpoint: Checkpoint, progress: Progress) -> int:
        """Make sure that it can run a network, before anything slow begins.

        Returns:
            What the spatial sizes of its images must be divisible by.

        Raises:
            CheckpointError: unknown network, or weights that do not fit it.
            DeviceError: this backend cannot run it.
        """

    def load(self, checkpoint: Checkpoint) -> None:
        """Take the weights; until then a backend knows its device alone, and costs nothing.

        Raises:
            CheckpointError: unknown network, or weights that do not fit it.
            DeviceError: this backend cannot run it.
            MemoryError, RuntimeError: memory ran out, see :func:`BrainTumorSegLib.domain.shortage.is_shortage`.
        """

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        """``(N, C, …)`` float32 → ``(N, outputs, …)`` float32, between 0 and 1.

        Raises:
            MemoryError, RuntimeError: memory ran out, see :func:`BrainTumorSegLib.domain.shortage.is_shortage`.
        """

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """The same before the sigmoid."""

    def free_memory(self) -> None:
        """Give back what is kept of the device's memory for later."""


def create_backend(name: str, device: str, precision: str) -> Backend:
    """The backend of that name on a device.

    Raises:
        DeviceError: the backend or the device is not there, or the precision is unknown.
    """
    if name not in BACKENDS:
        raise DeviceError(f"Unknown backend {name!r}.", f"Choose one of auto, {', '.join(BACKENDS)}.")
    module, kind = BACKENDS[name]
    backend: Backend = getattr(importlib.import_module(f"{__name__}.{module}"), kind)(device, precision)
    return backend


def ready_backend(
    name: str, device: str, precision: str, checkpoints: Sequence[Checkpoint], progress: Progress
) -> tuple[Backend, list[int], list[str]]:
    """A backend that can run these networks.

    Returns:
        It, what each network's sizes must be divisible by, and warnings where ``auto`` had to take another one.

    Raises:
        CheckpointError: a network is unknown, or its weights do not fit it.
        DeviceError: the backend or the device is not there, or it cannot run a network.
    """
    stored = all(checkpoint.identity for checkpoint in checkpoints)
    # Converted anew for every patient, weights that come from no file would not be fast.
    automatic = _fastest(device, precision) if stored else "torch"
    chosen = automatic if name == "auto" else name
    warnings: list[str] = []
    try:
        backend = create_backend(chosen, device, precision)
        divisors = [backend.prepare(each, progress) for each in checkpoints]
    except DeviceError as error:
        if name != "auto" or chosen == "torch":
            raise
        warnings = [f"The network ran in PyTorch, which is slower. {error}"]
        backend = create_backend("torch", device, precision)
        divisors = [backend.prepare(each, progress) for each in checkpoints]
    return backend, divisors, warnings


def _fastest(device: str, precision: str) -> str:
    """OpenVINO on CPUs, where it is installed, but where the environment says otherwise; PyTorch elsewhere."""
    if os.environ.get(CHOSEN):
        return os.environ[CHOSEN]
    if precision == "fp16" or importlib.util.find_spec("openvino") is None:
        return "torch"
    return "openvino" if device == "cpu" or (device == "auto" and not _has_gpu()) else "torch"


def _has_gpu() -> bool:
    """Whether PyTorch finds a GPU; without the driver of one it is not asked, since that takes a second."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    drivers = ("nvcuda.dll",) if sys.platform == "win32" else ("libcuda.so.1", "libamdhip64.so")
    if not any(_loads(driver) for driver in drivers):
        return False
    from .torch_backend import resolve_device

    return resolve_device("auto").type != "cpu"


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
