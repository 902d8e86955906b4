"""Workers of a Dask cluster, which its user has started: on a machine, under Slurm, in Kubernetes.

A worker that sees the output folder writes there, any other sends back what it made. It runs a case in a process of
the engine, so that it goes on talking to the scheduler meanwhile.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import json
import logging
import os
import queue
import threading
import time
from collections.abc import Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..domain.errors import BrainTumorSegError, ExecutionError, RequestError
from ..domain.result_record import record_path
from ..io.run_folder import run_folder
from ..io.staging import staged
from .case_run import ELSEWHERE, Engine, Task
from .local import Ended
from .outcome import Failure, Outcome, read_outcome

if TYPE_CHECKING:
    from distributed import Client, Future

EXTRA = 'Install the extra [cluster]: python -m pip install "dask>=2025.5" "distributed>=2025.5".'
_PACKAGE = __package__.partition(".")[0]
# More cases than a scheduler is ever asked to hold at once by one run.
_MOST = 100_000
_CONNECT_SECONDS = 10.0
# A scheduler that was restarted is back by then; a try must not keep a cancel from being heard.
_RETURN_SECONDS, _TRY_SECONDS = 600.0, 1.0
_POLL_SECONDS, _KNOWN_SECONDS = 0.05, 1.0
# What Dask raises where the scheduler or a worker has gone.
_GONE = (OSError, TimeoutError, RuntimeError, CancelledError)


@dataclass(frozen=True)
class Order:
    """A case for a worker.

    Attributes:
        task: what is to be run.
        claim: file in the output folder, by which a worker knows that it sees the same folder.
        slots: host → cases that its workers run at once.
    """

    task: Task
    claim: Path
    slots: Mapping[str, int]


@dataclass(frozen=True)
class Reply:
    """What a worker has to say of a case.

    Attributes:
        outcome, is_lost, is_written: as in :class:`.Ended`.
        address: of the worker.
        files: what it sends back, by their names in the output folder.
    """

    outcome: Outcome
    is_lost: bool = False
    is_written: bool = False
    address: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)


# --- In the worker.

_own = threading.local()


def run_on_worker(order: Order) -> Reply:
    """Run a case; to be called in a thread of a Dask worker.

    Raises:
        RequestError: the worker has another version of this program.
    """
    from distributed import get_worker

    task, address = order.task, get_worker().address
    if task.expected.version != __version__:
        raise _other_version(f"The worker {address}", __version__, task.expected.version)
    if order.claim.exists():
        before = read_outcome(task.output, task.case)
        if before and before.run == task.expected.run and before.is_done:  # its worker died before it could say so
            return Reply(before, is_written=True)
        outcome, is_lost = _carried_out(task, order.slots)
        is_final = not is_lost and outcome.failure.code != "cancelled"
        if is_final:
            outcome.write(task.output)
        return Reply(outcome, is_lost, is_final, address)
    if any(option.startswith(ELSEWHERE) for option in task.options):
        reason = f"The worker {address} does not see {task.output}."
        error = RequestError(reason, "Leave --probabilities and --preprocessed out, or use a disk that all share.")
        return Reply(dataclasses.replace(task.expected, failure=Failure.of(error)))
    with run_folder() as folder:
        outcome, is_lost = _carried_out(dataclasses.replace(task, output=folder), order.slots)
        files = {name: (folder / name).read_bytes() for name in outcome.outputs}
        return Reply(outcome, is_lost, address=address, files=files)


def _carried_out(task: Task, slots: Mapping[str, int]) -> tuple[Outcome, bool]:
    """The outcome of a case, and whether it may go well elsewhere; ended when nobody wants it any more."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()
    try:
        run = _engine(worker, slots).run(task)
    except BrainTumorSegError as error:
        return dataclasses.replace(task.expected, failure=Failure.of(error)), True
    try:
        while not run.has_ended:
            time.sleep(_POLL_SECONDS)
            state = worker.state.tasks.get(key)
            if state is None or state.state != "executing" or worker.status.name not in ("running", "paused"):
                run.cancel()
    finally:
        run.stop()
    return run.outcome(), run.has_died


def _engine(worker: Any, slots: Mapping[str, int]) -> Engine:
    """That of this thread, which stays for the next case."""
    if not hasattr(_own, "engine"):
        _own.engine = Engine(_threads(worker, slots))
        atexit.register(_own.engine.end)
    engine: Engine = _own.engine
    return engine


