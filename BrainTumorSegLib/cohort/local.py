"""Workers on this machine: processes that keep the model, and share its cores or have a GPU each."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple, Protocol

from ..domain.available_memory import available_memory
from ..domain.errors import BrainTumorSegError, RequestError
from ..evaluation import usable_cores
from .case_run import CaseRun, Engine, Task
from .outcome import Failure, Outcome

_POLL_SECONDS = 0.02
# A case wants about so many cores, and so much of the machine's memory, of which others need some.
_CORES_EACH, _BYTES_EACH = 2, 3 << 30
_NAMED = 3


class Ended(NamedTuple):
    """A case that has ended.

    Attributes:
        task: that was started.
        outcome: what became of it.
        is_lost: whether it may go well elsewhere: its worker died.
        is_written: whether the worker has written the outcome itself.
    """

    task: Task
    outcome: Outcome
    is_lost: bool = False
    is_written: bool = False


class Workers(Protocol):
    """What runs cases."""

    @property
    def free(self) -> int:
        """How many cases it takes now."""

    @property
    def under_way(self) -> int:
        """How many cases have been taken and have not ended."""

    @property
    def progress(self) -> float:
        """The sum of how far those are, each 0 to 1."""

    @property
    def doing(self) -> str:
        """What is worked on, or with, in a few words."""

    @property
    def waits_for(self) -> str:
        """What keeps it from working; empty where nothing does."""

    def start(self, task: Task) -> None:
        """Take a case."""

    def wait(self, seconds: float) -> list[Ended]:
        """The cases that have ended; some time passes where none has."""

    def close(self) -> None:
        """End all that is under way."""


class LocalWorkers:
    """Processes on this machine."""

    def __init__(self, count: int | None, device: str) -> None:
        """No process is started yet.

        Args:
            count: of the processes; by default one a GPU, or one for every two cores, as memory allows.
            device: that cases are run on.

        Raises:
            RequestError: that many are not possible.
        """
        if count is not None and count < 1:
            raise RequestError(f"{count} workers are not possible.", "Give --workers 1 or more.")
        gpus = visible_gpus() if device in ("auto", "cuda") else ()
        self.count = count or len(gpus) or max(min(usable_cores() // _CORES_EACH, _memory() // _BYTES_EACH), 1)
        self._engines = [Engine(variables) for variables in _environments(self.count, gpus)]
        self._idle = list(self._engines)
        self._runs: dict[int, tuple[Engine, CaseRun]] = {}
        self._ended: list[Ended] = []

    @property
    def free(self) -> int:
        """As :class:`Workers` has it."""
        return len(self._idle)

    @property
    def under_way(self) -> int:
        """As :class:`Workers` has it."""
        return len(self._runs) + len(self._ended)

    @property
    def progress(self) -> float:
        """As :class:`Workers` has it."""
        return sum(run.progress for _, run in self._runs.values())

    @property
    def doing(self) -> str:
        """As :class:`Workers` has it."""
        names = [run.task.case for _, run in self._runs.values()]
        return ", ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")

    @property
    def waits_for(self) -> str:
        """As :class:`Workers` has it."""
        return ""

    def start(self, task: Task) -> None:
        """As :class:`Workers` has it."""
        engine = self._idle.pop()
        try:
            run = engine.run(task)
        except BrainTumorSegError as error:  # no process can be started
            self._idle.insert(0, engine)
            failed = dataclasses.replace(task.expected, failure=Failure.of(error))
            self._ended.append(Ended(task, failed, is_lost=True))
            return
        self._runs[id(run)] = engine, run

    def wait(self, seconds: float) -> list[Ended]:
        """As :class:`Workers` has it."""
        until = time.monotonic() + seconds
        while True:
            for key, (engine, run) in list(self._runs.items()):
                if run.has_ended:
                    del self._runs[key]
                    self._idle.append(engine)
                    self._ended.append(Ended(run.task, run.outcome(), run.has_died))
            if self._ended or time.monotonic() > until:
                ended, self._ended = self._ended, []
                return ended
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """As :class:`Workers` has it."""
        for _, run in self._runs.values():
            run.cancel()
        for _, run in self._runs.values():
            run.stop()
        for engine in self._engines:
            engine.end()


def threads_each(count: int) -> dict[str, str]:
    """Variables that divide the usable cores among so many processes, unless the user has divided them.

    ITK's threads are left alone: its sums, and with them a few voxels, depend on their number.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(usable_cores() // count, 1))}


def _environments(count: int, gpus: Sequence[str]) -> list[dict[str, str]]:
    """Of each process."""
    threads = threads_each(count) if count > 1 else {}
    return [threads | ({"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {}) for i in range(count)]


def visible_gpus() -> tuple[str, ...]:
    """The NVIDIA GPUs that a process would see, as ``CUDA_VISIBLE_DEVICES`` names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        names = (name.strip() for name in given.split(","))
        return tuple(filter(None, takewhile(lambda name: name != "-1", names)))  # CUDA reads no further either
    program = shutil.which("nvidia-smi")
    if program is None:
        return ()
    try:
        done = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(str(i) for i, line in enumerate(x for x in done.stdout.splitlines() if x.startswith("GPU ")))


def _memory() -> int:
    """Bytes of memory that workers may take: what the machine has, or less where others or a container leave less.

    On Windows, where Python cannot tell what the machine has, what a small one has.
    """
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 << 30
    free = available_memory()
    return whole if free is None else min(whole, free)
