"""``braintumorseg compare`` from files to files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from BrainTumorSegLib.domain.result_record import ModelRecord, Provenance, ResultRecord, record_path
from BrainTumorSegLib.io.registry import write_volume
from BrainTumorSegLib.phantom import make_phantom

from .making import Cli


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two results of one phantom with their records; in the earlier one the tumour lacks its outermost part."""
    folder = tmp_path_factory.mktemp("examinations")
    phantom = make_phantom(1, (52, 80, 80))
    labels = phantom.labels.array
    files = []
    for name, image, array in (("earlier", "t1", np.where(labels == 2, 0, labels)), ("later", "t1ce", labels)):
        scan, file = folder / f"{name}_{image}.nii.gz", folder / f"{name}.nii.gz"
        write_volume(phantom.case.images[image], scan)
        write_volume(phantom.labels.with_array(array.astype(np.uint8)), file)
        made = Provenance(model=ModelRecord("m", "1"), inputs={image: str(scan)}, reference=image)
        ResultRecord(name, {}, "brats2023", ("ET", "TC", "WT"), {}, provenance=made).write(record_path(file))
        files.append(file)
    return files[0], files[1]


def test_results_with_records_need_nothing_else(cli: Cli, results: tuple[Path, Path], tmp_path: Path) -> None:
    output, page = tmp_path / "change.json", tmp_path / "change.html"
    done = cli("compare", *results, "-o", output, "--report", page, "--days", 90, "--progress", "json")
    assert done.returncode == 0, done.stderr
    change = json.loads(output.read_text("utf-8"))
    assert json.loads(done.stdout.splitlines()[-1])["result"]["regions"] == change["regions"]
    core, whole = change["regions"]["TC"], change["regions"]["WT"]
    assert core["change_ml"] == 0 and core["lesions"]["new"] == core["lesions"]["gone"] == 0
    assert whole["earlier"]["volume_ml"] == core["later"]["volume_ml"]
    assert whole["new_ml"] == pytest.approx(whole["change_ml"], abs=0.02) and whole["response"]["by_volume"] == "PD"
    assert change["earlier"]["image"] == str(results[0].with_name("earlier_t1.nii.gz")) and change["days"] == 90
    assert "data:image/jpeg" in page.read_text("utf-8")


def test_the_table_says_it_for_people(cli: Cli, results: tuple[Path, Path], tmp_path: Path) -> None:
    done = cli("compare", *results, "-o", tmp_path / "change.json", "--progress", "none")
    assert done.returncode == 0, done.stderr
    (line,) = (line.split() for line in done.stdout.splitlines() if line.startswith("WT"))
    change = json.loads((tmp_path / "change.json").read_text("utf-8"))["regions"]["WT"]
    assert line[3].startswith("+")
    assert (float(line[1]), float(line[3])) == pytest.approx(
        (change["earlier"]["volume_ml"], change["change_ml"]), abs=0.06
    )
    assert line[-2:] == [change["response"]["by_diameters"], "PD"]


@pytest.mark.parametrize("wrong", ["twice", "over an input", "over an image", "no name", "no page", "no file"])
def test_bad_requests_write_nothing(cli: Cli, results: tuple[Path, Path], tmp_path: Path, wrong: str) -> None:
    earlier, later = results
    output = {
        "over an input": record_path(later),
        "over an image": later.with_name("later_t1ce.nii.gz"),
        "no name": tmp_path / "change.txt",
    }.get(wrong, tmp_path / "change.json")
    page = ["--report", earlier] if wrong == "no page" else []
    before = output.read_bytes() if output.is_file() else None
    label_map = earlier.read_bytes()
    later = {"twice": earlier, "no file": tmp_path / "none.nii.gz"}.get(wrong, later)
    done = cli("compare", earlier, later, "-o", output, *page)
    assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith("error: "), done.stderr
    assert (output.read_bytes() if output.is_file() else None) == before and earlier.read_bytes() == label_map
