"""A command in a fresh process: how long it takes, what it uses, and when it said what. Linux and macOS."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("numpy", "torch", "monai", "openvino", "SimpleITK", "nibabel")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENVINO_NUM_THREADS")


@dataclass(frozen=True)
class Run:
    """What one process took.

    Attributes:
        seconds: from its start to its end.
        cpu_seconds: of user and system, over all its threads and the processes that it waited for.
        memory_gb: peak resident memory; of the largest process where it starts others.
        lines: what it printed, with the seconds from its start.
    """

    seconds: float
    cpu_seconds: float
    memory_gb: float
    lines: tuple[tuple[float, str], ...] = ()


class FailedRunError(Exception):
    """A process that ended with another exit code than 0.

    Attributes:
        code: that exit code.
    """

    def __init__(self, code: int, said: str) -> None:
        super().__init__(said)
        self.code = code


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Run:
    """Run a command, with these variables in addition to this process's.

    This process must have needed little memory until now: Linux counts it as the child's where the child needs less.

    Raises:
        FailedRunError: it failed; with the last line that it wrote to stderr.
    """
    variables = {**os.environ, **(environment or {}), "PYTHONUNBUFFERED": "1"}
    with tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=variables, text=True)
        assert process.stdout is not None
        with process.stdout as output:
            lines = tuple((time.perf_counter() - started, line.rstrip()) for line in output)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise FailedRunError(process.returncode, said[-1])
    return Run(seconds, used.ru_utime + used.ru_stime, _gigabytes(used.ru_maxrss), lines)


def _gigabytes(resident: int) -> float:
    """Linux counts kilobytes, macOS bytes."""
    return resident / (1e9 if sys.platform == "darwin" else 1024**2)


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, cores, variables that limit threads, versions."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "threads": {name: os.environ[name] for name in _THREADS if name in os.environ},
        "system": f"{platform.system()} {platform.machine()}",
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in _PACKAGES},
    }


def _processor() -> str:
    """Its name, with the instruction sets beyond AVX2 that networks are computed in."""
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in file.read_text("utf-8").split("\n\n")[0].splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in facts.items()}
    flags = facts.get("flags", "").split()
    wide = [
        title for flag, title in (("avx512f", "AVX-512"), ("avx512_bf16", "BF16"), ("amx_tile", "AMX")) if flag in flags
    ]
    return ", ".join([facts.get("model name", platform.machine()), *wide])


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
