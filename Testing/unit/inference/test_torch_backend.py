from __future__ import annotations

import pytest
import torch

from BrainTumorSegLib.domain.errors import DeviceError
from BrainTumorSegLib.inference.backends.torch_backend import describe, resolve_device

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


def test_the_cpu_in_words() -> None:
    assert describe(CPU) == f"cpu ({torch.get_num_threads()} threads)"
