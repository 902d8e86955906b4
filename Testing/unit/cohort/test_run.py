"""A cohort's run: outcomes that stand, cases that are tried again, folders that are taken, disks that are full."""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from BrainTumorSegLib.cohort import run as cohort_run
from BrainTumorSegLib.cohort.case_run import Task
from BrainTumorSegLib.cohort.claim import Claim
from BrainTumorSegLib.cohort.dask import DaskWorkers
from BrainTumorSegLib.cohort.discovery import find_cohort
from BrainTumorSegLib.cohort.layouts import LAYOUTS
from BrainTumorSegLib.cohort.local import Ended, LocalWorkers, threads_each, visible_gpus
from BrainTumorSegLib.cohort.outcome import Failure, Outcome, digests, outcome_file, read_outcome
from BrainTumorSegLib.cohort.run import CohortRun, Plan, Request, plan, spoken_time
from BrainTumorSegLib.cohort.tables import FAILURES, PAGE, RESULTS, check_tables, result_row, stage_tables
from BrainTumorSegLib.domain.errors import CancelledError, DeviceError, ExecutionError, OutputError, RequestError
from BrainTumorSegLib.domain.labels import OWN_FIRST
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.domain.progress import Progress
from BrainTumorSegLib.domain.result_record import ResultRecord, record_path
from BrainTumorSegLib.io.staging import staged
from BrainTumorSegLib.models.checkpoint_file import Checkpoint
from BrainTumorSegLib.models.description import OutputSpec
from Testing import samples
from Testing.dicom_series import write_series
from Testing.samples import Patient

RECORD = ResultRecord("P", {}, "brats2023", ("WT",), {})


class Script:
    """Workers that play what they are told: case → how its attempts end (failure code; empty: done; "lost")."""

    def __init__(self, acts: dict[str, list[str]]) -> None:
        self._acts, self._given = acts, list[Task]()
        self.started: list[str] = []
        self.progress, self.doing, self.waits_for, self.is_closed = 0.0, "", "", False

    @property
    def free(self) -> int:
        return 1 - len(self._given)

    @property
    def under_way(self) -> int:
        return len(self._given)

    def start(self, task: Task) -> None:
        self._given.append(task)
        self.started.append(task.case)

    def wait(self, seconds: float) -> list[Ended]:
        task = self._given.pop()
        act = self._acts[task.case].pop(0)
        outcome = dataclasses.replace(task.expected, failure=Failure(act, act, "do something") if act else Failure())
        return [Ended(task, outcome, act == "lost")]

    def close(self) -> None:
        self.is_closed = True


def task(case: str, output: Path) -> Task:
    return Task((case,), (), output, "plain", "", Outcome(case, attempts=1, model=("m", "0")))


def carried_out(acts: dict[str, list[str]], output: Path, progress: Progress | None = None) -> tuple[CohortRun, Script]:
    workers = Script(acts)
    running = CohortRun(Plan(tuple(task(case, output) for case in acts), (), ()), output, lambda outcome, before: None)
    claim = Claim.make(output)
    try:
        running.work(workers, claim, progress or Progress())
    finally:
        claim.release()
    return running, workers


def test_a_case_whose_worker_dies_is_tried_once_more(tmp_path: Path) -> None:
    running, workers = carried_out({"A": ["lost", ""], "B": ["lost", "lost"], "C": ["input"]}, tmp_path)
    assert workers.started == ["A", "B", "C", "A", "B"] and workers.is_closed
    assert {case: outcome.attempts for case, outcome in running.outcomes.items()} == {"A": 2, "B": 2, "C": 1}
    assert set(running.failed) == {"B", "C"}
    assert read_outcome(tmp_path, "C") == running.outcomes["C"]


class Waiting(DaskWorkers):
    """Of a cluster that makes a lost result anew, and has nothing else to say."""

    def __init__(self) -> None:
        self._heard, self._again = queue.SimpleQueue[str](), ["A"]

    def _reconnect(self) -> None:
        pass

    def _hear(self, key: str) -> list[Ended]:
        self._again.append(key)
        return []


def test_a_result_that_is_made_anew_is_waited_for_at_rest() -> None:
    workers, since = Waiting(), time.monotonic()
    assert workers.wait(0.2) == [] and time.monotonic() - since > 0.15
    assert workers.wait(0.01) == [], "and not forgotten"
    assert workers._again == ["A"]


def test_a_device_that_is_not_there_ends_the_run_with_the_first_case(tmp_path: Path) -> None:
    output = tmp_path / "out"
    with pytest.raises(DeviceError):
        carried_out({"A": ["device"], "B": [""]}, output)
    assert not output.exists()
    running, _ = carried_out({"A": [""], "B": ["device"]}, output)  # of one worker of many
    assert list(running.failed) == ["B"]


