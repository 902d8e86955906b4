"""The engine's processes as their parent sees them: one that has done its run waits for the next."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from .domain.errors import ExecutionError

# How long a process waits for the next run: as long as one looks at a result before the next patient.
IDLE_SECONDS = 300.0
# One that waits answers at once. One that does not is as good as none.
_ANSWER_SECONDS = 3.0
_END_SECONDS = 3.0

_DECODER = json.JSONDecoder()

# What takes the lines of a stream.
Listener = Callable[[str], None]


def interpreter() -> str:
    """The Python that runs the engine: this one, or PythonSlicer where this one is the application itself.

    Raises:
        ExecutionError: there is none.
    """
    if sys.executable and "python" in Path(sys.executable).stem.lower():
        return sys.executable
    found = shutil.which("PythonSlicer")
    if found:
        return found
    raise ExecutionError("No Python was found to run the segmentation.", "Start 3D Slicer by its own launcher.")


def environment() -> dict[str, str]:
    """This process's environment, with the folder of this package first on the path, and the current one not on it."""
    library = str(Path(__file__).resolve().parents[1])
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)  # an empty entry stands for the current folder
    paths = os.pathsep.join([library, *filter(None, given)])
    return {**os.environ, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}


class Job:
    """A command line that a process was given.

    Attributes:
        process: what it runs in.
        begun: set when the process has taken it up, or ended.
        done: set when it has ended, and all that was said of it was heard.
        exit_code: of the command, or of the process where that ended first; None before.
    """

    def __init__(self, arguments: Sequence[str], cancel_file: Path, listeners: Mapping[str, Listener]) -> None:
        """``listeners`` are those of the streams ``stdout`` and ``stderr``."""
        self.process: EngineProcess | None = None
        self.begun, self.done = threading.Event(), threading.Event()
        self.exit_code: int | None = None
        self._listeners, self._unfinished = listeners, set(listeners)
        mark = {"job": secrets.token_hex(8)}
        self._start = json.dumps(mark).rstrip("}")
        given = {"arguments": list(arguments), "cancel_file": str(cancel_file.absolute())}
        self.request = json.dumps({**mark, **given}) + "\n"

    def hear(self, stream: str, line: str) -> dict[str, Any] | None:
        """A line of a stream; what the process has to say of this job itself is given back."""
        at = line.rfind(self._start)
        if at < 0:
            self._listeners[stream](line)
            return None
        answer: dict[str, Any]
        answer, end = _DECODER.raw_decode(line, at)
        for text in filter(None, (line[:at], line[end:])):  # that a library left without an end of line
            self._listeners[stream](text)
        self.begun.set()
        if "exit" in answer:
            self._unfinished.discard(stream)
        return answer

    @property
    def is_complete(self) -> bool:
        """Whether both streams have brought all of it."""
        return not self._unfinished

    def finish(self, code: int) -> None:
        """It has ended."""
        self.exit_code = code
        self.begun.set()
        self.done.set()

    def kill(self) -> None:
        """End the process, where it is busy with this."""
        if self.process is not None:
            self.process.kill(self)


