"""One case of a cohort: what is to be run, the run in a process of the engine, and its outcome."""

from __future__ import annotations

import dataclasses
import datetime
import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..domain.errors import BrainTumorSegError, CheckpointError, ExecutionError
from ..domain.result_record import ResultRecord, native_path, record_path
from ..engine_process import IDLE_SECONDS, EngineProcesses
from ..engine_run import EngineRun
from ..io.placement import clear_up
from ..io.run_folder import RunFolder
from .layouts import LAYOUTS, PAGES
from .outcome import Failure, Outcome, digests

# Options that name a folder of the case elsewhere than below the output folder.
ELSEWHERE = ("--probabilities", "--preprocessed")
_DIED = "Memory may have run out: run fewer workers, or see what else the machine was doing."


@dataclass(frozen=True)
class Task:
    """What a worker needs to know of a case.

    Attributes:
        images: what names it on the command line of ``braintumorseg segment``.
        options: the rest of that command line, output and name left out.
        output: folder of the results.
        layout: key in :data:`.LAYOUTS`.
        page: file of the case's report below the output folder; empty for none.
        expected: the outcome as far as it is known before: name, inputs, model, options, attempts.
        study: what tells its study, where one folder holds several.
    """

    images: tuple[str, ...]
    options: tuple[str, ...]
    output: Path
    layout: str
    page: str
    expected: Outcome
    study: str = ""

    @property
    def case(self) -> str:
        """Its name."""
        return self.expected.case

    @property
    def label_map(self) -> Path:
        """The file that it makes."""
        return self.output / LAYOUTS[self.layout].label_map(self.case, self.study)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it makes in the output folder, but for those whose number its images tell: :meth:`native`."""
        return (self.label_map, record_path(self.label_map), *([self.output / self.page] if self.page else []))

    @property
    def folders(self) -> set[Path]:
        """All folders that it writes to."""
        named = (option.split("=", 1) for option in self.options if option.startswith(ELSEWHERE))
        return {file.parent for file in self.files} | {Path(folder) for _, folder in named}

    def native(self, record: ResultRecord) -> list[Path]:
        """The label maps on the grids of the other images that a record names, where they were asked for."""
        made = record.provenance
        others = [name for name in made.inputs if name != made.reference] if "--native=all" in self.options else []
        return [native_path(self.label_map, name) for name in others]

    def again(self) -> Task:
        """The same to be tried once more."""
        return dataclasses.replace(
            self, expected=dataclasses.replace(self.expected, attempts=self.expected.attempts + 1)
        )

    def in_run(self, run: str) -> Task:
        """The same as part of a run of the cohort."""
        return dataclasses.replace(self, expected=dataclasses.replace(self.expected, run=run))

    @property
    def arguments(self) -> list[str]:
        """The command line."""
        page = [f"--report={self.output / self.page}"] if self.page else []
        named = ["-o", str(self.label_map), f"--case-id={self.case}", *page]
        return ["segment", *self.images, *named, *self.options]


class Engine:
    """Where one case after another is run: a process that keeps the model, and is replaced where it died."""

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        """``variables`` are those of its environment, in addition to this process's.

        Raises:
            OSError: there is no place for its temporary folder.
        """
        self._processes = EngineProcesses(IDLE_SECONDS, variables)
        self._folder = RunFolder.make()
        self._count = 0

    def run(self, task: Task) -> CaseRun:
        """Begin with a case.

        Raises:
            ExecutionError: no process can be started.
        """
        self._count += 1
        return CaseRun(task, self._processes, self._folder.path / f"cancel-{self._count}")

    def end(self) -> None:
        """End the process that waits, and remove the folder."""
        self._processes.end_idle()
        self._folder.remove()


class CaseRun:
    """A case that runs.

    Attributes:
        task: what it was started for.
    """

    def __init__(self, task: Task, processes: EngineProcesses, cancel_file: Path) -> None:
        self.task = task
        self._started, self._since = datetime.datetime.now(datetime.UTC), time.monotonic()
        self._engine = EngineRun(task.arguments, cancel_file, processes)

    @property
    def progress(self) -> float:
        """0 to 1."""
        return self._engine.progress

    @property
    def has_ended(self) -> bool:
        """Whether there is an outcome."""
        return self._engine.state != "running"

    @property
    def has_died(self) -> bool:
        """Whether its process was ended by others, or memory ran out: it may go well elsewhere, or later."""
        error = self._engine.error
        if error is None or self._engine.cancelling:
            return False
        return self._engine.has_died or error.code in ("memory", "device_memory", "cancelled")

    @property
    def pid(self) -> int:
        """Of the process that it runs in."""
        return self._engine.pid

    def cancel(self) -> None:
        """Ask it to end; it does within about a second."""
        self._engine.cancel()

    def stop(self) -> None:
        """End it, wait for that, and remove what it had begun to write, which it could not where it was killed."""
        self._engine.stop()
        for folder in self.task.folders if self._engine.cancelling else ():
            clear_up(folder)
            with suppress(OSError):  # there is something in it, or it was not made yet
                while folder not in (self.task.output, self.task.output / PAGES):  # which other cases may write to now
                    folder.rmdir()
                    folder = folder.parent if folder.is_relative_to(self.task.output) else self.task.output

    def outcome(self) -> Outcome:
        """What became of it, when it has ended."""
        seconds = round(time.monotonic() - self._since, 2)
        task = self.task
        ran = dataclasses.replace(
            task.expected,
            worker=f"{platform.node()}:{os.getpid()}",
            started=self._started.isoformat(timespec="seconds"),
            seconds=seconds,
        )
        try:
            record = self._engine.record()
            _check_weights(record, task, ran.worker)
            return dataclasses.replace(ran, result=record.as_json(), outputs=_finished(task, record))
        except OSError as error:
            reason = f"{error.filename or task.label_map} cannot be read ({error.strerror})."
            return dataclasses.replace(ran, failure=Failure.of(ExecutionError(reason, "Check the disk.")))
        except BrainTumorSegError as error:
            if self.has_died and error.code == "cancelled":
                error = ExecutionError("The worker was ended from outside.", "Run the same command again.")
            remedy = _DIED if self._engine.has_died else error.remedy
            return dataclasses.replace(ran, failure=Failure(error.code, str(error), remedy))


def _check_weights(record: ResultRecord, task: Task, worker: str) -> None:
    """Refuse what other weights made than those that were asked for: machines may have different ones by one name."""
    model, digest = task.expected.model
    if record.provenance.model.sha256 != digest:
        raise CheckpointError(f"{worker} has other weights of {model}.", "Install the same model everywhere.")


def _finished(task: Task, record: ResultRecord) -> dict[str, str]:
    """Bring what was written to what its layout wants; digests of the files."""
    finish = LAYOUTS[task.layout].finish
    if finish:
        finish(record_path(task.label_map), record.as_json())
    return digests((*task.files, *task.native(record)), task.output)
