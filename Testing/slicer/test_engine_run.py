"""The engine as the panel runs it: a child process of another folder, with progress, errors and cancel."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from BrainTumorSegLib import engine_process, runner
from BrainTumorSegLib.domain.errors import BrainTumorSegError, CancelledError, CheckpointError, ExecutionError
from BrainTumorSegLib.models.description import TilingSpec
from Testing.end_to_end.making import make_model, write_case
from Testing.offline import python_path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slicer's working folder is not the clone, and its user's folder not that of the person who tests."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("BRAINTUMORSEG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", python_path())


@pytest.fixture
def case(tmp_path: Path) -> Path:
    return write_case(tmp_path / "P1")


def start(tmp_path: Path, *arguments: object) -> runner.EngineRun:
    return runner.EngineRun([str(argument) for argument in arguments], tmp_path / "cancel")


def wait_for(run: runner.EngineRun, stage: str) -> None:
    until = time.monotonic() + 120
    while run.stage != stage and run.state == "running":
        assert time.monotonic() < until, f"no stage {stage}: {list(run.log)}"
        time.sleep(0.02)


def test_gives_the_result_of_the_command_line(tmp_path: Path, case: Path) -> None:
    model, output = make_model(tmp_path / "m.safetensors"), tmp_path / "out.nrrd"
    run = start(tmp_path, "segment", case, "-o", output, "--model", model, "--device", "cpu")
    run.wait(200)
    assert (run.state, run.error) == ("done", None)
    answer = run.answer()
    assert answer["output"] == str(output)
    assert set(answer["measurements"]) == {"ET", "TC", "WT"}
    assert output.is_file()
    assert run.stage == "write"
    assert run.progress > 0.9


def test_a_refused_request_keeps_its_remedy(tmp_path: Path) -> None:
    output = tmp_path / "out.nii.gz"
    run = start(tmp_path, "segment", "--t1", tmp_path / "gone.nii.gz", "-o", output, "--model", "no-such")
    run.wait(120)
    assert run.state == "failed"
    assert isinstance(run.error, CheckpointError)
    assert "no-such" in str(run.error)
    assert run.error.remedy
    with pytest.raises(BrainTumorSegError, match="no-such"):
        run.answer()
    assert not output.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="the launcher is a script")
def test_cancel_reaches_through_a_launcher(tmp_path: Path, case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Slicer's own Python is one: it is killed, and its child, which hangs, would go on."""
    launcher = tmp_path / "python-launcher"
    lines = (
        f"#!{sys.executable}",
        "import subprocess, sys",
        f"sys.exit(subprocess.call([{sys.executable!r}, *sys.argv[1:]]))",
    )
    launcher.write_text("\n".join(lines))
    launcher.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(launcher))
    slow = make_model(tmp_path / "slow.safetensors", tiling=TilingSpec((8, 8, 8), 0.9))
    run = start(tmp_path, "segment", case, "-o", tmp_path / "out.nrrd", "--model", slow, "--device", "cpu")
    wait_for(run, "predict")
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children")
    child = int(children.read_text().split()[0])
    os.kill(child, signal.SIGSTOP)
    started = time.monotonic()
    run.cancel()
    run.wait(10)
    assert run.state == "cancelled"
    assert time.monotonic() - started < 10
    with pytest.raises(ProcessLookupError):
        for _ in range(50):  # whoever took it over has yet to notice
            os.kill(child, 0)
            if "Z" in Path(f"/proc/{child}/stat").read_text().rpartition(")")[2][:3]:
                raise ProcessLookupError
            time.sleep(0.02)


def test_cancel_ends_it_and_leaves_nothing(tmp_path: Path, case: Path) -> None:
    slow = make_model(tmp_path / "slow.safetensors", tiling=TilingSpec((8, 8, 8), 0.9))
    run = start(tmp_path, "segment", case, "-o", tmp_path / "out.nrrd", "--model", slow, "--device", "cpu")
    wait_for(run, "predict")
    assert run.state == "running"
    with pytest.raises(RuntimeError, match="not ended"):
        run.answer()
    run.cancel()
    run.wait(30)
    assert run.state == "cancelled"
    assert isinstance(run.error, CancelledError)
    assert not (tmp_path / "out.nrrd").exists()