class EngineProcess:
    """A child process that carries out one job after another.

    Attributes:
        popen: the process.
        environment: what it was started with.
    """

    def __init__(
        self, job: Job, idle_seconds: float, keep: Callable[[EngineProcess], None], environment: Mapping[str, str]
    ) -> None:
        """Start it with its first job; ``keep`` takes it each time it is ready for another.

        Raises:
            ExecutionError: no process can be started.
        """
        self.environment = environment
        self._keep, self._lock = keep, threading.Lock()
        self._worker: int | None = None  # id of the process that works, which a launcher may have started
        self._killed = False
        self._job: Job | None = job
        try:
            self.popen = subprocess.Popen(
                [interpreter(), "-P", "-m", f"{__package__}.worker", str(idle_seconds)],
                cwd=Path(__file__).anchor,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self.environment,
                encoding="utf-8",
                errors="replace",
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows: no console flashes up
            )
        except OSError as error:
            raise ExecutionError(
                f"The engine cannot be started ({error.strerror or error}).", "Close other programs and try again."
            ) from error
        # What libraries print on stderr is never taken for an answer.
        self._open = {"stdout": self.popen.stdout, "stderr": self.popen.stderr}
        for name, stream in list(self._open.items()):
            threading.Thread(target=self._read, args=(name, stream), name="engine-output", daemon=True).start()
        self._tell(job)

    def take_on(self, job: Job) -> bool:
        """Give it another job; False where it does not take it up, since it was just about to end."""
        with self._lock:
            if len(self._open) < 2:
                return False
            self._job = job
        self._tell(job)
        job.begun.wait(_ANSWER_SECONDS)
        if job.begun.is_set() and job.exit_code is None:
            return True
        with self._lock:
            self._kill()
        return False

    def _tell(self, job: Job) -> None:
        job.process = self
        assert self.popen.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended, which its streams will tell
            self.popen.stdin.write(job.request)
            self.popen.stdin.flush()

    def _read(self, name: str, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self._hear(name, line.rstrip())
        with self._lock:
            del self._open[name]
            if self._open:
                return
        code = self.popen.wait()
        self._close_stdin()
        with self._lock:
            job, self._job = self._job, None
        if job is not None:
            job.finish(code)

    def _hear(self, name: str, line: str) -> None:
        job = self._job
        if job is None:  # an idle process has nothing to say
            return
        answer = job.hear(name, line)
        if answer is not None and "pid" in answer:
            with self._lock:
                self._worker = answer["pid"]
                if self._killed:
                    self._kill()
        if answer is None or "exit" not in answer:
            return
        with self._lock:
            if not job.is_complete or self._job is not job:
                return
            self._job = None
        if answer["stays"]:
            self._keep(self)
        job.finish(answer["exit"])

    def kill(self, job: Job) -> None:
        """End it, where it is busy with this job."""
        with self._lock:
            if self._job is job:
                self._kill()

    def _kill(self) -> None:
        """End the process, and the one that works where the former is a launcher, whose child would go on."""
        self._killed = True
        self.popen.kill()
        self._close_stdin()  # one that has not said its id yet has nothing to wait for
        worker = self._worker
        if self._open and worker is not None and worker != self.popen.pid:  # while it holds a stream its id is its own
            with contextlib.suppress(OSError):
                os.kill(worker, getattr(signal, "SIGKILL", signal.SIGTERM))

    def end(self) -> None:
        """End it, while it waits."""
        self._close_stdin()
        try:
            self.popen.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            with self._lock:
                self._kill()
            self.popen.wait()

    def _close_stdin(self) -> None:
        assert self.popen.stdin is not None
        with contextlib.suppress(OSError):
            self.popen.stdin.close()


class EngineProcesses:
    """Carries out jobs, in the process that waits where there is one. At most one does."""

    def __init__(self, idle_seconds: float = IDLE_SECONDS, variables: Mapping[str, str] | None = None) -> None:
        """No process is started yet.

        Args:
            idle_seconds: after which one that waits ends by itself.
            variables: of the processes' environment, in addition to this process's.
        """
        self._idle_seconds, self._lock = idle_seconds, threading.Lock()
        self._variables = dict(variables or {})
        self._idle: EngineProcess | None = None

    def start(self, arguments: Sequence[str], cancel_file: Path, listeners: Mapping[str, Listener]) -> Job:
        """Begin with a command line; see :class:`Job`.

        Raises:
            ExecutionError: no process can be started.
        """
        waiting, wanted = self._swap(None), environment() | self._variables
        if waiting is not None:
            job = Job(arguments, cancel_file, listeners)
            # Libraries read their settings once: one that would see others now is not used.
            if waiting.environment == wanted and waiting.take_on(job):
                return job
            waiting.end()
        job = Job(arguments, cancel_file, listeners)
        EngineProcess(job, self._idle_seconds, self._keep, wanted)
        return job

    def end_idle(self) -> None:
        """End the process that waits, and give back what it keeps."""
        waiting = self._swap(None)
        if waiting is not None:
            waiting.end()

    @property
    def idle(self) -> EngineProcess | None:
        """The one that waits."""
        return self._idle

    def _keep(self, process: EngineProcess) -> None:
        replaced = self._swap(process)
        if replaced is not None:
            replaced.end()

    def _swap(self, process: EngineProcess | None) -> EngineProcess | None:
        with self._lock:
            self._idle, before = process, self._idle
        return before


processes = EngineProcesses()
atexit.register(processes.end_idle)