def test_a_cancel_closes_the_workers(tmp_path: Path) -> None:
    progress = Progress()
    progress.cancelled.set()
    workers = Script({"A": [""], "B": [""]})
    running = CohortRun(
        Plan((task("A", tmp_path), task("B", tmp_path)), (), ()), tmp_path, lambda outcome, before: None
    )
    claim = Claim.make(tmp_path)
    with pytest.raises(CancelledError):
        running.work(workers, claim, progress)
    assert workers.is_closed and list(running.outcomes) == ["A"], "what was done by then stays"


def test_a_full_disk_ends_the_run_before_the_next_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort_run, "LEAST_ROOM", 1 << 80)
    with pytest.raises(ExecutionError, match="is full") as caught:
        carried_out({"A": [""]}, tmp_path)
    assert "same command again" in caught.value.remedy


def test_an_outcome_that_cannot_be_written_ends_the_run(tmp_path: Path) -> None:
    (tmp_path / "outcomes").touch()
    with pytest.raises(ExecutionError, match="outcome of A cannot be written"):
        carried_out({"A": ["input"]}, tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 99, "case": "A"}', '{"schema": 1, "case": 3}', "{"])
def test_outcomes_that_cannot_be_read_are_none(tmp_path: Path, content: str) -> None:
    outcome_file(tmp_path, "A").parent.mkdir()
    outcome_file(tmp_path, "A").write_text(content)
    assert read_outcome(tmp_path, "A") is None


def test_a_result_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    Outcome("A").write(tmp_path)  # done, and without a record
    assert read_outcome(tmp_path, "A") is None


def planned(study: Path, output: Path, *, layout: str = "plain", force: bool = False, **options: Any) -> Plan:
    request = Request(output, layout, RunOptions(**options), force=force)
    return plan(find_cohort(study, output), request, samples.make_oracle())


def finish(run: Plan) -> None:
    """What its cases leave where they went well."""
    for each in run.tasks:
        each.label_map.parent.mkdir(parents=True, exist_ok=True)
        each.label_map.write_bytes(b"labels")
        RECORD.write(record_path(each.label_map))
        outputs = digests((each.label_map, record_path(each.label_map)), each.output)
        dataclasses.replace(each.expected, result=RECORD.as_json(), outputs=outputs).write(each.output)


@pytest.mark.parametrize("option", ["probabilities", "preprocessed"])
def test_a_case_is_done_where_all_that_is_asked_for_is_there(tmp_path: Path, option: str) -> None:
    study, output, more = tmp_path / "study", tmp_path / "out", tmp_path / "more"
    samples.write_patient(study, case_id="P")
    asked: dict[str, Any] = {option: more}
    finish(planned(study, output))
    assert not planned(study, output).tasks
    (more / "P").mkdir(parents=True)  # as a run leaves it that was killed
    (more / "P" / ".bts-0-0-0.run").touch()
    assert [each.case for each in planned(study, output, **asked).tasks] == ["P"]
    (more / "P" / "map.nii.gz").touch()
    assert not planned(study, output, **asked).tasks


def test_a_case_without_maps_to_be_made_is_done(tmp_path: Path) -> None:
    """Labels of a model's own have no probability maps."""
    study, output = tmp_path / "study", tmp_path / "out"
    samples.write_patient(study, case_id="P")
    own = Checkpoint(samples.describe_model(outputs=(OutputSpec("meningioma", (OWN_FIRST,)),)), {})
    request = Request(output, "plain", RunOptions(probabilities=tmp_path / "maps"))
    finish(plan(find_cohort(study, output), request, own))
    assert not plan(find_cohort(study, output), request, own).tasks


def test_a_finished_dicom_case_with_hidden_files_is_done(tmp_path: Path, patient: Patient) -> None:
    """Also where its outcome counted them, as it once did; other images make it no case that is done."""
    study, output = tmp_path / "study", tmp_path / "out"
    files = write_series(patient.images["flair"], study / "P", "flair")
    (study / "P" / ".DS_Store").write_bytes(b"folder")
    finish(planned(study, output))
    assert not planned(study, output).tasks
    values = json.loads(outcome_file(output, "P").read_text())
    facts = [file.stat() for file in (*files, study / "P" / ".DS_Store")]
    former = len(facts), sum(each.st_size for each in facts), max(each.st_mtime_ns for each in facts)
    values["inputs"] = {str(study / "P"): former}
    outcome_file(output, "P").write_text(json.dumps(values))
    assert not planned(study, output).tasks
    files[0].touch()
    assert [each.case for each in planned(study, output).tasks] == ["P"]


