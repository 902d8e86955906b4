"""``braintumorseg evaluate`` and ``braintumorseg models``."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from BrainTumorSegLib.domain.result_record import ResultRecord

from .making import AFFINE, Cli, make_model


def write_labels(path: Path, boxes: dict[int, int], affine: np.ndarray = AFFINE, size: int = 10) -> Path:
    """A label map in which label ``k`` fills the first ``boxes[k]`` columns along x, later ones on top."""
    array = np.zeros((size, size, size), np.uint8)
    for label, columns in boxes.items():
        array[:columns] = label
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)
    return path


def test_two_files(cli: Cli, tmp_path: Path) -> None:
    prediction = write_labels(tmp_path / "p.nii.gz", {2: 4, 1: 2})
    reference = write_labels(tmp_path / "r_seg.nii.gz", {2: 6, 1: 4, 4: 2})
    measures = ("--measures", "dice, hd95")
    done = cli("evaluate", prediction, reference, "-o", tmp_path / "t.json", "--progress", "none", *measures)
    assert done.returncode == 0, done.stderr
    mean = json.loads((tmp_path / "t.json").read_text())["mean"]
    # WT 4 of 6 columns: 2·4/10; TC 2 of 4: 2·2/6; ET 0 of 2: 0
    assert {region: values["dice"] for region, values in mean.items()} == {"ET": 0.0, "TC": 2 / 3, "WT": 0.8}
    # The two columns that lack are 1 mm wide; for the region that lacks, the diagonal of 10 × 10 × 15 mm.
    assert {region: values["hd95"] for region, values in mean.items()} == pytest.approx(
        {"ET": 425**0.5, "TC": 2.0, "WT": 2.0}
    )
    assert "HD95 (mm)" in done.stdout and "ET: empty in the prediction alone in 1 case" in done.stdout


def cohort(folder: Path) -> tuple[Path, Path, Path]:
    """Predictions of two methods for the cases A, B-1 and C, and their references, named in three ways."""
    for case in ("A", "B-1", "C"):
        write_labels(folder / "pred" / f"{case}.nii.gz", {2: 4, 1: 2, 3: 1})
        write_labels(folder / "other" / f"{case}.nii.gz", {2: 6, 1: 3, 3: 1})
    write_labels(folder / "ref" / "A" / "A_seg.nii.gz", {2: 4, 1: 2, 4: 1})
    write_labels(folder / "ref" / "B-1" / "B-1-seg.nii.gz", {2: 4, 1: 2, 4: 1})
    write_labels(folder / "ref" / "C.nii.gz", {2: 4})
    write_labels(folder / "ref" / "D" / "D_seg.nii.gz", {2: 4})  # a reference nobody predicted
    return folder / "pred", folder / "other", folder / "ref"


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize("jobs", [1, 2])
def test_folders_match_by_case_and_go_on_past_a_bad_one(cli: Cli, tmp_path: Path, jobs: int) -> None:
    predictions, _, references = cohort(tmp_path)
    (references / "C.nii.gz").write_bytes(b"broken")
    table = tmp_path / "table.csv"
    done = cli(
        "evaluate", predictions, references, "-o", table, "--progress", "none", "--measures", "dice", "--jobs", jobs
    )
    assert done.returncode == 1 and "C:" in done.stderr and "1 of 3" in done.stderr
    rows = read_csv(table)
    assert [row[0] for row in rows] == ["case", "A", "B-1", "mean", "sd", "median", "q25", "q75"]
    assert [row[1:4] for row in rows[1:4]] == [["1", "1", "1"]] * 3
    assert [row[4:] for row in rows[1:4]] == [["brats2023", "brats2021"]] * 2 + [["", ""]]


def test_the_published_table_and_another_method(cli: Cli, tmp_path: Path) -> None:
    predictions, other, references = cohort(tmp_path)
    done = cli("evaluate", predictions, references, "--layout", "brats", "-o", tmp_path / "brats.csv")
    assert done.returncode == 0, done.stderr
    rows = read_csv(tmp_path / "brats.csv")
    assert [row[0] for row in rows] == ["", "Mean", "StdDev", "Median", "25quantile", "75quantile"]
    assert rows[0][1:4] == ["Sensitivity_ET", "Sensitivity_WT", "Sensitivity_TC"] and len(rows[0]) == 10
    done = cli(
        "evaluate", predictions, references, "--against", other, "-o", tmp_path / "pairs.csv", "--progress", "json"
    )
    assert done.returncode == 0, done.stderr
    pairs = {(row[0], row[1]): row for row in read_csv(tmp_path / "pairs.csv")}
    assert pairs["dice", "WT"][2:6] == ["3", "1", "0.8", "0.2"]
    result = json.loads(done.stdout.splitlines()[-1])["result"]
    assert result["paired"]["WT"]["dice"]["difference"] == pytest.approx(0.2)
    fractions = [json.loads(line)["fraction"] for line in done.stdout.splitlines()[:-1]]
    assert fractions == sorted(fractions) and fractions[-1] == 1


def test_what_another_method_does_not_know_is_said(cli: Cli, tmp_path: Path) -> None:
    predictions, other, references = cohort(tmp_path)
    for case in ("A", "B-1", "C"):
        write_labels(other / f"{case}.nii.gz", {2: 6})
        ResultRecord(case, {"0": "background", "2": "WT"}, "brats2023", ("WT",), {}).write(other / f"{case}.json")
    table, page = tmp_path / "t.json", tmp_path / "t.html"
    asked = ("--measures", "dice,miou", "--report", page)
    done = cli("evaluate", predictions, references, "--against", other, "-o", table, *asked)
    assert done.returncode == 0, done.stderr
    said = (
        "Not compared with other: ET and TC, which it does not know.",
        "Not compared with other: mean IoU, which is over other regions there.",
    )
    values = json.loads(table.read_text())
    assert list(values["paired"]) == ["WT"] and values["unpaired"] == list(said)
    for sentence in said:
        assert sentence in done.stderr and sentence in page.read_text("utf-8")


def test_every_measure_convention_and_definition(cli: Cli, tmp_path: Path) -> None:
    prediction = write_labels(tmp_path / "p.nii.gz", {2: 4, 1: 2})
    reference = write_labels(tmp_path / "r.nii.gz", {2: 6, 1: 4, 4: 2})
    done = cli(
        "evaluate", prediction, reference, "-o", tmp_path / "t.json", "--measures", "all", "--classes",
        "--convention", "nnunet", "--hd95", "surfel", "--tolerance", "2.5", "--ref-labels", "brats2021",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "t.json").read_text())
    assert set(found["cases"]["p"]) == {"ET", "TC", "WT", "NCR", "ED", "all"}
    assert found["cases"]["p"]["ET"]["hd95"] is None and found["cases"]["p"]["ET"]["dice"] == 0
    assert found["settings"]["tolerance"] == 2.5
    for words in ("weighted by area", "nnU-Net", "2.5 mm", "BraTS 2023 GLI"):
        assert words in done.stdout


def test_another_grid_on_request(cli: Cli, tmp_path: Path) -> None:
    moved = AFFINE.copy()
    moved[0, 3] += AFFINE[0, 0]  # by one voxel along x, and the columns with it
    prediction = write_labels(tmp_path / "p.nii.gz", {2: 3}, moved)
    reference = write_labels(tmp_path / "r.nii.gz", {2: 4})
    done = cli("evaluate", prediction, reference)
    assert done.returncode == 2 and "--resample" in done.stderr and "1 mm apart" in done.stderr
    done = cli("evaluate", prediction, reference, "--resample", "-o", tmp_path / "t.json")
    assert done.returncode == 0 and "resampled" in done.stderr
    wt = json.loads((tmp_path / "t.json").read_text())["mean"]["WT"]
    assert wt["dice"] == pytest.approx(2 * 3 / 7) and wt["hd95"] == 1  # columns 1 to 3 of 0 to 3


def test_a_resection_cavity_is_not_scored_as_tumour(cli: Cli, tmp_path: Path) -> None:
    """A folder after treatment: one reference has 3 beside 4, the others 4 alone."""
    for case in ("A", "B"):
        write_labels(tmp_path / "pred" / f"{case}.nii.gz", {2: 6, 1: 4, 3: 2})
    write_labels(tmp_path / "ref" / "A_seg.nii.gz", {4: 8, 2: 6, 1: 4, 3: 2})
    write_labels(tmp_path / "ref" / "B_seg.nii.gz", {4: 8, 2: 6, 1: 4})
    folders = tmp_path / "pred", tmp_path / "ref"
    done = cli("evaluate", *folders, "-o", tmp_path / "t.csv", "--progress", "none")
    assert done.returncode == 2 and "--ref-labels" in done.stderr and "brats2024" in done.stderr
    assert not (tmp_path / "t.csv").exists()
    page = tmp_path / "r.html"
    done = cli("evaluate", *folders, "--ref-labels", "brats2024", "-o", tmp_path / "t.csv", "--report", page)
    assert done.returncode == 0, done.stderr
    header, first, second = read_csv(tmp_path / "t.csv")[:3]
    assert [first[header.index(f"dice {region}")] for region in ("ET", "TC", "WT")] == ["1", "1", "1"]
    assert second[header.index("dice ET")] == "0" and second[header.index("dice WT")] == "1"
    assert first[-2:] == ["brats2023", "brats2024"]
    assert "brats2024" in page.read_text("utf-8") and "brats2024" in done.stdout


def test_masks_of_the_whole_tumour(cli: Cli, tmp_path: Path) -> None:
    prediction = write_labels(tmp_path / "p.nii.gz", {2: 4, 1: 2, 3: 1})
    reference = write_labels(tmp_path / "r.nii.gz", {255: 6})
    refused = cli("evaluate", prediction, reference, "--progress", "none")
    assert refused.returncode == 2 and "whole" in refused.stderr
    options = ["--ref-labels", "whole", "-o", tmp_path / "t.json", "--report", tmp_path / "r.html"]
    done = cli("evaluate", prediction, reference, *options)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "t.json").read_text())
    assert set(found["mean"]) == {"WT"} and found["mean"]["WT"]["dice"] == pytest.approx(8 / 10)
    assert found["labels"] == {"prediction": "brats2023", "reference": "whole", "assumed": ["prediction"]}


def test_a_lost_header(cli: Cli, tmp_path: Path) -> None:
    prediction = write_labels(tmp_path / "p.nii.gz", {2: 3}, np.eye(4))
    reference = write_labels(tmp_path / "r.nii.gz", {2: 4})
    done = cli("evaluate", prediction, reference, "--progress", "none")
    assert done.returncode == 2 and "header of the prediction" in done.stderr and "--voxelwise" in done.stderr
    done = cli("evaluate", prediction, reference, "--voxelwise", "-o", tmp_path / "t.json")
    assert done.returncode == 0 and "voxel by voxel" in done.stderr
    found = json.loads((tmp_path / "t.json").read_text())
    assert found["mean"]["WT"]["dice"] == pytest.approx(6 / 7)
    assert "voxel by voxel" in found["notes"]["p"][0] and found["settings"]["voxelwise"] is True


def test_what_cannot_be_compared(cli: Cli, tmp_path: Path) -> None:
    prediction = write_labels(tmp_path / "p.nii.gz", {2: 4})
    moved = AFFINE.copy()
    moved[0, 3] += 2
    for name, maker, word in (
        ("shape", {"size": 9}, "10×10×10 against 9×9×9"),
        ("affine", {"affine": moved}, "mm apart"),
        ("labels", {}, "3, 4"),
    ):
        boxes = {2: 6, 3: 4, 4: 2} if name == "labels" else {2: 4}
        reference = write_labels(tmp_path / f"{name}.nii.gz", boxes, **maker)
        done = cli("evaluate", prediction, reference, "-o", tmp_path / "out" / "t.csv", "--progress", "none")
        assert done.returncode == 2 and word in done.stderr, done.stderr
    grey = tmp_path / "grey.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.arange(1000, dtype=np.int16).reshape(10, 10, 10), AFFINE), grey)
    done = cli("evaluate", grey, prediction, "--progress", "none")
    assert done.returncode == 2 and "not images" in done.stderr and len(done.stderr) < 400 + len(str(grey))
    (tmp_path / "empty").mkdir()
    for arguments, word in (
        ([tmp_path / "empty", tmp_path], "no segmentation"),
        ([prediction, tmp_path / "empty"], "a file and a folder"),
        ([prediction, tmp_path / "nowhere"], "does not exist"),
        ([prediction, prediction, "-o", tmp_path / "t.xls"], "no kind of table"),
        ([prediction, prediction, "--measures", "dice,dise"], "'dise'"),
        ([prediction, prediction, "--jobs", "0"], "processes"),
        ([prediction, prediction, "--report", tmp_path / "r.pdf"], ".html"),
    ):
        done = cli("evaluate", *arguments, "--progress", "none")
        assert done.returncode == 2 and word in done.stderr, done.stderr
        assert len(done.stderr.splitlines()) == 1
    done = cli("evaluate", prediction, prediction, "--report", tmp_path / "R.HTML", "--progress", "none")
    assert done.returncode == 0 and (tmp_path / "R.HTML").is_file(), done.stderr
    assert not (tmp_path / "out").exists() and not (tmp_path / "t.xls").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_leaves_nothing(environment: dict[str, str], tmp_path: Path, jobs: int) -> None:
    """As a terminal sends it: to the run and its processes alike."""
    first = write_labels(tmp_path / "pred" / "0.nii.gz", {2: 70, 1: 40, 3: 20}, size=90)
    for case in range(1, 40):
        shutil.copy(first, tmp_path / "pred" / f"{case}.nii.gz")
    command = [sys.executable, "-m", "BrainTumorSegLib.cli", "evaluate", tmp_path / "pred", tmp_path / "pred"]
    command += ["-o", tmp_path / "out" / "t.csv", "--measures", "all", "--jobs", jobs, "--progress", "json"]
    process = subprocess.Popen(
        list(map(str, command)), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if "of 40 (" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    _, reported = process.communicate(timeout=60)  # returns when the last process that could write has ended
    assert process.returncode == 130 and "Cancelled" in reported and "Traceback" not in reported
    assert not (tmp_path / "out").exists()


def test_models_come_go_and_are_verified(cli: Cli, home: Path, tmp_path: Path) -> None:
    file = make_model(tmp_path / "my-model.safetensors")
    assert cli("models", "add", file).returncode == 0
    assert "my-model" in cli("models").stdout
    card = cli("models", "info", "my-model").stdout
    assert card.startswith("# my-model") and "For research, not for clinical use." in card
    assert "my-model: sound" in cli("models", "verify").stdout
    stored = home / "models" / "my-model.safetensors"
    content = bytearray(stored.read_bytes())
    content[-5] ^= 0xFF
    stored.write_bytes(bytes(content))
    verified = cli("models", "verify")
    assert verified.returncode == 1 and "my-model" in verified.stderr
    assert cli("models", "remove", "my-model").returncode == 0
    assert not stored.exists()
    assert cli("models", "remove", "my-model").returncode == 2
    assert cli("models", "info", "my-model").returncode == 2


def test_models_for_programs(cli: Cli, tmp_path: Path) -> None:
    def result(*arguments: object) -> dict[str, Any]:
        done = cli("models", *arguments)
        assert done.returncode == 0, done.stderr
        *_, last = done.stdout.splitlines()
        return dict(json.loads(last)["result"])

    file, spoken = make_model(tmp_path / "of-programs.safetensors"), ("--progress", "json")
    stored = Path(result("add", file, *spoken)["path"])
    found = {model["id"]: model for model in result("list", *spoken)["models"]}
    assert found["of-programs"]["path"] == str(stored) and found["brats-ensemble"]["dice"]["WT"] > 0.5
    assert result(*spoken, "list") == result(*spoken) == result("list", *spoken)
    assert all(model["licence"] for model in result("list", "--available", *spoken)["available"])
    card = result("info", "of-programs", *spoken)
    assert card["modalities"] == ["t1", "t1ce", "t2", "flair"] and card["card"].startswith("# of-programs")
    average, other = tmp_path / "average.safetensors", make_model(tmp_path / "other.safetensors")
    assert result("ensemble", file, other, "-o", average, *spoken) == {"id": "average", "output": str(average)}
    assert len(result("verify", *spoken)["sound"]["of-programs"]) == 64
    exported = result("export", file, "--format", "torchscript", "-o", tmp_path / "n.ts", *spoken)
    assert str(tmp_path / "n.ts") in exported["outputs"]
    assert result("remove", "of-programs", *spoken) == {"removed": str(stored)} and not stored.exists()