def _threads(worker: Any, slots: Mapping[str, int]) -> dict[str, str]:
    """Variables that divide the cores that this worker has, or shares with others on its host.

    Dask starts its workers with ``OMP_NUM_THREADS=1``; another number is the user's.
    """
    from dask.system import CPU_COUNT

    if os.environ.get("OMP_NUM_THREADS", "1") != "1":
        return {}
    shares = os.cpu_count() == CPU_COUNT  # no container, cgroup or affinity has divided them
    others = slots.get(worker.ip, worker.state.nthreads) if shares else worker.state.nthreads
    return {"OMP_NUM_THREADS": str(max(CPU_COUNT // max(others, 1), 1))}


# --- In the process that gives the orders.


class DaskWorkers:
    """Those of a cluster, as many as there are at any time."""

    def __init__(self, address: str, claim: Path) -> None:
        """Connect.

        Args:
            address: of the scheduler, such as ``tcp://host:8786``, or its scheduler file.
            claim: file in the output folder.

        Raises:
            RequestError: Dask is not installed, no scheduler answers, or a worker has another version of this program.
        """
        try:
            import distributed  # noqa: F401
        except ImportError as error:
            raise RequestError("Dask is not installed.", EXTRA) from error
        for name in logging.root.manager.loggerDict:  # what they have to say is said here, in a sentence
            if name.startswith(("distributed", "tornado")):
                logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._address, self._claim = address, claim
        self._is_file = address.endswith(".json") or Path(address).is_file()
        self._client = self._connect(_CONNECT_SECONDS)
        self._check_versions()
        self._known: Mapping[str, Any] = {}
        self._asked = 0.0
        self._futures: dict[str, tuple[Future, Task]] = {}
        self._lost: list[Task] = []
        self._lost_since: float | None = None
        self._heard: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._again: list[str] = []
        self._avoided: dict[str, str] = {}

    @property
    def free(self) -> int:
        """As :class:`.Workers` has it: the scheduler holds what no worker has taken yet."""
        return 0 if self._lost_since else _MOST - len(self._futures)

    @property
    def under_way(self) -> int:
        """As :class:`.Workers` has it."""
        return len(self._futures) + len(self._lost)

    @property
    def progress(self) -> float:
        """As :class:`.Workers` has it: how far a case is, a cluster does not say."""
        return 0.0

    @property
    def doing(self) -> str:
        """As :class:`.Workers` has it."""
        count = len(self._workers())
        return f"{count} worker{'s' if count > 1 else ''}"

    @property
    def waits_for(self) -> str:
        """As :class:`.Workers` has it."""
        if self._lost_since:
            return f"the scheduler at {self._address}"
        return "" if self._workers() else "workers"

    def start(self, task: Task) -> None:
        """As :class:`.Workers` has it."""
        try:
            self._submit(task)
        except _GONE:
            self._lose(task)

    def _submit(self, task: Task) -> None:
        """Hand a case in, to another worker than the one on which it was lost."""
        workers = self._workers()
        slots: dict[str, int] = {}
        for each in workers.values():
            slots[each["host"]] = slots.get(each["host"], 0) + each["nthreads"]
        avoided = self._avoided.pop(task.case, "")
        others = [address for address in workers if address != avoided] if avoided else []
        key = f"braintumorseg-{task.expected.run}-{task.case}-{task.expected.attempts}"
        future = self._client.submit(
            run_on_worker,
            Order(task, self._claim, slots),
            key=key,
            pure=False,
            workers=others or None,
            allow_other_workers=bool(others),
        )
        self._futures[key] = future, task
        future.add_done_callback(lambda done: self._heard.put(done.key))

    def wait(self, seconds: float) -> list[Ended]:
        """As :class:`.Workers` has it.

        Raises:
            RequestError: a worker has another version of this program.
            ExecutionError: the scheduler has gone.
        """
        self._reconnect()
        again, self._again = self._again, []
        ended = [each for key in again for each in self._hear(key)]
        try:
            ended += self._hear(self._heard.get(timeout=0 if ended else seconds))
            while True:
                ended += self._hear(self._heard.get_nowait())
        except queue.Empty:
            return ended

    def close(self) -> None:
        """As :class:`.Workers` has it: workers end cases that nobody waits for."""
        for future, _ in self._futures.values():
            future.release()
        self._futures.clear()
        _close(self._client)

    def _hear(self, key: str) -> list[Ended]:
        """A case that is no longer computed: it has ended, or it was lost.

        Raises:
            RequestError: its worker has another version of this program.
        """
        if key not in self._futures:
            return []
        future, task = self._futures[key]
        reply = self._reply(future, task)
        if reply is None:
            if future.status in ("finished", "pending") and self._client.status == "running":
                self._again.append(key)  # its worker was lost with the result, and another one makes it anew
                return []
            del self._futures[key]
            self._lose(task)
            return []
        del self._futures[key]
        if reply.is_lost:
            self._avoided[task.case] = reply.address
        return [Ended(task, _placed(reply, task), reply.is_lost, reply.is_written)]

    def _lose(self, task: Task) -> None:
        self._lost.append(task)
        self._lost_since = self._lost_since or time.monotonic()

    def _reply(self, future: Future, task: Task) -> Reply | None:
        """What came of a case; None where that is not to be had."""
        try:
            if future.status == "finished":
                reply: Reply = future.result(timeout=_TRY_SECONDS)
                return reply
            error = future.exception(timeout=_TRY_SECONDS) if future.status == "error" else None
        except _GONE:
            return None
        if isinstance(error, RequestError):
            raise error
        if error is None:
            return None
        return Reply(dataclasses.replace(task.expected, failure=Failure.of(_explained(error, task))))

    def _workers(self) -> Mapping[str, Any]:
        """Address → what the scheduler knows of a worker, as it was a second ago."""
        if time.monotonic() - self._asked > _KNOWN_SECONDS and self._client.status == "running":
            with contextlib.suppress(*_GONE):
                self._known = self._client.scheduler_info(n_workers=-1).get("workers", {})
            self._asked = time.monotonic()
        return self._known

    def _connect(self, seconds: float) -> Client:
        from distributed import Client

        try:
            return Client(self._found(), timeout=seconds, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise RequestError(
                f"No Dask scheduler answers at {self._address}.", "Start one: dask scheduler; or check the address."
            ) from error

    def _found(self) -> str:
        """Where the scheduler listens; its file goes with it, and may name another place when it is back.

        Dask would wait without end for a file that is not there, so it is read here.

        Raises:
            OSError, ValueError: there is no such file, or it is not written yet.
        """
        if not self._is_file:
            return self._address
        try:
            return str(json.loads(Path(self._address).read_text(encoding="utf-8"))["address"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"{self._address} is no scheduler file") from error

    def _check_versions(self) -> None:
        name = _PACKAGE

        def version() -> str | None:  # goes to the worker as it is, which may not have this module
            import importlib

            try:
                return str(importlib.import_module(name).__version__)
            except ImportError:
                return None

        for worker, there in self._client.run(version, on_error="ignore").items():
            if there != __version__:
                raise _other_version(f"The worker {worker}", there, __version__)

    def _reconnect(self) -> None:
        """Where the scheduler was lost, try to find it again, and hand in anew what it held.

        Raises:
            ExecutionError: it has been gone for too long.
        """
        if self._lost_since is None or self._futures:
            return
        if self._client.status != "running":
            if time.monotonic() - self._lost_since > _RETURN_SECONDS:
                raise ExecutionError(
                    f"The scheduler at {self._address} has gone.",
                    "Start it again, then run the same command again: it goes on where it ended.",
                )
            try:
                client = self._connect(_TRY_SECONDS)
            except RequestError:
                return
            _close(self._client)
            self._client, self._asked = client, 0.0
        try:
            self._check_versions()
            while self._lost:
                self._submit(self._lost[-1])
                self._lost.pop()
        except _GONE:  # and again
            return
        self._lost_since = None


def _close(client: Client) -> None:
    with contextlib.suppress(*_GONE):
        client.close(timeout=_TRY_SECONDS)


def _placed(reply: Reply, task: Task) -> Outcome:
    """The outcome, when what the worker has sent is in its place; a failure where it cannot be placed."""
    record = record_path(task.label_map)
    try:
        with staged() as staging:
            for name, content in reply.files.items():
                file = task.output / name
                known = file in task.files  # and found free, or ours, before the run
                part = staging.path(file, record=file == record) if known else staging.derived(file, record)
                part.write_bytes(content)
    except OSError as error:
        failure: BrainTumorSegError = ExecutionError(
            f"{error.filename or task.label_map} cannot be written ({error.strerror}).", "Check the disk."
        )
    except BrainTumorSegError as error:
        failure = error
    else:
        return reply.outcome
    return dataclasses.replace(reply.outcome, failure=Failure.of(failure), result={}, outputs={})


def _other_version(who: str, there: str | None, here: str) -> RequestError:
    has = f"has version {there} of BrainTumorSeg" if there else "does not have BrainTumorSeg"
    return RequestError(f"{who} {has}, and this is {here}.", "Install the same version everywhere.")


def _explained(error: BaseException, task: Task) -> BrainTumorSegError:
    """Why a cluster gave a case up."""
    if type(error).__name__ == "KilledWorker":
        return ExecutionError(
            f"{task.case}: each worker that ran it died.", "Memory may have run out: give the workers more."
        )
    return ExecutionError(f"{task.case}: the worker met {type(error).__name__} ({error}).", "See the worker's log.")
