from __future__ import annotations

import pytest
import torch

from BrainTumorSegLib.domain.errors import DeviceError
from BrainTumorSegLib.inference.backends.torch_backend import (
    autocast,
    cpu_has_bf16,
    describe,
    resolve_device,
    resolve_precision,
)

CPU = torch.device("cpu")


def test_auto_takes_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for cuda, mps, expected in ((True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda cuda=cuda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda mps=mps: mps)
        assert resolve_device("auto").type == expected


def test_a_device_that_is_not_there_is_refused_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in ("cuda", "cuda:0", "mps"):
        with pytest.raises(DeviceError) as caught:
            resolve_device(name)
        assert "cpu" in caught.value.remedy
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(DeviceError, match="cuda:2"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "", "tpu:0", "meta", "cuda:x", "CPU "])
def test_unknown_devices_are_refused(name: str) -> None:
    with pytest.raises(DeviceError) as caught:
        resolve_device(name)
    assert repr(name) in str(caught.value) and "cpu" in caught.value.remedy


def test_half_precision_only_where_the_processor_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for has, expected in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr("BrainTumorSegLib.inference.backends.torch_backend.cpu_has_bf16", lambda has=has: has)
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


def test_the_cpu_in_words() -> None:
    assert describe(CPU) == f"cpu ({torch.get_num_threads()} threads)"
