"""A real Dask scheduler and real workers on this machine, which die as those of a cluster do."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

_START_SECONDS = 120.0


class Cluster:
    """A scheduler, whose file is ``scheduler.json`` in the folder, and workers; ``environment`` is theirs."""

    def __init__(self, folder: Path, environment: Mapping[str, str], workers: int = 2) -> None:
        self._folder, self._count = folder.resolve(), workers
        self.environment = environment
        self.file = self._folder / "scheduler.json"
        self._port = "0"
        self._begin()

    def _begin(self) -> None:
        """Scheduler first: workers that read its file while it is being written die of that."""
        self.file.unlink(missing_ok=True)
        self.scheduler = self._start("scheduler", "--port", self._port)
        until = time.monotonic() + _START_SECONDS
        while not self.address:
            assert time.monotonic() < until, f"no scheduler after {_START_SECONDS:.0f} s"
            time.sleep(0.01)
        self._port = self.address.rpartition(":")[2]
        self.workers = [self.add_worker() for _ in range(self._count)]

    @property
    def address(self) -> str:
        """Of the scheduler; empty until it has written its file whole."""
        try:
            return str(json.loads(self.file.read_text())["address"])
        except (FileNotFoundError, json.JSONDecodeError):
            return ""

    def _start(self, kind: str, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--scheduler-file", str(self.file)]
        return subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--no-dashboard", *arguments],
            env={**self.environment, **more},
            cwd=self._folder,
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / f"{kind}.log").open("ab"),
        )

    def add_worker(self, **more: str) -> subprocess.Popen[bytes]:
        """One more; ``more`` are variables of its environment."""
        return self._start("worker", "--nthreads", "1", "--no-nanny", **more)

    def restart(self) -> None:
        """Kill the scheduler, with which its workers end, and start all anew."""
        self.scheduler.kill()
        self.scheduler.wait()
        for worker in self.workers:
            worker.wait(60)
        self._begin()

    def end(self) -> None:
        """End all of it."""
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()
