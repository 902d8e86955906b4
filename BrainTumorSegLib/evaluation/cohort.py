"""Many pairs, several at a time; one that cannot be compared does not keep the others from it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from ..domain.errors import BrainTumorSegError, CancelledError, ExecutionError
from ..domain.progress import Progress
from .pairs import compare_files, values_of, with_conventions, with_regions
from .results import CaseResult, Evaluation, Settings

POLL_SECONDS = 0.2
# Of a run that reads all label maps first, to decide how to read them.
SHARE_OF_READING = 0.15

Outcome = CaseResult | BrainTumorSegError
Pairs = Mapping[str, tuple[Path, Path]]
T = TypeVar("T")


def evaluate_pairs(
    pairs: Pairs,
    settings: Settings | None = None,
    *,
    jobs: int = 1,
    title: str = "",
    progress: Progress | None = None,
) -> Evaluation:
    """Compare the files of many cases.

    Args:
        pairs: case id → files of prediction and reference, as from :func:`~.matching.match`.
        settings: how to measure.
        jobs: processes; 1 works in this one.
        title: name of the method.
        progress: hears of each case; its cancellation ends the run.

    Returns:
        Results and failures; a failed case is no exception. Its settings name the label conventions that were decided
        over all files.

    Raises:
        CancelledError: cancelled through ``progress``.
        InputError: the labels of the predictions, or of the references, can be read in two ways, or there is no region
            that both can tell.
        ExecutionError: a process ended by itself, as when memory runs out.
    """
    settings, progress = settings or Settings(), progress or Progress()
    if pairs:
        settings = with_regions(settings, *zip(*pairs.values(), strict=True))
    if "auto" in (settings.prediction_labels, settings.reference_labels):
        settings = _decided(pairs, settings, jobs, progress.part(0.0, SHARE_OF_READING))
        progress = progress.part(SHARE_OF_READING, 1.0)
    tasks = {case: (case, *files, settings) for case, files in pairs.items()}
    found = _outcomes(_compare, tasks, jobs, progress, ("Comparing", "Compared", "case"))
    return Evaluation(
        settings,
        {case: outcome for case, outcome in found.items() if isinstance(outcome, CaseResult)},
        {case: outcome for case, outcome in found.items() if isinstance(outcome, BrainTumorSegError)},
        title,
    )


def _decided(pairs: Pairs, settings: Settings, jobs: int, progress: Progress) -> Settings:
    """Settings with one label convention for all predictions, and one for all references."""
    asked = settings.prediction_labels, settings.reference_labels
    paths = {
        str(path): (path,) for pair in pairs.values() for path, name in zip(pair, asked, strict=True) if name == "auto"
    }
    read = _outcomes(_values, paths, jobs, progress, ("Reading", "Read", "label map"))
    found = {name: values for name, values in read.items() if values is not None}
    sides = [
        {str(path): found[str(path)] for path in side if str(path) in found}
        for side in zip(*pairs.values(), strict=True)
    ]
    return with_conventions(settings, sides[0], sides[1])


def _values(path: Path) -> frozenset[int] | None:
    """Values of a label map, or None for what is none: comparing it will say why."""
    try:
        return values_of(path)
    except CancelledError:
        raise
    except (BrainTumorSegError, MemoryError):
        return None


def _outcomes(
    task: Callable[..., T],
    tasks: Mapping[str, tuple[Any, ...]],
    jobs: int,
    progress: Progress,
    words: tuple[str, str, str],
) -> dict[str, T]:
    """What a task gives for each of the arguments, in their order; words: what is being done, was done, and to what."""
    outcomes: dict[str, T] = {}
    doing, done, what = words

    def report(message: str) -> None:
        progress.report("evaluate", len(outcomes) / max(len(tasks), 1), message)

    report(f"{doing} {len(tasks)} {what}{'s' * (len(tasks) != 1)}")
    steps = _here if min(jobs, len(tasks)) <= 1 else _in_processes
    for step in steps(task, tasks, jobs):
        if step is not None:
            outcomes[step[0]] = step[1]
        report(f"{done} {len(outcomes)} of {len(tasks)}{f' ({Path(step[0]).name})' if step else ''}")
    return {name: outcomes[name] for name in tasks}


def _compare(case: str, prediction: Path, reference: Path, settings: Settings) -> Outcome:
    """A result, or what kept the case from having one."""
    try:
        return compare_files(prediction, reference, settings, case=case)
    except CancelledError:
        raise
    except BrainTumorSegError as error:
        return error
    except MemoryError:
        return ExecutionError(f"Memory ran out over {prediction}.", "Use fewer --jobs, or close other programs.")


def _here(task: Callable[..., T], tasks: Mapping[str, tuple[Any, ...]], jobs: int) -> Iterator[tuple[str, T]]:
    for name, arguments in tasks.items():
        yield name, task(*arguments)


def _in_processes(
    task: Callable[..., T], tasks: Mapping[str, tuple[Any, ...]], jobs: int
) -> Iterator[tuple[str, T] | None]:
    """Outcomes as they come, and None while there is none, so that a cancel is noticed."""
    with _pool(min(jobs, len(tasks))) as pool:
        pending: dict[Future[T], str] = {pool.submit(task, *arguments): name for name, arguments in tasks.items()}
        while pending:
            done, _ = wait(pending, POLL_SECONDS, FIRST_COMPLETED)
            if not done:
                yield None
            for future in done:
                try:
                    yield pending.pop(future), future.result()
                except BrokenProcessPool as error:
                    raise ExecutionError(
                        "A process of this run ended by itself; memory may have run out.", "Use fewer --jobs."
                    ) from error


@contextmanager
def _pool(size: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that are started anew everywhere alike, and ended at once when the run does not end well."""
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(size, multiprocessing.get_context("spawn"), initializer=_begin)
    try:
        yield pool
    except BaseException:  # also cancel and Ctrl-C, which must not wait for the cases under way
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Leave Ctrl-C to the process that started this one, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # nothing was begun that needs an end


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
