"""The precision in which a network computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..domain.errors import DeviceError
from ..domain.options import PRECISIONS

if TYPE_CHECKING:
    import torch


def resolve_precision(device: torch.device, precision: str = "auto") -> str:
    """``fp32``, ``bf16`` or ``fp16``; ``auto`` takes half precision only where the hardware computes in it.

    Without its own instructions for it a CPU emulates bf16, 2 to 15 times slower than fp32.
    """
    import torch

    if precision != "auto":
        if precision not in PRECISIONS:
            raise DeviceError(f"Unknown precision {precision!r}.", f"Choose one of {', '.join(PRECISIONS)}.")
        if precision == "int8":
            raise DeviceError("PyTorch does not compute in int8 here.", "Install OpenVINO, or choose --precision auto.")
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if device.type == "cpu" and cpu_has_bf16() else "fp32"


def cpu_has_bf16() -> bool:
    """Whether the processor has instructions for bf16 matrix products (AVX512-BF16 or AMX)."""
    import torch

    probes = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(probe() for probe in probes if probe is not None)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context in which the network runs with ``precision``."""
    import torch

    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")
