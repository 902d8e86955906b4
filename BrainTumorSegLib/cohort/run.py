"""A cohort's run: what is to be done, what is done already, and the rest of it, whatever a single case does."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .. import __version__
from ..domain.errors import BrainTumorSegError, DeviceError, ExecutionError, OutputError, RequestError
from ..domain.options import RunOptions
from ..domain.progress import Progress
from ..domain.result_record import record_path
from ..io.case_folder import CaseFiles
from ..io.outputs import check_derived
from ..models.checkpoint_file import Checkpoint
from .case_run import Task
from .claim import Claim
from .discovery import Cohort
from .layouts import LAYOUTS, PAGES
from .local import Ended, Workers
from .outcome import Failure, Outcome, read_outcome, stamps

# A case whose worker died is tried so often.
_ATTEMPTS = 2
# Less room than this is none: a label map with its record and page takes some two.
LEAST_ROOM = 32 << 20
_TICK_SECONDS = 0.1

# Hears of every outcome: the outcome, and whether it is one of before.
Listener = Callable[[Outcome, bool], None]


@dataclass(frozen=True)
class Request:
    """How a cohort is run.

    Attributes:
        output: folder of the results.
        layout: key in :data:`.LAYOUTS`.
        options: of each case; ``probabilities`` and ``preprocessed`` are folders that get one a case.
        pages: whether each case gets a report.
        force: whether cases that are done are done again.
    """

    output: Path
    layout: str
    options: RunOptions
    pages: bool = False
    force: bool = False


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes:
        tasks: the cases to be run.
        done: the outcomes of before that stand.
        failed: of cases that cannot be run.
    """

    tasks: tuple[Task, ...]
    done: tuple[Outcome, ...]
    failed: tuple[Outcome, ...]


def plan(cohort: Cohort, request: Request, checkpoint: Checkpoint) -> Plan:
    """What is to be done of a cohort, and what is done already.

    A case is done where its outcome says so, its results are there, and its images, the model's weights and the
    options are the same. One whose results would replace files of others, another patient's result or a mended one
    cannot be run.
    """
    tasks, done, failed = [], [], []
    taken: dict[Path, str] = {}
    for case in cohort.cases:
        task = _task(case, case.problem, request, checkpoint)
        other = taken.setdefault(task.label_map, case.id)
        if other != case.id and not case.problem:  # BIDS knows letters alone
            task = _task(case, f"Its result would be called as that of {other}", request, checkpoint)
        if task.expected.failure.code:
            failed.append(task.expected)
            continue
        before = read_outcome(task.output, case.id)
        known = before if before and not request.force else None
        stands = known and known.stands_for(task.expected, task.output) and _has_all(task, request, checkpoint)
        try:
            _check_free(task, before)
            if known and not stands:
                _check_replaceable(task, known)
        except OutputError as error:
            failed.append(dataclasses.replace(task.expected, attempts=0, failure=Failure.of(error)))
            continue
        if known and stands:
            done.append(known)
        else:
            tasks.append(task)
    return Plan(tuple(tasks), tuple(done), tuple(failed))


def _check_replaceable(task: Task, before: Outcome) -> None:
    """Refuse to replace the result of another patient, or one that somebody has mended since.

    Raises:
        OutputError: with the file named.
    """
    remedy = "Choose another output folder, or give --force to replace it."
    if before.is_of_others(task.expected):
        raise OutputError(f"{task.label_map} is the result of other images: {next(iter(before.inputs))}.", remedy)
    if before.was_mended(task.label_map, task.output):
        raise OutputError(f"{task.label_map} was changed since it was made.", remedy)


def _check_free(task: Task, before: Outcome | None) -> None:
    """Refuse to replace what no earlier run wrote: nobody typed the names.

    Raises:
        OutputError: with the file named.
    """
    known = before.outputs if before else {}
    for file in task.files:
        if file.relative_to(task.output).as_posix() not in known:
            check_derived(file, record_path(task.label_map))


def _has_all(task: Task, request: Request, checkpoint: Checkpoint) -> bool:
    """Whether page, maps and images are there, which an earlier run may not have been asked for."""
    maps, images = _folders(request.options, task.case)
    wanted = (maps if checkpoint.description.regions else None, images)  # labels of a model's own have no maps
    folders = [folder for folder in wanted if folder]
    filled = (folder.is_dir() and any(path.name[0] != "." for path in folder.iterdir()) for folder in folders)
    return (not task.page or (task.output / task.page).is_file()) and all(filled)


def _folders(options: RunOptions, case: str) -> tuple[Path | None, Path | None]:
    """Of a case's probability maps, and of its preprocessed images, where they were asked for."""
    maps, images = options.probabilities, options.preprocessed
    return maps and maps.absolute() / case, images and images.absolute() / case


