"""``braintumorseg course`` from files to files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from BrainTumorSegLib.domain.result_record import record_path
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import write_volume

from .making import Cli

DATES = ("2025-01-10", "2025-06-11", "2025-12-01")


@pytest.fixture
def results(tmp_path: Path) -> list[Path]:
    """Label maps of cubes of 20, 10 and 14 mm a side, without records."""
    folder = tmp_path / "with a space"
    folder.mkdir()
    files = []
    for name, side in (("first", 20), ("second", 10), ("third", 14)):
        labels = np.zeros((30, 30, 30), np.uint8)
        labels[2 : 2 + side, 2 : 2 + side, 2 : 2 + side] = 3
        files.append(folder / f"{name}.nii.gz")
        write_volume(Volume(labels, np.eye(4)), files[-1])
    return files


def test_the_table_and_the_file_say_the_same(cli: Cli, results: list[Path], tmp_path: Path) -> None:
    output, page = tmp_path / "course.json", tmp_path / "course.html"
    done = cli("course", *results, "-o", output, "--report", page, "--dates", *DATES, "--labels", "brats2023")
    assert done.returncode == 0, done.stderr
    course = json.loads(output.read_text("utf-8"))
    assert course["kind"] == "course" and [each["days"] for each in course["examinations"]] == [0, 152, 325]
    et = course["regions"]["ET"]
    assert [each["volume_ml"] for each in et] == [8.0, 1.0, 2.744]
    assert [each["response"]["by_volume"] for each in et] == [None, "PR", "PD"]
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith("2025")]
    assert [row[0] for row in rows] == [*DATES] * len(course["regions"])
    assert rows[-1][-1] == "PD" and rows[2][1] == "2.74" and rows[2][4:6] == ["+174", "%"]
    assert "<svg" in page.read_text("utf-8")
    # Its own file it may replace.
    again = cli("course", *results, "-o", output, "--progress", "json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout.splitlines()[-1])["result"]["regions"]["ET"][2]["since_smallest"] == 1.744


@pytest.mark.parametrize("wrong", ["one", "no date", "too few dates", "too few images", "over a record", "no page"])
def test_bad_requests_write_nothing(cli: Cli, results: list[Path], tmp_path: Path, wrong: str) -> None:
    output = tmp_path / "course.json"
    if wrong == "over a record":
        output = record_path(results[0])
        output.write_text("{}", "utf-8")
    more: dict[str, list[str | Path]] = {
        "no date": ["--dates", "spring", *DATES[1:]],
        "too few dates": ["--dates", DATES[0]],
        "too few images": ["--images", results[0]],
        "no page": ["--report", results[0]],
    }
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    done = cli("course", *(results[:1] if wrong == "one" else results), "-o", output, *more.get(wrong, []))
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("error: "), done.stderr
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
