"""Many patients at once: what is written, what a bad one does, and how a run that was ended goes on."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .making import CASES, Cli, write_case


@pytest.fixture(scope="module")
def whole(root: Path, cli: Cli, model: Path) -> Path:
    """The results of a run that nothing disturbed."""
    output = root.parent / "whole"
    done = cli("batch", root, "-o", output, "--workers", 2, "--model", model, "--report")
    assert done.returncode == 0, done.stderr
    return output


def start(environment: dict[str, str], *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "BrainTumorSegLib.cli", "batch", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(happened: Callable[[], object], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until
        time.sleep(0.01)


def rows(file: Path) -> dict[str, dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return {row["case"]: row for row in csv.DictReader(stream)}


def outcomes(output: Path) -> dict[str, dict]:
    files = (output / "outcomes").glob("[!.]*.json")  # none that is being written
    return {file.stem: json.loads(file.read_text()) for file in files}


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_results_tables_and_pages(whole: Path) -> None:
    table = rows(whole / "results.csv")
    assert list(table) == list(CASES) and rows(whole / "failures.csv") == {}
    for name, row in table.items():
        record = json.loads((whole / f"{name}.json").read_text())
        assert record["case"] == name and record["provenance"]["model"]["sha256"] == row["model_sha256"]
        assert float(row["TC_volume_ml"]) == record["measurements"]["TC"]["volume_ml"] > 0
        assert (whole / row["label_map"]).is_file() and len(row["sha256"]) == 64
        assert (whole / "reports" / f"{name}.html").is_file()
    assert not (whole / ".running").exists()


def test_a_finished_run_has_nothing_to_do(whole: Path, root: Path, cli: Cli, model: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.glob("*.nii.gz")}
    done = cli("batch", root, "-o", whole, "--model", model, "--report", "--progress", "json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["result"]["before"] == len(CASES) and done.returncode == 0
    assert [line["case"]["before"] for line in lines if "case" in line] == [True] * len(CASES)
    assert before == {path: path.stat().st_mtime_ns for path in whole.glob("*.nii.gz")}


def test_what_has_changed_is_done_again(whole: Path, root: Path, cli: Cli, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    shutil.copytree(whole, output)
    os.utime(root / "P1" / "P1_t1.nii.gz")
    (output / "P2.nii.gz").unlink()
    before = outcomes(output)
    assert "2 of 4 cases would be run" in cli("batch", root, "-o", output, "--model", model, "--dry-run").stdout
    assert cli("batch", root, "-o", output, "--model", model).returncode == 0
    again = {name for name, outcome in outcomes(output).items() if outcome != before[name]}
    assert again == {"P1", "P2"}
    other = cli("batch", root, "-o", output, "--model", model, "--labels", "brats2021", "--dry-run")
    assert "4 of 4 cases would be run" in other.stdout


def test_bad_cases_are_named_and_the_rest_goes_on(root: Path, cli: Cli, model: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    shutil.copytree(root / "P0", study / "P0")
    write_case(study / "cut").joinpath("cut_t2.nii.gz").write_bytes(b"no image")
    write_case(study / "lacking").joinpath("lacking_t2.nii.gz").unlink()
    twice = write_case(study / "twice")
    shutil.copyfile(twice / "twice_t1ce.nii.gz", twice / "twice_t1gd.nii.gz")
    done = cli("batch", study, "-o", tmp_path / "out", "--model", model)
    assert done.returncode == 1 and "3 of 4 cases failed" in done.stderr
    failures = rows(tmp_path / "out" / "failures.csv")
    assert {name: row["code"] for name, row in failures.items()} == {
        "cut": "input",
        "lacking": "modality",
        "twice": "request",
    }
    assert all(row["remedy"] for row in failures.values())
    assert list(rows(tmp_path / "out" / "results.csv")) == ["P0"]
    shutil.copyfile(study / "P0" / "P0_t2.nii.gz", study / "lacking" / "lacking_t2.nii.gz")
    done = cli("batch", study, "-o", tmp_path / "out", "--model", model)
    assert done.returncode == 1 and "2 of 4 cases failed" in done.stderr


def test_what_others_made_stays(root: Path, cli: Cli, model: Path, tmp_path: Path) -> None:
    study, experts = tmp_path / "study", tmp_path / "experts"
    for name in ("P0", "P1"):
        shutil.copytree(root / name, study / name)
    experts.mkdir()
    for name in ("P0.nii.gz", "results.csv"):
        (experts / name).write_bytes(b"an expert's")
    refused = cli("batch", study, "-o", experts, "--model", model)
    assert refused.returncode == 2 and "results.csv is there already" in refused.stderr
    assert {path.name for path in experts.iterdir()} == {"P0.nii.gz", "results.csv"}
    (experts / "results.csv").unlink()
    for _ in range(2):  # our own tables are replaced
        done = cli("batch", study, "-o", experts, "--model", model)
        assert done.returncode == 1 and "P0.nii.gz is there already" in done.stderr
        assert (experts / "P0.nii.gz").read_bytes() == b"an expert's" and not (experts / "P0.json").exists()
        assert list(rows(experts / "results.csv")) == ["P1"]


def test_killed_in_the_middle_and_resumed(
    whole: Path, root: Path, cli: Cli, model: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    run = start(environment, root, "-o", output, "--workers", 1, "--model", model)
    wait_until(lambda: list(output.glob("outcomes/[!.]*.json")))
    run.kill()
    run.communicate()
    first = outcomes(output)
    assert len(first) > 0
    done = cli("batch", root, "-o", output, "--workers", 1, "--model", model)
    assert done.returncode == 0, done.stderr
    second = outcomes(output)
    assert {name: second[name] for name in first} == first, "nothing was done twice"
    for name in CASES:
        assert (output / f"{name}.nii.gz").read_bytes() == (whole / f"{name}.nii.gz").read_bytes()
    assert list(rows(output / "results.csv")) == list(CASES)
    assert not [path for path in output.rglob(".*") if path.is_file()]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for children")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_dies_loses_its_case_once_only(
    root: Path, slow_model: Path, environment: dict[str, str], tmp_path: Path, number: int
) -> None:
    """Each time the process of the slow case is killed: it is tried twice, and then the others are done."""
    study = tmp_path / "study"
    shutil.copytree(root / "P0", study / "P0")
    output = tmp_path / "out"
    run = start(environment, study, "-o", output, "--workers", 1, "--model", slow_model, "--progress", "json")
    killed: set[int] = set()
    assert run.stdout is not None
    while len(killed) < 2:
        wait_until(lambda: set(children(run.pid)) - killed)
        (worker,) = set(children(run.pid)) - killed
        os.kill(worker, number)
        killed.add(worker)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 1 and "1 of 1 cases failed" in said
    failure = rows(output / "failures.csv")["P0"]
    assert failure["attempts"] == "2" and failure["code"] == "failed" and failure["remedy"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_it_at_once(
    root: Path, slow_model: Path, environment: dict[str, str], tmp_path: Path, number: int
) -> None:
    output, maps = tmp_path / "out", tmp_path / "maps"
    more = ("--report", "--probabilities", maps)
    run = start(environment, root, "-o", output, "--workers", 2, "--model", slow_model, *more)
    wait_until(lambda: list(maps.glob("*/.bts-*")))  # a case is under way
    workers = children(run.pid) if sys.platform.startswith("linux") else []
    since = time.monotonic()
    run.send_signal(number)
    _, said = run.communicate(timeout=30)
    assert time.monotonic() - since < 10
    assert run.returncode == 130 and said.rstrip().endswith("Cancelled.")
    assert not output.exists(), "nothing was done, and tables the next run would take for those of others"
    assert not list(maps.iterdir())
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_two_runs_do_not_write_to_one_folder(
    root: Path, slow_model: Path, cli: Cli, environment: dict[str, str], tmp_path: Path
) -> None:
    run = start(environment, root, "-o", tmp_path / "out", "--workers", 1, "--model", slow_model)
    wait_until(lambda: list(tmp_path.glob("out/.running/*")))
    second = cli("batch", root, "-o", tmp_path / "out", "--workers", 1, "--model", slow_model)
    run.terminate()
    run.communicate()
    assert second.returncode == 2 and "Another run writes to" in second.stderr


def test_requests_that_cannot_be_carried_out(root: Path, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for arguments, words in (
        ((tmp_path / "empty", "-o", tmp_path / "out"), "holds no case"),
        ((tmp_path / "nowhere", "-o", tmp_path / "out"), "is no folder"),
        ((root, "-o", root.parent), "lies in the output folder"),
        ((root, "-o", tmp_path / "file"), "cannot be written to"),
        ((root, "-o", tmp_path / "out", "--workers", "0"), "workers are not possible"),
        ((root, "-o", tmp_path / "out", "--model", "nonsense"), "There is no model"),
        ((root, "-o", tmp_path / "out", "--resume", "--force"), "not allowed with argument"),
    ):
        done = cli("batch", *arguments)
        assert done.returncode == 2 and words in done.stderr, done.stderr


def test_bids_derivatives(cli: Cli, model: Path, tmp_path: Path) -> None:
    words = {"t1": "T1w", "t1ce": "ce-gadolinium_T1w", "t2": "T2w", "flair": "FLAIR"}
    for place in ("sub-01/ses-1", "sub-02"):
        spelling = f"{place.replace('/', '_')}_{{name}}.nii.gz"
        write_case(tmp_path / "data" / place / "anat", spelling, words)
    (tmp_path / "data" / "dataset_description.json").write_text('{"Name": "d", "BIDSVersion": "1.10.0"}')
    arguments = ("batch", tmp_path / "data", "-o", tmp_path / "data", "--layout", "bids", "--model", model)
    done = cli(*arguments, "--report")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "data" / "derivatives" / "braintumorseg"
    made = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*_dseg.*"))
    assert made == [
        f"{place}/anat/{place.replace('/', '_')}_space-orig_dseg.{suffix}"
        for place in ("sub-01/ses-1", "sub-02")
        for suffix in ("json", "nii.gz")
    ]
    sidecar = json.loads((folder / made[0]).read_text())
    assert sidecar["SpatialReference"] == "sub-01_ses-1_ce-gadolinium_T1w.nii.gz" and sidecar["Manual"] is False
    description = json.loads((folder / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative" and description["GeneratedBy"][0]["Name"] == "BrainTumorSeg"
    assert (folder / "dseg.tsv").read_text().splitlines()[3].split()[:2] == ["2", "ED"]
    again = cli(*arguments, "--dry-run")
    assert "0 of 2 cases would be run" in again.stdout, "what was derived is no case, and done"
    validator = shutil.which("bids-validator-deno")
    if validator:
        checked = subprocess.run([validator, folder], capture_output=True, text=True, timeout=120, check=False)
        assert checked.returncode == 0, checked.stdout


def test_the_page_links_to_the_cases(whole: Path) -> None:
    page = (whole / "report.html").read_text("utf-8")
    assert all(f'href="reports/{name}.html"' in page for name in CASES)
    assert page.count("data:image/jpeg") == len(CASES) and "http" not in page.replace("http-equiv", "")


def test_a_dry_run_says_what_it_would_do(root: Path, cli: Cli, tmp_path: Path) -> None:
    study = tmp_path / "study"
    shutil.copytree(root / "P0", study / "P0")
    shutil.copyfile(study / "P0" / "P0_t1.nii.gz", study / "P0" / "P0_seg.nii.gz")
    (study / "notes").mkdir()
    done = cli("batch", study, "-o", tmp_path / "out", "--dry-run")
    assert done.returncode == 0 and not (tmp_path / "out").exists()
    assert "t1, t1ce, t2, flair" in done.stdout and "P0_seg.nii.gz (a segmentation" in done.stdout
    assert "left out: notes (it holds no image)" in done.stderr
