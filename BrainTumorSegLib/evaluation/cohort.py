"""Many pairs, several at a time; one that cannot be compared does not keep the others from it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from ..domain.errors import BrainTumorSegError, CancelledError, ExecutionError
from ..domain.progress import Progress
from .pairs import compare_files
from .results import CaseResult, Evaluation, Settings

POLL_SECONDS = 0.2

Outcome = CaseResult | BrainTumorSegError
Pairs = Mapping[str, tuple[Path, Path]]


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
        progress: told of each case; its cancellation ends the run.

    Returns:
        Results and failures; a failed case is no exception.

    Raises:
        CancelledError: cancelled through ``progress``.
        ExecutionError: a process ended by itself, as when memory runs out.
    """
    settings, progress = settings or Settings(), progress or Progress()
    outcomes: dict[str, Outcome] = {}
    steps = _here if min(jobs, len(pairs)) <= 1 else _in_processes

    def report(message: str) -> None:
        share = len(outcomes) / len(pairs)
        progress.report("evaluate", share, message)

    report(f"Comparing {len(pairs)} case{'s' * (len(pairs) != 1)}")
    for step in steps(pairs, settings, jobs):
        if step is not None:
            outcomes[step[0]] = step[1]
        report(f"Compared {len(outcomes)} of {len(pairs)}{f' ({step[0]})' if step else ''}")
    found = {case: outcomes[case] for case in pairs}
    return Evaluation(
        settings,
        {case: outcome for case, outcome in found.items() if isinstance(outcome, CaseResult)},
        {case: outcome for case, outcome in found.items() if isinstance(outcome, BrainTumorSegError)},
        title,
    )


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


def _here(pairs: Pairs, settings: Settings, jobs: int) -> Iterator[tuple[str, Outcome]]:
    for case, (prediction, reference) in pairs.items():
        yield case, _compare(case, prediction, reference, settings)


def _in_processes(pairs: Pairs, settings: Settings, jobs: int) -> Iterator[tuple[str, Outcome] | None]:
    """Outcomes as they come, and None while there is none, so that a cancel is noticed."""
    with _pool(min(jobs, len(pairs))) as pool:
        pending: dict[Future[Outcome], str] = {
            pool.submit(_compare, case, prediction, reference, settings): case
            for case, (prediction, reference) in pairs.items()
        }
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