def _task(case: CaseFiles, problem: str, request: Request, checkpoint: Checkpoint) -> Task:
    options, d = request.options, checkpoint.description
    named = dataclasses.replace(options, model=d.id, probabilities=None, preprocessed=None, report=None)
    expected = Outcome(
        case.id, model=(d.id, checkpoint.digest), options=tuple(named.arguments()), attempts=1, version=__version__
    )
    try:
        if problem:
            raise RequestError(f"{problem.rstrip('.')}.", "Mend it, and run the same command again.")
        expected = dataclasses.replace(expected, inputs=stamps(case))
    except BrainTumorSegError as error:
        expected = dataclasses.replace(expected, attempts=0, failure=Failure.of(error))
    model = Path(options.model)
    maps, images = _folders(options, case.id)
    own = dataclasses.replace(
        options,
        model=str(model.absolute()) if model.is_file() else options.model,
        probabilities=maps,
        preprocessed=images,
        report=None,
    )
    folder = request.output.absolute() / LAYOUTS[request.layout].inner
    page = f"{PAGES}/{case.id}.html" if request.pages else ""
    study = case.study.label if case.study else ""
    return Task(tuple(case.arguments), tuple(own.arguments()), folder, request.layout, page, expected, study)


class CohortRun:
    """Carries out a plan.

    Attributes:
        outcomes: case → what became of it, those of before among them.
    """

    def __init__(self, planned: Plan, output: Path, listener: Listener) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self._output, self._listener = output, listener
        self._waiting = deque(planned.tasks)
        self._total = len(planned.tasks) + len(planned.done) + len(planned.failed)
        self._ended = 0
        self._said = ("", 0.0)
        self._since = time.monotonic()
        for outcome in planned.done:
            self._take(outcome, is_old=True)
        for outcome in planned.failed:
            before = read_outcome(output, outcome.case)
            if not (before and before.is_done):  # what is known of a result stays with it
                self._place(outcome)
            self._take(outcome)

    @property
    def failed(self) -> Mapping[str, Outcome]:
        """Case → outcome of those without a result."""
        return {case: outcome for case, outcome in self.outcomes.items() if not outcome.is_done}

    def work(self, workers: Workers, claim: Claim, progress: Progress) -> None:
        """Run all cases; the workers are closed at the end, whatever that is.

        Raises:
            CancelledError: through ``progress``.
            DeviceError: there is no such device or backend.
            ExecutionError: the disk is full.
        """
        try:
            while self._waiting or workers.under_way:
                while self._waiting and workers.free:
                    self._check_room()
                    workers.start(self._waiting.popleft().in_run(claim.path.stem))
                for ended in workers.wait(_TICK_SECONDS):
                    self._hear(ended)
                claim.beat()
                self._report(workers, progress)
        finally:
            workers.close()
            with suppress(OSError):  # there are pages, or none were asked for
                (self._output / PAGES).rmdir()

    def _hear(self, ended: Ended) -> None:
        """A case has ended: it is tried once more where its worker died, and else written down.

        Raises:
            DeviceError: the first case finds no such device or backend, and so would all.
        """
        outcome = ended.outcome
        if outcome.failure.code == DeviceError.code and not self._ended:
            raise outcome.failure.error
        if ended.is_lost and outcome.attempts < _ATTEMPTS:
            self._waiting.append(ended.task.again())
            return
        if outcome.failure.code == "cancelled":
            return
        if not ended.is_written:
            self._place(outcome)
        self._ended += 1
        self._take(outcome)

    def _take(self, outcome: Outcome, *, is_old: bool = False) -> None:
        self.outcomes[outcome.case] = outcome
        self._listener(outcome, is_old)

    def _place(self, outcome: Outcome) -> None:
        try:
            outcome.write(self._output)
        except (OSError, BrainTumorSegError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ExecutionError(
                f"The outcome of {outcome.case} cannot be written to {self._output} ({reason}).", _RESUME
            ) from error

    def _check_room(self) -> None:
        room = shutil.disk_usage(self._output).free
        if room < LEAST_ROOM:
            raise ExecutionError(f"The disk of {self._output} is full: {room >> 20} MB are free.", _RESUME)

    def _report(self, workers: Workers, progress: Progress) -> None:
        """How far it is, and when it will have ended, by how long cases took so far."""
        under_way, waits_for = workers.progress, workers.waits_for
        finished = len(self.outcomes)
        failed = f", {len(self.failed)} failed" if self.failed else ""
        left = self._total - finished - under_way
        remaining = left * (time.monotonic() - self._since) / self._ended if self._ended else None
        time_left = f", about {spoken_time(remaining)} left" if remaining is not None and left else ""
        doing = f"waiting for {waits_for}" if waits_for else workers.doing
        message = f"{finished} of {self._total} cases{failed}{time_left}" + (f": {doing}" if doing else "")
        share = (finished + under_way) / self._total
        if progress.cancelled.is_set() or (message, round(share, 3)) != self._said:
            self._said = message, round(share, 3)
            progress.report(f"waiting for {waits_for}" if waits_for else f"case {finished + 1}", share, message)


_RESUME = "Make room, and run the same command again: it goes on where it ended."


def spoken_time(seconds: float) -> str:
    """A duration in words, as exact as an estimate is."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