def test_a_killed_engine_is_a_failure_with_its_last_words(tmp_path: Path, case: Path) -> None:
    slow = make_model(tmp_path / "slow.safetensors", tiling=TilingSpec((8, 8, 8), 0.9))
    run = start(tmp_path, "segment", case, "-o", tmp_path / "out.nrrd", "--model", slow, "--device", "cpu")
    wait_for(run, "predict")
    os.kill(run.pid, signal.SIGKILL)
    run.wait(30)
    assert run.state == "failed"
    assert "exit code" in str(run.error)
    assert run.error is not None
    assert run.error.remedy


def test_other_lines_go_to_the_log(tmp_path: Path) -> None:
    run = start(tmp_path, "models", "list")
    run.wait(120)
    for line in ("a warning", "[1, 2]", '{"stage": "read", "fraction": 0.25, "message": "Reading"}', '{"error"'):
        run._take(line)
    assert (run.stage, run.progress, run.message) == ("read", 0.25, "Reading")
    assert list(run.log)[-3:] == ["a warning", "[1, 2]", '{"error"']


def test_the_imported_library_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    import BrainTumorSegLib

    folder = str(Path(BrainTumorSegLib.__file__).parents[1])
    monkeypatch.delenv("PYTHONPATH")
    assert engine_process.environment()["PYTHONPATH"] == folder
    monkeypatch.setenv("PYTHONPATH", "theirs")
    assert engine_process.environment()["PYTHONPATH"] == f"{folder}{os.pathsep}theirs"


def test_interpreter_of_an_application_that_is_no_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "SlicerApp-real"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExecutionError, match="No Python"):
        engine_process.interpreter()
    suffix = ".exe" if os.name == "nt" else ""
    program = tmp_path / f"PythonSlicer{suffix}"
    program.touch(mode=0o755)
    assert Path(engine_process.interpreter()) == program


def test_a_module_in_the_current_folder_is_not_run(tmp_path: Path, case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nibabel", "numpy", "sitecustomize"):
        (tmp_path / "elsewhere" / f"{name}.py").write_text(f"open({str(tmp_path / name)!r}, 'w')")
    monkeypatch.setenv("PYTHONPATH", python_path("", ""))  # as a shell's line leaves it: the current folder, twice
    model = make_model(tmp_path / "m.safetensors")
    run = start(tmp_path, "segment", case, "-o", tmp_path / "out.nii.gz", "--model", model)
    run.wait(200)
    assert run.state == "done", list(run.log)
    assert not [name for name in ("nibabel", "numpy", "sitecustomize") if (tmp_path / name).exists()]


def test_lines_that_are_no_progress_end_nothing(tmp_path: Path) -> None:
    run = start(tmp_path, "models", "list")
    run.wait(120)
    before = run.stage, run.progress, run.message, run.answer()
    lines = [
        '{"stage": "x"}',
        '{"stage": "x", "fraction": "half", "message": ""}',
        '{"stage": "x", "fraction": 1%s, "message": ""}' % ("0" * 400),
        '{"stage": "x", "fraction": NaN, "message": ""}',
        '{"stage": "x", "fraction": null, "message": null}',
        "[" * 100_000,
        '{"result": 5}',
        '{"something": "else"}',
    ]
    for line in lines:
        run._take(line)
    assert (run.stage, run.progress, run.message, run.answer()) == before and list(run.log)[-len(lines) :] == lines


def test_what_is_printed_on_stderr_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "library").mkdir()
    forged = '{"result": {"output": "forged"}}'
    (tmp_path / "library" / "sitecustomize.py").write_text(
        f"import sys; print({forged!r}, file=sys.stderr, flush=True)"
    )
    monkeypatch.setenv("PYTHONPATH", python_path(tmp_path / "library"))
    run = start(tmp_path, "models", "list")
    run.wait(120)
    assert run.state == "done" and forged in run.log
    assert "models" in run.answer()
