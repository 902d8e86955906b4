from __future__ import annotations

import pytest
import torch

from BrainTumorSegLib.domain.errors import DeviceError
from BrainTumorSegLib.networks.precision import autocast, cpu_has_bf16, resolve_precision

CPU = torch.device("cpu")


def test_half_precision_only_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for has, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr("BrainTumorSegLib.networks.precision.cpu_has_bf16", lambda has=has: has)
        assert resolve_precision(CPU) == expected
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    assert resolve_precision(torch.device("cuda")) == "fp16"
    assert resolve_precision(torch.device("mps")) == "fp32"
    assert isinstance(cpu_has_bf16(), bool)


def test_precision_by_name() -> None:
    assert [resolve_precision(CPU, name) for name in ("fp32", "bf16", "fp16")] == ["fp32", "bf16", "fp16"]
    with pytest.raises(DeviceError, match="fp8"):
        resolve_precision(CPU, "fp8")


def test_autocast_computes_in_the_precision() -> None:
    layer = torch.nn.Linear(4, 4)
    with torch.no_grad():
        for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
            with autocast(CPU, precision):
                assert layer(torch.ones(1, 4)).dtype == dtype
