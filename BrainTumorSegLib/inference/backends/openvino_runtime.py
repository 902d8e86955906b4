"""The library OpenVINO: imported without its telemetry, and a network run in it."""

from __future__ import annotations

import functools
import importlib
import os
import sys
from contextlib import suppress
from types import ModuleType
from typing import Any

import numpy as np

from ...domain.errors import DeviceError
from ...domain.shortage import check_addresses, is_shortage

# OpenVINO's names of ours.
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def openvino() -> ModuleType:
    """The library, without its telemetry: it would tell its maker at every import.

    Raises:
        DeviceError: it is not installed, or cannot be loaded.
        ShortageError: this process may not take the memory that it needs.
    """
    if library := sys.modules.get("openvino"):
        return library
    check_addresses()
    telemetry = sys.modules.get("openvino_telemetry")
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        if is_shortage(error):
            raise
        raise DeviceError(
            f"OpenVINO cannot be used ({error}).", "Install it (pip install openvino), or choose --backend torch."
        ) from error
    finally:
        del sys.modules["openvino_telemetry"]
        if telemetry is not None:
            sys.modules["openvino_telemetry"] = telemetry


def core() -> Any:
    """OpenVINO's Core, one for the whole life of the process.

    Each one's CPU plugin gives the thread another stack for signals and takes it away at its own end (OpenVINO 2026.4).
    Of two of them the later puts the earlier's back, which may be gone: the next signal that has a handler, such as
    that of Ctrl-C, then ends the process by a segmentation fault.

    Raises:
        DeviceError, ShortageError: as :func:`openvino`.
    """
    return _core_of(openvino())


@functools.cache
def _core_of(library: ModuleType) -> Any:
    return library.Core()


def threads() -> int:
    """Threads of a run: as many as ``OMP_NUM_THREADS`` says, as with PyTorch, else as there are processors."""
    with suppress(ValueError):
        return max(int(os.environ.get("OMP_NUM_THREADS", "")), 1)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compiled(model: Any, precision: str) -> Any:
    """A request to a compiled network.

    Raises:
        DeviceError: OpenVINO cannot compile it.
    """
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
    if "OMP_NUM_THREADS" in os.environ:
        # Each of several processes would tie its threads to the same processors, the first ones.
        settings |= {"INFERENCE_NUM_THREADS": threads(), "ENABLE_CPU_PINNING": False}
    try:
        return core().compile_model(model, "CPU", settings).create_infer_request()
    except RuntimeError as error:
        if is_shortage(error):
            raise
        raise DeviceError(f"OpenVINO cannot run this network ({reason(error)}).", "Choose --backend torch.") from error


def reason(error: Exception) -> str:
    """What an error of OpenVINO says, its last line: the others say where in its source it was."""
    lines = [line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()]
    return (lines or [type(error).__name__])[-1][:200]


def logits(request: Any, batch: np.ndarray) -> np.ndarray:
    """What the network gives ``(N, outputs, …)``, float32, for a batch ``(N, C, …)``; to be changed at will."""
    images = np.ascontiguousarray(batch, dtype=np.float32)
    return np.array(request.infer([images], share_inputs=True, share_outputs=True)[0], dtype=np.float32)