def test_an_empty_result_is_none(tmp_path: Path) -> None:
    """A power cut may leave names without what belongs to them."""
    study, output = tmp_path / "study", tmp_path / "out"
    samples.write_patient(study, case_id="P")
    finish(planned(study, output))
    (output / "P.nii.gz").write_bytes(b"")
    assert [each.case for each in planned(study, output).tasks] == ["P"]


def test_empty_files_of_a_case_do_not_keep_it_from_being_run(tmp_path: Path) -> None:
    study, output = tmp_path / "study", tmp_path / "out"
    samples.write_patient(study, case_id="P")
    finish(planned(study, output))
    for file in (output / "P.nii.gz", output / "P.json", outcome_file(output, "P")):
        file.write_bytes(b"")
    run = planned(study, output)
    assert [each.case for each in run.tasks] == ["P"] and not run.failed


def test_results_of_others_are_not_replaced(tmp_path: Path) -> None:
    study, output = tmp_path / "study", tmp_path / "experts"
    for name in ("P1", "P2", "P3"):
        samples.write_patient(study, case_id=name)
    output.mkdir()
    for name in ("P1", "P2"):
        (output / f"{name}.nii.gz").write_bytes(b"labels")
    RECORD.write(output / "P2.json")  # of a single run
    for force in (False, True):
        run = planned(study, output, force=force)
        assert [each.case for each in run.tasks] == ["P2", "P3"]
        (refused,) = run.failed
        assert refused.case == "P1" and refused.failure.code == "output"
        assert f"{output / 'P1.nii.gz'} is there already" in refused.failure.message


def test_another_patient_of_the_same_name_takes_no_results_place(tmp_path: Path) -> None:
    output = tmp_path / "out"
    for site in ("a", "b"):
        samples.write_patient(tmp_path / site, case_id="P")
    finish(planned(tmp_path / "a", output))
    for _ in range(2):  # what is known of the first one's result stays
        run = planned(tmp_path / "b", output)
        (refused,) = run.failed
        assert not run.tasks and refused.failure.code == "output"
        assert str(tmp_path / "a" / "P") in refused.failure.message and "--force" in refused.failure.remedy
        assert not CohortRun(run, output, lambda outcome, before: None).outcomes["P"].is_done
        assert [each.case for each in planned(tmp_path / "a", output).done] == ["P"]
    assert [each.case for each in planned(tmp_path / "b", output, force=True).tasks] == ["P"]
    (tmp_path / "link").symlink_to(tmp_path / "a")
    assert not planned(tmp_path / "link", output).failed
    (tmp_path / "a").rename(tmp_path / "moved")
    assert [each.case for each in planned(tmp_path / "moved", output).tasks] == ["P"]


def test_a_result_that_an_expert_mended_is_not_replaced(tmp_path: Path) -> None:
    study, output = tmp_path / "study", tmp_path / "out"
    samples.write_patient(study, case_id="P")
    finish(planned(study, output))
    (output / "P.nii.gz").write_bytes(b"mended")
    assert [each.case for each in planned(study, output).done] == ["P"]
    for options in ({"tta": True}, {"preprocessed": tmp_path / "images"}):  # for which it is run again
        (refused,) = planned(study, output, **options).failed
        assert f"{output / 'P.nii.gz'} was changed" in refused.failure.message
        assert [each.case for each in planned(study, output, force=True, **options).tasks] == ["P"]
    (output / "P.json").write_text("{}")  # both are of a run that was killed before it wrote its outcome
    assert [each.case for each in planned(study, output, tta=True).tasks] == ["P"]


def test_results_of_ours_are_known_by_their_outcome_too(tmp_path: Path) -> None:
    study, output = tmp_path / "study", tmp_path / "out"
    samples.write_patient(study, case_id="P")
    finish(planned(study, output))
    (output / "P.json").unlink()
    assert [each.case for each in planned(study, output).tasks] == ["P"]
    assert [each.case for each in planned(study, output, force=True).tasks] == ["P"]


def test_tables_of_others_are_not_replaced(tmp_path: Path) -> None:
    check_tables(tmp_path, PAGE)
    (tmp_path / PAGE).write_text("a page")
    check_tables(tmp_path)
    with pytest.raises(OutputError, match=r"report\.html is there already"):
        check_tables(tmp_path, PAGE)
    (tmp_path / RESULTS).write_text("a,b")
    outcome_file(tmp_path, "A").parent.mkdir()
    for content in ("{", "[]", "{}"):
        outcome_file(tmp_path, "A").write_text(content)
        with pytest.raises(OutputError, match=r"results\.csv is there already"):
            check_tables(tmp_path)
    Outcome("B", failure=Failure("input", "no", "yes")).write(tmp_path)
    check_tables(tmp_path, PAGE)


