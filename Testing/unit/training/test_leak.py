"""What a leak is worth: two runs that differ in their split alone, measured alike, on patients new to both."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import pytest

from Testing.image_data import write_lgg
from Testing.unit.training.test_slice_fold import PATIENTS, RECIPE
from Training.studies import leak
from Training.studies.leak import HELD_OUT, NEW, TRAINED, WHOLE, Figures, main


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("leak")
    write_lgg(folder / "data", PATIENTS, slices=6)
    (folder / "data" / "split.json").write_text(json.dumps({"train": ["A", "B", "C"], "validation": ["D"]}))
    (folder / "slices.toml").write_text(RECIPE)
    by_patient = RECIPE.replace('fold_of = "slices_of_training_patients"', "").replace('id = "leaky"', 'id = "strict"')
    (folder / "patients.toml").write_text(by_patient)
    return folder


def study(place: Path, *more: str, recipes: tuple[str, ...] = ("patients", "slices")) -> int:
    files = [str(place / f"{name}.toml") for name in recipes]
    places = ["--data", str(place / "data"), "--cache", str(place / "cache"), "-o", str(place / "out"), "--device=cpu"]
    return main([*files, *places, *more])


def test_both_are_trained_measured_and_loaded_again(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert study(place) == 0, capsys.readouterr().err
    out = place / "out"
    with (out / leak.TABLE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["place"]) for row in rows] == [
        (name, where) for name in ("strict", "leaky") for where in (TRAINED, HELD_OUT, NEW, WHOLE)
    ]
    for row in rows:
        assert 0 <= float(row["dice"]) <= 1 and 0 <= float(row["iou"]) <= float(row["dice"]) + 1e-6
    log = {row["step"]: row for row in csv.DictReader((out / "leaky" / "metrics.csv").open())}
    held = rows[5]
    assert float(held["dice"]) == pytest.approx(float(log[held["step"]]["validation_batch_dice"]))
    text = (out / leak.TEXT).read_text()
    assert "slices at random" in text and f"{float(held['dice']):.3f}" in text
    assert (out / leak.MASKS).stat().st_size and (out / leak.CURVES).stat().st_size
    before = (out / leak.TABLE).read_text()
    assert study(place, "--only-load") == 0
    assert (out / leak.TABLE).read_text() == before


@pytest.mark.parametrize("recipes", [("patients", "patients"), ("patients",), ("slices",)])
def test_a_fold_of_each_kind_is_needed(
    place: Path, recipes: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert study(place, recipes=recipes) == 2
    assert "fold_of" in capsys.readouterr().err or len(recipes) == 2


def test_recipes_that_differ_in_more_are_refused(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "longer.toml").write_text((place / "patients.toml").read_text().replace("steps = 4", "steps = 6"))
    assert study(place, recipes=("longer", "slices")) == 2
    assert "optimisation.steps" in capsys.readouterr().err


def test_what_was_promised_too_much_by_hand() -> None:
    row = Figures("x", "slices at random", HELD_OUT, 0.9, 0.8, 0.99, 4, 8, 60.0)
    rows = [row, dataclasses.replace(row, place=NEW, dice=0.7), dataclasses.replace(row, place=WHOLE, dice=0.6)]
    said = leak.words(rows)
    assert "0.900" in said and "0.700, which is 0.200 less" in said and "0.600" in said
