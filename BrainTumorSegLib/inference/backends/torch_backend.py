"""PyTorch: the reference, on CPU, CUDA and MPS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ...domain.errors import DeviceError
from ...domain.progress import Progress
from ...networks.precision import autocast, resolve_precision

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ...models.checkpoint_file import Checkpoint


class TorchBackend:
    """A network in PyTorch; see :class:`.Backend`."""

    name = "torch"

    def __init__(self, device: str = "auto", precision: str = "auto") -> None:
        """Choose the device and the precision.

        Raises:
            DeviceError: the device is not there, or the precision is unknown.
        """
        self._device = resolve_device(device)
        self.precision = resolve_precision(self._device, precision)
        self.device = describe(self._device)
        self._network: nn.Module | None = None

    @property
    def versions(self) -> dict[str, str]:
        """Of what computes."""
        import torch

        return {"torch": torch.__version__}

    def prepare(self, checkpoint: Checkpoint, progress: Progress) -> int:
        """Compare the weights with the network that takes them."""
        checkpoint.check_fit()
        return checkpoint.description.network.divisor

    def load(self, checkpoint: Checkpoint) -> None:
        """Take the weights of a checkpoint."""
        self.take(checkpoint.build())

    def take(self, network: nn.Module) -> None:
        """Take a network as it is."""
        self._network = network.to(self._device)

    def probabilities(self, batch: np.ndarray) -> np.ndarray:
        """A batch through the network; the sigmoid is in fp32 whatever the network computes in."""
        import torch

        return np.asarray(torch.sigmoid(self._run(batch)).cpu().numpy())

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """A batch through the network."""
        return np.asarray(self._run(batch).cpu().numpy())

    def _run(self, batch: np.ndarray) -> torch.Tensor:
        import torch

        assert self._network is not None, "no network was loaded"
        images = torch.from_numpy(np.ascontiguousarray(batch)).to(self._device)
        with torch.inference_mode(), autocast(self._device, self.precision):
            logits: torch.Tensor = self._network(images)
        return logits.float()

    def free_memory(self) -> None:
        """Give back what torch keeps of a device's memory for later."""
        import torch

        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        elif self._device.type == "mps":
            torch.mps.empty_cache()


def resolve_device(name: str = "auto") -> torch.device:
    """The device of that name: ``auto`` (CUDA, then MPS, then CPU), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.

    Raises:
        DeviceError: it is not there. Only ``auto`` chooses for itself.
    """
    import torch

    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if has_mps else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"Unknown device {name!r}.", "Choose auto, cpu, cuda, cuda:N or mps.") from error
    if device.type == "cuda" and not (torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()):
        raise DeviceError(f"There is no CUDA device {name!r} that this torch can use.", "Choose --device cpu or auto.")
    if device.type == "mps" and not has_mps:
        raise DeviceError("There is no MPS device on this machine.", "Choose --device cpu or auto.")
    if device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"Device {name!r} is not supported.", "Choose auto, cpu, cuda, cuda:N or mps.")
    return device


def describe(device: torch.device) -> str:
    """Device in words, for logs and reports."""
    import torch

    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)" if device.type == "cpu" else str(device)
