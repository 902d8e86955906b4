"""Folds of slices, which leak: every slice once, no validation patient, and it is said wherever figures are."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.models.checkpoint_file import load_checkpoint
from Testing.image_data import write_lgg
from Training.batch_measures import batch_measures
from Training.datasets.case import UNKNOWN_LABEL
from Training.datasets.data_module import PatchData, parts
from Training.datasets.kinds import find_data
from Training.datasets.slice_fold import held_out_slices
from Training.recipe import Recipe, load_recipe
from Training.supervision import UNKNOWN
from Training.train import main

PATIENTS = ("A", "B", "C", "D")

RECIPE = """
id = "leaky"
title = "Leaky"
dimensions = 2
modalities = ["t1", "flair", "t1ce"]
outputs = [{ name = "WT", labels = [1, 2, 3] }]
network = { family = "unet", arguments = { width = 8, levels = 1 } }
sampling = { patch = [16, 16], batch = 4, workers = 0 }
tiling = { patch = [0, 0] }
preprocessing = { spacing = [0.0, 2.0, 2.0], normalisation = "zscore_foreground" }

[data]
name = "made"
kind = "lgg"
folds = 3
fold = 0
fold_of = "slices_of_training_patients"

[monitoring]
whole_slices = true
batch_measures = true

[optimisation]
steps = 4
interval = 2
loss = "dice"
ema = 0.0
precision = "32-true"
"""


def write_place(folder: Path) -> tuple[Path, Path]:
    """A recipe and its data."""
    write_lgg(folder / "data", PATIENTS, slices=6)
    (folder / "data" / "split.json").write_text(json.dumps({"train": ["A", "B", "C"], "validation": ["D"]}))
    file = folder / "leaky.toml"
    file.write_text(RECIPE)
    return file, folder / "data"


def open_data(folder: Path) -> tuple[Recipe, PatchData]:
    file, place = write_place(folder)
    recipe = load_recipe(file)
    data = PatchData(recipe, *parts(recipe, place, find_data(recipe, place)), folder / "cache", ())
    data.prepare_data()
    data.setup("fit")
    return recipe, data


def test_every_slice_trains_or_is_held_out_and_validation_patients_do_neither(tmp_path: Path) -> None:
    _, data = open_data(tmp_path)
    assert data.split.training == ("A", "B", "C") and data.split.validation == ("D",)
    assert len(data.split.monitoring) == 3
    known = {}
    for name in (*data.split.training, *data.split.monitoring):
        _, labels = data.cases[name].load()
        known[name] = (labels.array != UNKNOWN_LABEL).all(axis=(1, 2))
        assert not ((labels.array != UNKNOWN_LABEL).any(axis=(1, 2)) & ~known[name]).any()  # slices as a whole
    for name, held in zip(data.split.training, data.split.monitoring, strict=True):
        assert np.array_equal(known[name], ~known[held])
        assert known[held].sum() == 2  # of 6
    assert (data.cases["D"].load()[1].array != UNKNOWN_LABEL).all()


def test_patches_come_from_slices_that_train_and_monitored_is_each_held_out_slice_once(tmp_path: Path) -> None:
    recipe, data = open_data(tmp_path)
    assert all((batch["target"] != UNKNOWN).all() for batch in data.train_dataloader())
    monitored = data.val_dataloader()
    seen = torch.cat([batch["image"] for batch in monitored])
    targets = torch.cat([batch["target"] for batch in monitored])
    assert len(seen) == 3 * 2 and len({tuple(image.flatten().tolist()) for image in seen}) == 6
    assert (targets != UNKNOWN).all() and targets.shape == (6, 1, *seen.shape[2:])
    truth = sum(
        int((data.cases[name].load()[1].array == 2).sum() > 0) for name in data.split.monitoring
    )  # tumour is in the slices that are monitored, where it is in the patient's held-out ones
    assert truth and targets.any()
    assert seen.shape[-2] % 2 == seen.shape[-1] % 2 == 0 and min(seen.shape[-2:]) >= recipe.sampling.patch[0]


def test_the_folds_part_the_slices_and_differ_between_patients() -> None:
    folds = np.stack([held_out_slices("A", 10, fold, 3) for fold in range(3)])
    assert np.array_equal(folds.sum(axis=0), np.ones(10))
    assert any(not np.array_equal(held_out_slices(name, 10, 0, 3), folds[0]) for name in "BCD")


def test_a_leaky_run_says_so_in_log_and_card_and_logs_batches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, place = write_place(tmp_path)
    run = tmp_path / "run"
    arguments = [str(file), "--data", str(place), "--cache", str(tmp_path / "cache"), "-o", str(run), "--device=cpu"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "PATIENTS LEAK" in said and "not a figure of new patients" in said
    description = load_checkpoint(run / "leaky.safetensors").description
    assert "PATIENTS LEAK" in description.training.data
    assert description.training.training_cases == ("A", "B", "C")
    assert "nothing about new patients" in description.accuracy[0].data
    with (run / "metrics.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    for part in ("training", "validation"):
        for name in ("batch_dice", "batch_iou", "batch_accuracy"):
            assert all(0 <= float(row[f"{part}_{name}"]) <= 1 for row in rows)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("fold = 0", "fold = -1", "needs a fold"),
        ('kind = "lgg"', 'kind = "coco"', "data of kind"),
        ('fold_of = "slices_of_training_patients"', 'fold_of = "slices"', "fold_of"),
    ],
)
def test_slices_of_what(tmp_path: Path, old: str, new: str, word: str) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text(RECIPE.replace(old, new, 1))
    with pytest.raises(RequestError, match=word):
        load_recipe(file)


def test_measures_of_a_batch_by_hand() -> None:
    """Probabilities .5 everywhere, 3 of 8 known pixels tumour: shared 1.5, sums 4 and 3."""
    target = torch.zeros(2, 1, 2, 3)
    target[0, 0, 0] = 1
    target[1, 0, 1] = UNKNOWN
    target[1, 0, 0, 2] = UNKNOWN
    logits = torch.zeros_like(target)
    found = batch_measures(logits, target)
    assert found["batch_dice"].item() == pytest.approx((2 * 1.5 + 1) / (4 + 3 + 1))
    assert found["batch_iou"].item() == pytest.approx((1.5 + 1) / (4 + 3 - 1.5 + 1))
    assert found["batch_accuracy"].item() == pytest.approx(5 / 8)  # nothing is found
    assert batch_measures([logits, logits + 9], target) == found  # the fused map is the first