def test_a_claim_is_for_one(tmp_path: Path) -> None:
    claim = Claim.make(tmp_path)
    with pytest.raises(OutputError, match="Another run"):
        Claim.make(tmp_path)
    claim.beat()
    claim.release()
    Claim.make(tmp_path / "new").release()
    assert list(tmp_path.iterdir()) == []


def test_a_silent_claim_of_another_machine_is_dead(tmp_path: Path) -> None:
    (tmp_path / ".running").mkdir()
    other = tmp_path / ".running" / ".bts-00000000-1-00000000.run"
    other.touch()
    with pytest.raises(OutputError, match="Another run") as caught:
        Claim.make(tmp_path)
    assert str(other) in caught.value.remedy
    long_ago = time.time() - 3600
    os.utime(other, (long_ago, long_ago))
    Claim.make(tmp_path).release()
    assert not other.exists()


def test_tables_hold_no_formulas(tmp_path: Path) -> None:
    bad = Outcome("=cmd()", failure=Failure("input", "+1 is no file", ""))
    with staged() as staging:
        stage_tables([bad], tmp_path, staging)
    assert "'=cmd(),input,'+1 is no file" in (tmp_path / FAILURES).read_text().replace('"', "")


def test_a_library_that_is_broken_takes_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pandas", "pyarrow"):
        (tmp_path / f"{name}.py").write_text("raise ImportError('built for another numpy')")
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with staged() as staging:
        stage_tables([Outcome("P", result=RECORD.as_json())], tmp_path, staging)
    assert (tmp_path / RESULTS).is_file()


def test_rows_hold_nothing_but_text(tmp_path: Path) -> None:
    row = result_row(Outcome(os.fsdecode(b"\xff"), outputs={os.fsdecode(b"\xff.nii.gz"): "0"}, result=RECORD.as_json()))
    assert row["case"].encode() and row["label_map"].encode()


@pytest.mark.parametrize(
    ("case", "study", "name"),
    [
        ("sub-01_ses-a", "", "sub-01/ses-a/anat/sub-01_ses-a_space-orig_dseg.nii.gz"),
        ("sub-01", "", "sub-01/anat/sub-01_space-orig_dseg.nii.gz"),
        ("BraTS2021_00005", "", "sub-BraTS202100005/anat/sub-BraTS202100005_space-orig_dseg.nii.gz"),
        ("sub-01_20240510", "20240510", "sub-01/ses-20240510/anat/sub-01_ses-20240510_space-orig_dseg.nii.gz"),
        ("P_1_20240510_2", "20240510_2", "sub-P1/ses-20240510x2/anat/sub-P1_ses-20240510x2_space-orig_dseg.nii.gz"),
        ("sub-1_ses-1_20240510", "20240510", "sub-1/ses-1x20240510/anat/sub-1_ses-1x20240510_space-orig_dseg.nii.gz"),
    ],
)
def test_names_of_bids(case: str, study: str, name: str) -> None:
    assert LAYOUTS["bids"].label_map(case, study).as_posix() == name


def test_cores_are_divided_unless_the_user_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads_each(10_000) == {"OMP_NUM_THREADS": "1"}
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert threads_each(2) == {}


FEW = """
import resource
from BrainTumorSegLib.cohort import local
local.usable_cores = lambda: 64
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
workers = local.LocalWorkers(None, "cpu")
print(workers.count)
workers.close()
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for memory")
def test_workers_are_as_many_as_the_memory_that_is_left_allows() -> None:
    done = subprocess.run([sys.executable, "-c", FEW], capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 2


def test_a_gpu_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4, GPU-7")
    assert visible_gpus() == ("4", "GPU-7")
    workers = LocalWorkers(None, "auto")
    assert workers.count == workers.free == 2
    workers.close()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,-1,2")
    assert visible_gpus() == ("1",), "CUDA reads no further than that"
    for none in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        assert visible_gpus() == ()
    with pytest.raises(RequestError):
        LocalWorkers(0, "cpu")


def test_an_outcome_says_what_it_is(tmp_path: Path) -> None:
    Outcome("A", failure=Failure("input", "no", "yes")).write(tmp_path)
    values = json.loads(outcome_file(tmp_path, "A").read_text())
    assert (values["schema"], values["state"], values["failure"]["code"]) == (1, "failed", "input")


@pytest.mark.parametrize(("seconds", "words"), [(5, "5 s"), (600, "10 min"), (36_000, "10.0 h")])
def test_remaining_time(seconds: float, words: str) -> None:
    assert spoken_time(seconds) == words
