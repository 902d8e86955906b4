"""Which processors torch can use. Asked for in a child process: torch takes seconds to import."""

from __future__ import annotations

import importlib.util
import subprocess
from dataclasses import dataclass
from pathlib import Path

from slicer.i18n import tr as _

from BrainTumorSegLib.domain.json_values import json_of
from BrainTumorSegLib.engine_process import environment, interpreter

_PROGRAM = """
import json, torch
found = []
for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
    free, total = torch.cuda.mem_get_info(index)
    found.append([f"cuda:{index}", torch.cuda.get_device_name(index), free])
if torch.backends.mps.is_available():
    found.append(["mps", "Apple GPU", 0])
print(json.dumps({"devices": found}))
"""


@dataclass(frozen=True)
class Device:
    """A processor: its name for the engine, and what it is called for people."""

    name: str
    title: str


# What is there without asking.
BASIC = (Device("auto", _("Automatic")), Device("cpu", _("CPU")))


class DeviceProbe:
    """Asks which GPUs there are; :attr:`devices` is None until it is known.

    Without torch there is nobody to ask: ``asked`` is False, and only the basic devices are known.
    """

    def __init__(self) -> None:
        self.devices: tuple[Device, ...] | None = None
        self._process: subprocess.Popen[str] | None = None
        self.asked = importlib.util.find_spec("torch") is not None
        if not self.asked:
            self.devices = BASIC
            return
        self._process = subprocess.Popen(
            [interpreter(), "-c", _PROGRAM],
            cwd=Path(__file__).parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
            text=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )

    def poll(self) -> bool:
        """Whether the answer is there."""
        if self.devices is None and self._process is not None and self._process.poll() is not None:
            output = self._process.communicate()[0]
            self.devices = parse(output)
            self._process = None
        return self.devices is not None

    def close(self) -> None:
        """End the question."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def parse(output: str) -> tuple[Device, ...]:
    """Devices from the child's answer; none but the basic ones where it could not tell."""
    lines = output.strip().splitlines()
    extra = []
    try:
        for name, title, free in json_of(lines[-1])["devices"] if lines else []:
            memory = _(", {size:.1f} GB free").format(size=free / 1e9) if free else ""
            extra.append(Device(str(name), f"{name}: {title}{memory}"))
    except (ValueError, KeyError, TypeError, OverflowError):
        return BASIC
    return (*BASIC, *extra)
