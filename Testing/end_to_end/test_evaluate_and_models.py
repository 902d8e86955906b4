"""``braintumorseg evaluate`` and ``braintumorseg models``."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import numpy as np

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
    done = cli("evaluate", prediction, reference, "-o", tmp_path / "t.json", "--progress", "none")
    assert done.returncode == 0, done.stderr
    # WT 4 of 6 columns: 2·4/10; TC 2 of 4: 2·2/6; ET 0 of 2: 0
    assert json.loads((tmp_path / "t.json").read_text())["mean"] == {
        "ET": {"dice": 0.0},
        "TC": {"dice": 2 / 3},
        "WT": {"dice": 0.8},
    }


def test_folders_match_by_case_and_go_on_past_a_bad_one(cli: Cli, tmp_path: Path) -> None:
    for case in ("A", "B-1", "C"):
        write_labels(tmp_path / "pred" / f"{case}.nii.gz", {2: 4, 1: 2, 3: 1})
    write_labels(tmp_path / "ref" / "A" / "A_seg.nii.gz", {2: 4, 1: 2, 4: 1})
    write_labels(tmp_path / "ref" / "B-1" / "B-1-seg.nii.gz", {2: 4, 1: 2, 3: 1})
    write_labels(tmp_path / "ref" / "C.nii.gz", {2: 4})
    write_labels(tmp_path / "ref" / "D" / "D_seg.nii.gz", {2: 4})  # a reference nobody predicted
    (tmp_path / "ref" / "C.nii.gz").write_bytes(b"broken")
    table = tmp_path / "table.csv"
    done = cli("evaluate", tmp_path / "pred", tmp_path / "ref", "-o", table, "--progress", "none")
    assert done.returncode == 1 and "C:" in done.stderr and "1 of 3" in done.stderr
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == ["case", "A", "B-1", "mean"]
    assert rows[-1][1:] == ["1.0000"] * 3


def test_what_cannot_be_compared(cli: Cli, tmp_path: Path) -> None:
    prediction = write_labels(tmp_path / "p.nii.gz", {2: 4})
    moved = AFFINE.copy()
    moved[0, 3] += 2
    for name, maker, word in (
        ("shape", {"size": 9}, "shape"),
        ("affine", {"affine": moved}, "mm apart"),
        ("labels", {}, "3, 4"),
    ):
        boxes = {2: 6, 3: 4, 4: 2} if name == "labels" else {2: 4}
        reference = write_labels(tmp_path / f"{name}.nii.gz", boxes, **maker)
        done = cli("evaluate", prediction, reference, "-o", tmp_path / "t.csv", "--progress", "none")
        assert done.returncode == 2 and word in done.stderr, done.stderr
    (tmp_path / "empty").mkdir()
    for arguments, word in (
        ([tmp_path / "empty", tmp_path], "no segmentation"),
        ([prediction, tmp_path / "empty"], "a file and a folder"),
        ([prediction, tmp_path / "nowhere"], "does not exist"),
        ([prediction, prediction, "-o", tmp_path / "t.xls"], "no kind of table"),
    ):
        done = cli("evaluate", *arguments, "--progress", "none")
        assert done.returncode == 2 and word in done.stderr, done.stderr
    assert not (tmp_path / "t.csv").exists()


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
