"""The engine's process that takes one run after another: what it keeps, and every way it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from BrainTumorSegLib import engine_process, engine_run
from BrainTumorSegLib.domain.errors import ExecutionError, InputError
from BrainTumorSegLib.engine_process import EngineProcesses, Job, processes
from BrainTumorSegLib.models.description import TilingSpec
from BrainTumorSegLib.runner import EngineRun
from Testing.end_to_end.making import make_model, write_case
from Testing.offline import python_path

ROOT = Path(__file__).resolve().parents[2]
PROC = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="asks Linux")
QUICK = ("models", "list")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Slicer's working folder is not the clone; afterwards nothing waits."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("BRAINTUMORSEG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", python_path())
    processes.end_idle()
    yield
    processes.end_idle()


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return write_case(tmp_path / "P1")


def start(tmp_path: Path, *arguments: object) -> EngineRun:
    """A run in a folder of its own."""
    folder = tmp_path / f"run-{time.monotonic_ns()}"
    folder.mkdir()
    return EngineRun([str(argument) for argument in arguments], folder / "cancel")


def do(tmp_path: Path, *arguments: object) -> EngineRun:
    run = start(tmp_path, *arguments)
    run.wait(200)
    return run


def start_slow(tmp_path: Path, case: Path) -> EngineRun:
    """One that would take minutes, at its network."""
    slow = make_model(tmp_path / "slow.safetensors", tiling=TilingSpec((8, 8, 8), 0.9))
    run = start(tmp_path, "segment", case, "-o", tmp_path / "slow.nrrd", "--model", slow, "--device", "cpu")
    wait_until(lambda: run.stage == "predict" or run.state != "running")
    assert run.state == "running", list(run.log)
    return run


def wait_until(happened: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Whether a process has ended: none of ours, and no zombie that its parent has not looked at yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_the_next_run_is_in_the_same_process_with_the_same_result(tmp_path: Path, case: Path) -> None:
    model = make_model(tmp_path / "m.safetensors")
    outputs = [tmp_path / name for name in ("1.nrrd", "2.nrrd")]
    runs = [do(tmp_path, "segment", case, "-o", output, "--model", model, "--device", "cpu") for output in outputs]
    assert [run.state for run in runs] == ["done", "done"]
    assert runs[0].pid == runs[1].pid != os.getpid()
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    first, second = (run.record() for run in runs)
    assert first.measurements == second.measurements and first.warnings == second.warnings
    assert list(runs[0].log) == list(runs[1].log)


def test_a_model_file_that_was_replaced_is_read_anew(tmp_path: Path, case: Path) -> None:
    model, other = make_model(tmp_path / "m.safetensors"), make_model(tmp_path / "n" / "m.safetensors", version="2")
    arguments = ("segment", case, "-o", tmp_path / "out.nrrd", "--device", "cpu", "--model", model)
    first = do(tmp_path, *arguments)
    assert other.stat().st_size == model.stat().st_size
    os.utime(other, ns=(0, model.stat().st_mtime_ns))
    other.replace(model)
    second = do(tmp_path, *arguments)
    assert first.pid == second.pid
    assert [run.record().provenance.model.version for run in (first, second)] == ["1", "2"]
    model.unlink()
    third = do(tmp_path, *arguments)
    assert third.pid == first.pid and "no model" in str(third.error)


def test_exit_codes(tmp_path: Path, case: Path) -> None:
    """A request that is refused harms nothing; after what failed while running another process is taken."""
    done = do(tmp_path, *QUICK)
    refused = do(tmp_path, "segment", tmp_path / "gone", "-o", tmp_path / "out.nii.gz")
    assert (refused.state, type(refused.error)) == ("failed", InputError)
    wrong = do(tmp_path, "models", "no-such-action")
    assert wrong.state == "failed" and "no-such-action" in str(wrong.error)
    again = do(tmp_path, *QUICK)
    assert (done.state, again.state) == ("done", "done")
    assert done.pid == refused.pid == wrong.pid == again.pid


@PROC
def test_a_run_that_failed_takes_its_process_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "sitecustomize.py").write_text("import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (5000, -1))")
    monkeypatch.setenv("PYTHONPATH", python_path(library))
    output, model = tmp_path / "out.nii", make_model(tmp_path / "m.safetensors")
    failed = do(tmp_path, "segment", case, "-o", output, "--model", model, "--device", "cpu")
    assert (failed.state, type(failed.error)) == ("failed", ExecutionError)
    assert "disk" in failed.error.remedy  # type: ignore[union-attr]
    wait_until(lambda: is_gone(failed.pid))
    assert processes.idle is None
    following = do(tmp_path, *QUICK)
    assert following.state == "done" and following.pid != failed.pid


def test_a_killed_process_fails_its_run_alone(tmp_path: Path, case: Path) -> None:
    run = start_slow(tmp_path, case)
    os.kill(run.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    run.wait(30)
    assert run.state == "failed" and "exit code" in str(run.error)
    following = do(tmp_path, *QUICK)
    assert following.state == "done" and following.pid != run.pid


def test_one_that_was_killed_while_it_waited_is_replaced(tmp_path: Path) -> None:
    first = do(tmp_path, *QUICK)
    os.kill(first.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    second = do(tmp_path, *QUICK)
    assert second.state == "done" and second.pid != first.pid


@PROC
def test_one_that_hangs_while_it_waits_is_replaced(tmp_path: Path) -> None:
    first = do(tmp_path, *QUICK)
    os.kill(first.pid, signal.SIGSTOP)
    second = do(tmp_path, *QUICK)
    assert second.state == "done" and second.pid != first.pid
    assert is_gone(first.pid)


def test_after_a_cancel_that_was_heeded_the_process_goes_on(tmp_path: Path, case: Path) -> None:
    run = start_slow(tmp_path, case)
    run.cancel()
    run.wait(30)
    assert run.state == "cancelled"
    following = do(tmp_path, *QUICK)
    time.sleep(engine_run._CANCEL_GRACE_SECONDS)  # when one that had not heeded it would be killed
    assert following.state == "done"
    assert do(tmp_path, *QUICK).pid == following.pid


@PROC
def test_after_a_cancel_that_had_to_kill_another_one_is_taken(tmp_path: Path, case: Path) -> None:
    run = start_slow(tmp_path, case)
    os.kill(run.pid, signal.SIGSTOP)
    run.cancel()
    run.wait(30)
    assert run.state == "cancelled" and is_gone(run.pid)
    following = do(tmp_path, *QUICK)
    assert following.state == "done" and following.pid != run.pid


@PROC
def test_a_signal_ends_run_and_process(tmp_path: Path, case: Path) -> None:
    run = start_slow(tmp_path, case)
    os.kill(run.pid, signal.SIGTERM)
    run.wait(30)
    assert run.state == "cancelled" and not (tmp_path / "slow.nrrd").exists()
    wait_until(lambda: is_gone(run.pid), 30)
    waiting = do(tmp_path, *QUICK)
    os.kill(waiting.pid, signal.SIGTERM)
    wait_until(lambda: is_gone(waiting.pid), 30)
    assert do(tmp_path, *QUICK).state == "done"


@PROC
def test_it_ends_when_it_has_waited_long_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = EngineProcesses(idle_seconds=0.5)
    monkeypatch.setattr(engine_run, "processes", own)
    first = do(tmp_path, *QUICK)
    wait_until(lambda: is_gone(first.pid), 30)
    second = do(tmp_path, *QUICK)
    assert second.state == "done" and second.pid != first.pid
    own.end_idle()


@PROC
def test_it_can_be_ended(tmp_path: Path) -> None:
    run = do(tmp_path, *QUICK)
    assert not is_gone(run.pid)
    processes.end_idle()
    assert is_gone(run.pid)
    processes.end_idle()  # there is none


@PROC
@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), 9)", "pass"])
def test_it_ends_with_its_parent(tmp_path: Path, end: str) -> None:
    program = (
        "import os, pathlib, sys; from BrainTumorSegLib.runner import EngineRun; "
        "run = EngineRun(['models', 'list'], pathlib.Path(sys.argv[1]) / 'cancel'); run.wait(100); "
        f"print(run.pid, run.state, flush=True); {end}"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    path = {**os.environ, "PYTHONPATH": python_path(ROOT)}
    done = subprocess.run(command, env=path, stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    pid, state = done.stdout.split()
    assert state == "done"
    wait_until(lambda: is_gone(int(pid)), 10)


@PROC
def test_another_environment_is_for_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = do(tmp_path, *QUICK)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    second = do(tmp_path, *QUICK)
    assert second.pid != first.pid and is_gone(first.pid)
    assert b"OMP_NUM_THREADS=2" in Path(f"/proc/{second.pid}/environ").read_bytes()


@PROC
def test_of_two_at_once_one_waits_afterwards(tmp_path: Path) -> None:
    runs = [start(tmp_path, *QUICK) for _ in range(2)]
    for run in runs:
        run.wait(100)
    assert [run.state for run in runs] == ["done", "done"] and runs[0].pid != runs[1].pid
    assert processes.idle is not None
    wait_until(lambda: sum(is_gone(run.pid) for run in runs) == 1, 10)


@PROC
def test_while_it_waits_it_is_in_no_folder_of_a_run(tmp_path: Path) -> None:
    run = do(tmp_path, *QUICK)
    assert Path(f"/proc/{run.pid}/cwd").readlink() == Path("/")
    for folder in tmp_path.glob("run-*"):
        folder.rmdir()
    assert do(tmp_path, *QUICK).pid == run.pid


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ExecutionError, match="no folder"):
        EngineRun(QUICK, tmp_path / "gone" / "cancel")


def at_start(folder: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Code that each engine process runs before anything else, as a library's might."""
    library = folder / "library"
    library.mkdir()
    (library / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", python_path(library))


def test_what_libraries_print_breaks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text without an end of line, past Python, on both streams, all the time."""
    at_start(
        tmp_path,
        monkeypatch,
        "import os, threading, time\n"
        "def print_on():\n"
        "    while True:\n"
        "        os.write(1, b'{\"result\": 5} half a line'); os.write(2, b'another'); time.sleep(0.001)\n"
        "os.write(1, b'at the start')\n"
        "threading.Thread(target=print_on, daemon=True).start()\n",
    )
    runs = [do(tmp_path, *QUICK) for _ in range(3)]
    assert [run.state for run in runs] == ["done"] * 3
    assert len({run.pid for run in runs}) == 1
    assert "at the start" in "".join(runs[0].log)
    assert "half a line" in "".join(runs[1].log)


def test_an_answer_between_what_libraries_print_is_heard() -> None:
    """On one line: no more would be heard of a run whose end is not understood, and it would never end."""
    heard: list[str] = []
    job = Job(["models"], Path("cancel"), dict.fromkeys(("stdout", "stderr"), heard.append))
    answer = json.dumps({"job": json.loads(job.request)["job"], "exit": 0, "stays": True})
    for stream in ("stdout", "stderr"):
        assert not job.is_complete
        found = job.hear(stream, f"before{answer}behind")
        assert found is not None and found["exit"] == 0
    assert job.is_complete and heard == ["before", "behind"] * 2


def test_warnings_are_in_the_log_of_each_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python itself shows one once a process."""
    at_start(
        tmp_path,
        monkeypatch,
        "import warnings, BrainTumorSegLib.commands.models as m\n"
        "def run(*given, before=m.run):\n"
        "    warnings.warn('heed this')\n"
        "    return before(*given)\n"
        "m.run = run\n",
    )
    for run in [do(tmp_path, *QUICK) for _ in range(2)]:
        assert "heed this" in "".join(run.log)


@PROC
def test_a_launcher_may_stand_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: Path) -> None:
    """PythonSlicer starts Python as a child of its own: what is killed is the launcher."""
    launcher = tmp_path / "PythonSlicer"
    launcher.write_text(f'#!/bin/sh\n"{sys.executable}" "$@"\nexit $?\n')
    launcher.chmod(0o755)
    monkeypatch.setattr(engine_process, "interpreter", lambda: str(launcher))
    assert do(tmp_path, *QUICK).pid == do(tmp_path, *QUICK).pid
    run = start_slow(tmp_path, case)
    os.kill(run.pid, signal.SIGKILL)
    run.wait(30)
    assert run.state != "done" and not (tmp_path / "slow.nrrd").exists()
    following = do(tmp_path, *QUICK)
    assert following.state == "done" and following.pid != run.pid


@PROC
def test_many_runs_leave_nothing_behind(tmp_path: Path, case: Path) -> None:
    def held(pid: int | str, what: str) -> int:
        return len(list(Path(f"/proc/{pid}/{what}").iterdir()))

    def own_megabytes(pid: int) -> float:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))

    model = make_model(tmp_path / "m.safetensors")
    pid, sizes, ours, memory = 0, [], [], []
    for number in range(20):
        output = tmp_path / f"{number}.nrrd"
        run = do(tmp_path, "segment", case, "-o", output, "--model", model, "--device", "cpu")
        assert run.state == "done" and pid in (0, run.pid)
        pid = run.pid
        sizes.append((held(pid, "fd"), held(pid, "task")))
        memory.append(own_megabytes(pid))
        ours.append((held("self", "fd"), held("self", "task")))
    assert sizes[-1] == sizes[2] and ours[-1] == ours[2]
    assert memory[-1] < memory[10] + 10
    assert engine_process.processes.idle is not None
