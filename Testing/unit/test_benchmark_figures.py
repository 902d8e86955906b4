"""What the benchmarks of speed make of what they measured."""

from __future__ import annotations

import json
import resource
import sys

import pytest

from Testing.benchmarks.processes import FailedRunError, Run, measure
from Testing.benchmarks.scaling import growth, line_through
from Testing.benchmarks.segment_patient import (
    MONAI,
    NNUNET,
    OURS,
    Row,
    Way,
    facts_of,
    nnunet_rows,
    ratio,
    scaled,
    stage_seconds,
    take_turns,
)


def progress(stage: str) -> str:
    return json.dumps({"stage": stage, "fraction": 0.5, "message": ""})


def test_a_process_is_measured_whole() -> None:
    code = "import time; block = bytearray(300 << 20); print('first'); time.sleep(0.2); print('second')"
    run = measure([sys.executable, "-c", code])
    (early, first), (late, second) = run.lines
    assert (first, second) == ("first", "second")
    assert 0 < early < late - 0.15 and late <= run.seconds
    assert 0 < run.cpu_seconds < run.seconds + 0.5
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # Linux takes it over into the child's
    assert 0.29 < run.memory_gb < max(1, own * 1.1)


def test_variables_reach_the_process() -> None:
    run = measure([sys.executable, "-c", "import os; print(os.environ['CAP'])"], {"CAP": "AVX2"})
    assert run.lines[0][1] == "AVX2"


def test_a_process_that_fails_is_no_measurement() -> None:
    with pytest.raises(FailedRunError, match="not there") as failure:
        measure([sys.executable, "-c", "import sys; print('not there', file=sys.stderr); sys.exit(2)"])
    assert failure.value.code == 2


def test_a_stage_lasts_until_the_next_line_of_another() -> None:
    lines = [(1.0, "read"), (1.5, "predict"), (3.0, "prepare"), (3.2, "predict"), (4.0, "predict"), (5.0, "write")]
    answer = json.dumps({"result": {"provenance": {}}})
    run = Run(6.0, 0, 0, (*((at, progress(stage)) for at, stage in lines), (5.5, answer)))
    found = stage_seconds(run)
    assert found == pytest.approx(
        {"start": 1.0, "read": 0.5, "predict": 1.5 + 1.8, "prepare": 0.2, "write": 0.5, "end": 0.5}
    )
    assert sum(found.values()) == pytest.approx(run.seconds)


def test_what_is_no_progress_ends_no_stage() -> None:
    run = Run(3.0, 0, 0, ((1.0, progress("read")), (2.0, "some library's greeting"), (2.5, "[1]")))
    assert stage_seconds(run) == pytest.approx({"start": 1.0, "read": 2.0})


def test_the_result_says_what_ran() -> None:
    answer = {"result": {"provenance": {"device": "cpu", "precision": "bf16", "seconds": 3}}}
    assert facts_of(Run(1, 1, 1, ((0.5, json.dumps(answer)),))) == {"device": "cpu", "precision": "bf16"}
    assert facts_of(Run(1, 1, 1)) == {}


def test_windows_that_were_left_out_are_added() -> None:
    # 30 s of which 20 s are two windows: eighteen are 10 s + 18 × 10 s.
    run = Run(30.0, 55.0, 2.0)
    counted = {"computed": 2, "seconds": 20.0, "cpu_seconds": 40.0}
    assert scaled(run, counted, 18) == pytest.approx((190.0, 375.0))
    assert scaled(run, counted, 2) == pytest.approx((30.0, 55.0))


def test_nnunet_is_reckoned_for_the_full_grid_and_for_the_brain() -> None:
    counted = {"windows": 18, "windows_in_brain": 8, "computed": 2, "seconds": 20.0, "cpu_seconds": 40.0}
    full, brain = nnunet_rows(Run(30.0, 55.0, 2.0, ((1.0, "a note"), (29.0, json.dumps(counted)))))
    assert (full.seconds, brain.seconds) == ([pytest.approx(190.0)], [pytest.approx(90.0)])
    assert "18 windows" in full.note and "2 of them" in full.note


def test_ratios_are_of_medians_with_the_same_instruction_sets() -> None:
    ours = Row("ours", OURS, seconds=[3.0, 4.0, 90.0])
    capped = Row("ours, AVX2", OURS, avx2=True, seconds=[8.0])
    rows = [ours, capped, Row("m", MONAI, seconds=[12.0]), Row("m, AVX2", MONAI, avx2=True, seconds=[20.0])]
    assert ratio(ours, rows, MONAI) == pytest.approx(3.0)
    assert ratio(capped, rows, MONAI) == pytest.approx(2.5)
    assert ratio(ours, rows, NNUNET) is None


def test_what_a_row_takes_of_a_run() -> None:
    row = Row("ours", OURS)
    for run in (Run(3.0, 5.0, 1.5), Run(4.0, 6.0, 1.2)):
        row.take(run)
    assert (row.seconds, row.cpu_seconds, row.memory_gb) == ([3.0, 4.0], [5.0, 6.0], 1.5)


def test_of_a_second_run_only_its_own_seconds_count() -> None:
    row = Row("ours", OURS)
    row.take(Run(9.0, 5.0, 1.5, ((8.9, '{"seconds": 2.5}'),)), warm=True)
    assert (row.seconds, row.cpu_seconds, row.memory_gb) == ([2.5], [], None)


def way(name: str, code: str, *, optional: bool = False) -> Way:
    return Way(name, (sys.executable, "-c", code), optional=optional)


def test_ways_take_turns_and_what_is_not_there_is_left_out(tmp_path, capfd) -> None:
    # Each run notes that it was there, in a file that all of them share.
    code = "from pathlib import Path; file = Path({!r}); file.open('a').write({!r})"
    log = str(tmp_path / "log")
    refused = way("backend", "import sys; print('no such backend', file=sys.stderr); sys.exit(2)", optional=True)
    rows = take_turns([way("a", code.format(log, "a")), refused, way("b", code.format(log, "b"))], 2, tmp_path)
    assert [row.name for row in rows] == ["a", "b"]
    assert (tmp_path / "log").read_text() == "ababab"
    assert all(len(row.seconds) == 2 and row.first_seconds is not None for row in rows)
    assert "backend: left out. no such backend" in capfd.readouterr().out


@pytest.mark.parametrize(("code", "optional"), [(2, False), (1, True)])
def test_a_way_that_fails_ends_the_benchmark(tmp_path, code: int, optional: bool) -> None:
    with pytest.raises(FailedRunError):
        take_turns([way("a", f"raise SystemExit({code})", optional=optional)], 1, tmp_path)


def test_growth_leaves_the_first_ones_out() -> None:
    assert growth([0.1, 0.5, *[1.0] * 98]) == 0
    assert growth([float(number) for number in range(100)]) == pytest.approx(60)
    assert growth([1.0, 2.0]) == 0


def test_the_line_through_volumes() -> None:
    rows = [{"brain_ml": ml, "seconds": 1.5 + 2 * ml / 1000} for ml in (200, 700, 1500)]
    assert line_through(rows) == pytest.approx((1.5, 2.0))
