"""Many patients on a Dask cluster: a real scheduler and real workers, which die as those of a cluster do."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from BrainTumorSegLib.models.description import TilingSpec
from Testing.dask_cluster import Cluster

from .making import CASES, Cli, make_model
from .test_batch import outcomes, rows, start, wait_until

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for processes")


@pytest.fixture
def cluster(tmp_path: Path, environment: dict[str, str]) -> Iterator[Cluster]:
    (tmp_path / "cluster").mkdir()
    made = Cluster(tmp_path / "cluster", environment)
    yield made
    made.end()


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that takes a second or two."""
    return make_model(tmp_path_factory.mktemp("models") / "lasting.safetensors", tiling=TilingSpec((8, 8, 8), 0.75))


@pytest.fixture(scope="module")
def whole(root: Path, cli: Cli, lasting: Path) -> Path:
    output = root.parent / "whole"
    assert cli("batch", root, "-o", output, "--workers", 1, "--model", lasting).returncode == 0
    return output


def label_maps(output: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in output.glob("*.nii.gz")}


def disturbed(environment: dict[str, str], output: Path, disturb: Callable[[], None], *arguments: object) -> str:
    """What a run says in whose middle something happens."""
    run = start(environment, *arguments, "-o", output)
    wait_until(lambda: outcomes(output) or run.poll() is not None)
    disturb()
    _, said = run.communicate(timeout=200)
    assert run.returncode == 0, said
    return said


def test_a_worker_that_is_killed_loses_nothing(
    cluster: Cluster, root: Path, whole: Path, lasting: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    disturbed(environment, output, cluster.workers[0].kill, root, "--scheduler", cluster.file, "--model", lasting)
    assert label_maps(output) == label_maps(whole)
    assert list(rows(output / "results.csv")) == list(CASES) and not rows(output / "failures.csv")
    assert not [path for path in output.rglob(".*") if path.is_file()]


def test_a_scheduler_that_is_restarted_loses_nothing(
    cluster: Cluster, root: Path, whole: Path, lasting: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    output = tmp_path / "out"
    first: dict[str, dict] = {}

    def restart() -> None:
        cluster.restart()
        first.update(outcomes(output))

    said = disturbed(environment, output, restart, root, "--scheduler", cluster.file, "--model", lasting)
    assert "waiting for the scheduler" in said and "Traceback" not in said
    assert label_maps(output) == label_maps(whole)
    assert {name: outcomes(output)[name] for name in first} == first, "nothing was done twice"


def test_a_cancel_ends_the_cases_on_the_workers(
    cluster: Cluster, root: Path, cli: Cli, slow_model: Path, model: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Else they would be busy with them for minutes, and have no time for the next run."""
    output = tmp_path / "out"
    run = start(environment, root, "-o", output, "--scheduler", cluster.file, "--model", slow_model)
    wait_until(lambda: list(output.glob(".bts-*")))
    since = time.monotonic()
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=30)
    assert run.returncode == 130 and time.monotonic() - since < 10
    assert not outcomes(output)
    since = time.monotonic()
    done = cli("batch", root, "-o", tmp_path / "next", "--scheduler", cluster.file, "--model", model)
    assert done.returncode == 0 and time.monotonic() - since < 120
    assert not outcomes(output)


def test_what_no_disk_is_shared_for_is_sent_back(
    cluster: Cluster,
    root: Path,
    whole: Path,
    lasting: Path,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from BrainTumorSegLib.cohort.claim import Claim
    from BrainTumorSegLib.cohort.dask import DaskWorkers
    from BrainTumorSegLib.cohort.discovery import find_cohort
    from BrainTumorSegLib.cohort.run import CohortRun, Request, plan
    from BrainTumorSegLib.domain.options import RunOptions
    from BrainTumorSegLib.domain.progress import Progress
    from BrainTumorSegLib.models.catalogue import load_model

    output = tmp_path / "out"
    (output / "P3.nii.gz").mkdir(parents=True)  # so that it cannot be placed
    request = Request(output, "plain", RunOptions(model=str(lasting), native="all"), pages=True)
    planned = plan(find_cohort(root, output), request, load_model(lasting))
    claim = Claim.make(output)
    running = CohortRun(planned, output, lambda outcome, before: None)
    running.work(DaskWorkers(str(cluster.file), tmp_path / "a folder that is not there"), claim, Progress())
    claim.release()
    assert {case: outcome.failure.code for case, outcome in running.failed.items()} == {"P3": "output"}
    (output / "P3.nii.gz").rmdir()
    found, expected = label_maps(output), label_maps(whole)
    expected.pop("P3.nii.gz")
    assert {name: found[name] for name in expected} == expected
    assert set(found) - set(expected) == {f"P{n}_on_{name}.nii.gz" for n in range(3) for name in ("t1", "t2", "flair")}
    assert {file.stem for file in (output / "reports").iterdir()} == set(CASES) - {"P3"}
    assert set(outcomes(output)) == set(CASES)


def test_a_worker_with_another_version_is_refused(
    cluster: Cluster, root: Path, cli: Cli, model: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "BrainTumorSegLib"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text('__version__ = "0.0.1"')
    path = os.pathsep.join([str(other.parent), cluster.environment["PYTHONPATH"]])
    cluster.workers.append(cluster.add_worker(PYTHONPATH=path))
    address = cluster.address
    with distributed.Client(address, set_as_default=False) as client:
        client.wait_for_workers(3, timeout=60)
    done = cli("batch", root, "-o", tmp_path / "out", "--scheduler", address, "--model", model)
    assert done.returncode == 2 and "has version 0.0.1" in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()[-1]) < 300


@pytest.mark.parametrize("where", ["tcp://127.0.0.1:9", "gone.json", "half.json", "list.json"])
def test_a_scheduler_that_is_not_there(root: Path, cli: Cli, model: Path, tmp_path: Path, where: str) -> None:
    (tmp_path / "half.json").write_text('{"type": "Sched')
    (tmp_path / "list.json").write_text("[]")
    address = where if "://" in where else tmp_path / where
    done = cli("batch", root, "-o", tmp_path / "out", "--scheduler", address, "--model", model)
    assert done.returncode == 2 and f"No Dask scheduler answers at {address}" in done.stderr
    assert "Traceback" not in done.stderr
