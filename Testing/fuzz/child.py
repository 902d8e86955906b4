"""Files read one after another in a child process with limits of memory and time, which is replaced when it ends."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import resource
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Protocol

from BrainTumorSegLib.domain.errors import BrainTumorSegError, ShortageError

# What became of a file. The first two are as it should be.
READ, REFUSED = "read", "refused"
CRASH, HANG, FOREIGN, MEMORY, WROTE = "crash", "hang", "foreign exception", "memory", "wrote"
OUTCOMES = (READ, REFUSED, CRASH, HANG, FOREIGN, MEMORY, WROTE)
SOUND = (READ, REFUSED)

SECONDS = 10.0
# Memory that a file of below 100 MB may take, libraries included; the address space ends a little above.
RESIDENT_GB, ADDRESS_SPACE_GB = 1.5, 2.7


@dataclass(frozen=True)
class Sample:
    """A file to be read.

    Attributes:
        path: that is read; what else it needs lies in the same folder.
        kind: what it is and what was done to it, for the table.
    """

    path: Path
    kind: str


class Subject(Protocol):
    """What a module has that is fuzzed: ``Testing/fuzz/images.py`` shows the way."""

    def make(self, seed: tuple[int, int], folder: Path) -> Sample:
        """Write a sample into an empty folder: the same one for the same seed and number, whatever came before."""

    def read(self, path: Path) -> None:
        """Read it with the library, in the child; an error of the library's own is a refusal."""


@dataclass(frozen=True)
class Outcome:
    """What became of a file: one of :data:`OUTCOMES`, in which words, after how long, with how much memory (GB)."""

    name: str
    detail: str = ""
    seconds: float = 0.0
    peak_gb: float = 0.0


class Child:
    """The process that reads; a context manager.

    Args:
        module: dotted name of the :class:`Subject`.
        home: empty folder that the child works in, where nothing may appear.
    """

    def __init__(self, module: str, home: Path) -> None:
        self._module, self._home = module, home
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([module])
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def read(self, path: Path) -> Outcome:
        """Have a file read; a child that crashed or hung is replaced at the next one."""
        pipe = self._start()
        before = _listing(path.parent)
        began = time.monotonic()
        pipe.send_bytes(os.fsencode(path))
        try:
            answered = pipe.poll(SECONDS)
            outcome = Outcome(*pipe.recv()) if answered else Outcome(HANG, f"no answer after {SECONDS:g} s")
        except EOFError:
            answered, outcome = False, Outcome(CRASH, self._cause())
        if not answered:
            self._end()
        seconds = time.monotonic() - began
        if outcome.name in SOUND and outcome.peak_gb > RESIDENT_GB:
            outcome = Outcome(MEMORY, f"{outcome.peak_gb:.2f} GB", peak_gb=outcome.peak_gb)
        if outcome.name in SOUND and (_listing(path.parent) != before or any(self._home.iterdir())):
            outcome = Outcome(WROTE, "files appeared or changed", peak_gb=outcome.peak_gb)
        return Outcome(outcome.name, outcome.detail, seconds, outcome.peak_gb)

    def _start(self) -> Connection:
        if self._pipe is None:
            self._pipe, far = self._context.Pipe()
            self._process = self._context.Process(target=_serve, args=(far, self._module, self._home), daemon=True)
            self._process.start()
            far.close()
            self._pipe.recv_bytes()  # it has imported what it needs
        return self._pipe

    def _cause(self) -> str:
        assert self._process is not None
        self._process.join(5)
        code = self._process.exitcode
        return signal.Signals(-code).name if code is not None and code < 0 else f"exit {code}"

    def _end(self) -> None:
        if self._process is not None and self._pipe is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
        self._process = self._pipe = None


def _serve(pipe: Connection, module: str, home: Path) -> None:
    subject: Subject = importlib.import_module(module)
    os.chdir(home)
    nowhere = os.open(os.devnull, os.O_RDWR)  # native libraries write where they please
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    limit = int(ADDRESS_SPACE_GB * 1e9)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pipe.send_bytes(b"ready")
    while True:
        try:
            path = Path(os.fsdecode(pipe.recv_bytes()))
        except EOFError:
            return
        _forget_peak()
        pipe.send((*_classified(subject, path), 0.0, _peak_gb()))


def _classified(subject: Subject, path: Path) -> tuple[str, str]:
    try:
        subject.read(path)
    except (MemoryError, ShortageError) as error:
        return MEMORY, str(error)
    except BrainTumorSegError as error:
        short = isinstance(error.__cause__, MemoryError)
        return (MEMORY if short else REFUSED), error.sentence().encode(errors="backslashreplace").decode()
    except BaseException as error:
        return FOREIGN, f"{type(error).__module__}.{type(error).__name__}: {error!a}"
    return READ, ""


def _forget_peak() -> None:
    """Have the kernel count the peak of resident memory anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak_gb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9


def _listing(folder: Path) -> set[tuple[str, int, int]]:
    """What lies in a folder, with sizes and times."""
    return {(entry.name, *(entry.lstat().st_size, entry.lstat().st_mtime_ns)) for entry in folder.iterdir()}
