"""Cross-validation: every training patient is held out once, and judged by what is found on the others."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from BrainTumorSegLib.models.checkpoint_file import read_description
from Testing.training_data import write_brats
from Training.studies import cross_validation
from Training.studies.calibration import RegionEvidence
from Training.studies.cross_validation import Patient, group_lines, judged, main, promise_lines

RECIPE = """
id = "crossed"
title = "U-Net"
dimensions = 2
outputs = [{ name = "ED", labels = [2] }, { name = "ET", labels = [3] }, { name = "NCR", labels = [1] }]
network = { family = "unet", arguments = { width = 8, levels = 1 } }
sampling = { patch = [16, 16], batch = 2, workers = 0 }
tiling = { patch = [0, 0] }

[data]
name = "made"
folds = 2
fold = 0

[optimisation]
steps = 2
interval = 2
ema = 0.0
precision = "32-true"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crossed")
    write_brats(folder / "data", 5)
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


def study(place: Path, *more: str) -> int:
    places = ["--data", str(place / "data"), "--cache", str(place / "cache"), "-o", str(place / "out"), "--device=cpu"]
    return main([str(place / "recipe.toml"), *places, *more])


def test_every_training_patient_is_held_out_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study(place) == 0, capsys.readouterr().err
    table = place / "out" / cross_validation.TABLE
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    split = json.loads((place / "data" / "split.json").read_text())
    assert sorted(row["patient"] for row in rows) == sorted(split["train"])
    for row in rows:
        run = read_description(place / "out" / f"fold-{row['fold']}" / "crossed" / "crossed.safetensors").training
        assert row["patient"] not in run.training_cases and len(run.training_cases) == 2
        assert 0 <= float(row["dice_WT"]) <= 1
    before = table.read_bytes()
    assert study(place, "--only-load") == 0
    assert table.read_bytes() == before


def evidence(probability: float, *, there: bool) -> dict[str, RegionEvidence]:
    """ET of ten voxels, all found with one probability."""
    truth = np.full(10, there)
    values = np.full(10, probability, dtype=np.float32)
    return {"ET": RegionEvidence(values, truth, probability, float(there), np.ones(10, dtype=bool))}


def test_doubtful_et_is_none_by_the_patients_of_the_other_folds() -> None:
    folds = [
        {"sure": evidence(0.95, there=True), "doubtful": evidence(0.55, there=False)},
        {"sure too": evidence(0.95, there=True), "doubtful too": evidence(0.55, there=False)},
    ]
    found = {p.id: p for p in judged(folds, dict.fromkeys(["sure", "doubtful", "sure too", "doubtful too"], 2.0))}
    assert [found[name].left_without for name in ("sure", "sure too")] == [False, False]
    assert [found[name].left_without for name in ("doubtful", "doubtful too")] == [True, True]
    assert all(p.dice["ET"] == 1 for p in found.values())
    assert math.isnan(found["doubtful"].expected["ET"])


def test_groups_and_promises_by_hand() -> None:
    def patient(volume: float, dice: float, expected: float, left: bool = False) -> Patient:
        return Patient("p", 0, volume, {"ET": dice}, {"ET": expected}, {"ET": 0.1}, left)

    patients = [patient(5, 0.8, 0.9), patient(2, 0.4, 0.8), patient(0.5, 0.0, 0.6), patient(0, 1.0, math.nan, True)]
    lines = [dict(zip(group_lines(patients)[0], line, strict=True)) for line in group_lines(patients)[1:]]
    assert [(line["number"], line["Dice ET"], line["left without ET"]) for line in lines] == [
        ("4", "0.550", "1"), ("2", "0.600", "0"), ("1", "0.000", "0"), ("1", "1.000", "1"),
    ]  # fmt: skip
    assert promise_lines(patients)[1] == ["ET", "0.1000", "0.367", "1 of 3"]
