"""The comparison: trained, interrupted, resumed, loaded, refused; its numbers by hand; what the figures show."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from BrainTumorSegLib.models.checkpoint_file import load_checkpoint, save_checkpoint
from Testing import samples
from Testing.image_data import make_slice, write_image, write_lgg
from Training.datasets.split import Split, read_split
from Training.export import describe_run
from Training.module import SegmentationModule
from Training.recipe import Recipe, load_recipe
from Training.studies.compare import main, short_names
from Training.studies.comparison_results import (
    read_log,
)

OUTPUTS = {"comparison.csv", "comparison.md", "comparison_masks.png", "comparison_curves.png"}
PATIENTS = ("A", "B", "C", "D", "E", "F")
WHOLE = Split(("A", "B", "C"), (), ("D", "E", "F"))
SPLIT = {"train": list(WHOLE.training), "validation": list(WHOLE.validation)}

RECIPE = """
id = "NAME"
title = "TITLE"
dimensions = 2
modalities = ["t1", "flair", "t1ce"]
optional_modalities = ["t1", "t1ce"]
outputs = [{ name = "WT", labels = [1, 2, 3] }]
network = { family = "unet", arguments = { width = 8, levels = LEVELS } }
sampling = { patch = [16, 16], batch = 2, workers = 0 }
tiling = { patch = [0, 0] }
preprocessing = { spacing = [0.0, 8.0, 8.0] }

[data]
name = "made"
kind = "lgg"

[optimisation]
steps = 4
interval = 2
ema = 0.0
precision = "32-true"
"""


def write_recipe(file: Path, changes: Mapping[str, str] | None = None, *, levels: int = 1, title: str = "") -> Path:
    """A recipe named after the file; ``changes``: name of an entry → its line."""
    text = RECIPE.replace("NAME", file.stem).replace("TITLE", title or f"U-Net {levels}")
    lines = text.replace("LEVELS", str(levels)).splitlines()
    for name, line in (changes or {}).items():
        place = next(i for i, old in enumerate(lines) if old.startswith(f"{name} ="))
        lines[place] = line
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``data`` of six patients with a split, and recipes ``one`` and ``two``."""
    folder = tmp_path_factory.mktemp("compare")
    write_lgg(folder / "data", PATIENTS)
    (folder / "data" / "split.json").write_text(json.dumps(SPLIT), encoding="utf-8")
    write_recipe(folder / "one.toml")
    write_recipe(folder / "two.toml", levels=2)
    return folder


def compare(place: Path, output: str, *arguments: str, recipes: tuple[str, ...] = ("one", "two")) -> int:
    files = [str(place / f"{name}.toml") for name in recipes]
    common = ["--data", str(place / "data"), "--cache", str(place / "cache"), "--device", "cpu"]
    return main([*files, "-o", str(place / output), *common, *arguments])


def read_table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


@pytest.fixture(scope="module")
def interrupted(place: Path) -> Iterator[Path]:
    """A comparison in which somebody pressed Ctrl-C in the third step of the second network."""
    trained = []

    def press(module: SegmentationModule, *_: Any) -> None:
        trained.append(module.recipe.id)
        if trained.count("two") == 3:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SegmentationModule, "on_train_batch_end", press)
        assert compare(place, "out") == 130
    yield place / "out"


def test_an_interrupted_comparison_goes_on(interrupted: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The finished run is loaded, the other goes on from its last state, and then everything is there."""
    out = interrupted
    assert not OUTPUTS & {path.name for path in out.iterdir()}
    assert not (out / "two" / "two.safetensors").exists()
    assert torch.load(out / "two" / "last.ckpt", weights_only=False)["global_step"] == 2
    before = (out / "one" / "one.safetensors").read_bytes()

    assert compare(place, "out") == 0
    said = capsys.readouterr().out
    assert "[1/2] one is finished" in said and "Resuming at step 2" in said
    assert "step 2/4" not in said  # not trained again
    assert (out / "one" / "one.safetensors").read_bytes() == before
    assert {path.name for path in out.iterdir()} == OUTPUTS | {"one", "two"}
    rows = read_table(out / "comparison.csv")
    assert [(r["id"], r["network"], r["region"], r["steps"], r["patients"]) for r in rows] == [
        ("one", "U-Net 1", "WT", "4", "3"),
        ("two", "U-Net 2", "WT", "4", "3"),
    ]
    for row in rows:
        log = read_log(out / row["id"] / "metrics.csv")
        assert float(row["training_seconds"]) == log[-1]["seconds"]
        weights = load_checkpoint(out / row["id"] / f"{row['id']}.safetensors").build().parameters()
        assert int(row["parameters"]) == sum(parameter.numel() for parameter in weights)

    modified = (out / "comparison.csv").stat().st_mtime_ns
    assert compare(place, "out", "--only-load") == 0
    assert "Training:" not in capsys.readouterr().out
    assert (out / "comparison.csv").stat().st_mtime_ns > modified
    again = read_table(out / "comparison.csv")
    assert [r["dice_mean"] for r in again] == [r["dice_mean"] for r in rows]


def test_the_interruption_says_how_to_go_on(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SegmentationModule, "on_train_batch_end", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert compare(place, "early", recipes=("one",)) == 130
    assert "Start the comparison again to go on." in capsys.readouterr().err


def test_only_load_names_what_is_missing(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(place, "nothing", "--only-load") == 2
    said = capsys.readouterr().err
    assert str(Path("nothing") / "one") in said and str(Path("nothing") / "two") in said
    assert not (place / "nothing").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": "steps = 6"}, "optimisation.steps (one: 4, other: 6)"),
        ({"preprocessing": "preprocessing = { spacing = [0.0, 4.0, 4.0] }"}, "preprocessing.spacing"),
        ({"kind": 'kind = "lgg"\nfold = 0'}, "data.fold (one: -1, other: 0)"),
        ({"kind": 'kind = "images"'}, "data.kind (one: lgg, other: images)"),
        ({"optional_modalities": ""}, "optional_modalities"),
        ({"outputs": 'outputs = [{ name = "ET", labels = [3] }]'}, "outputs"),
    ],
)
def test_recipes_that_differ_are_refused(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: Mapping[str, str], words: str
) -> None:
    other = write_recipe(tmp_path / "other.toml", changes)
    arguments = [str(place / "one.toml"), str(other), "-o", str(tmp_path / "out"), "--data", str(place / "data")]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "cannot be compared, they differ in" in said and words in said
    assert said.count("\n") == 1 and not (tmp_path / "out").exists()


def test_everything_that_differs_is_named_and_options_settle_it(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_recipe(tmp_path / "other.toml", {"steps": "steps = 6", "kind": 'kind = "lgg"\nfold = 0'})
    arguments = [str(place / "one.toml"), str(other), "-o", str(tmp_path / "out"), "--data", str(place / "data")]
    assert main(arguments) == 2
    assert "data.fold" in (said := capsys.readouterr().err) and "optimisation.steps" in said
    assert main([*arguments, "--fold", "-1", "--steps", "2", "--only-load"]) == 2
    assert "no finished run" in capsys.readouterr().err  # so they were found to agree


def test_two_recipes_of_one_id(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(place, "out2", recipes=("one", "one")) == 2
    assert "Several recipes have the id one." in capsys.readouterr().err


def test_a_network_that_cannot_be_built_is_reported_before_training(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recipe(place / "wrong.toml", {"sampling": "sampling = { patch = [17, 17], batch = 2 }"})
    assert compare(place, "wrong", recipes=("one", "wrong")) == 2
    assert "divisible by 2" in capsys.readouterr().err
    assert not (place / "wrong").exists()


@pytest.fixture
def known(tmp_path: Path) -> Path:
    """Finished runs of two known networks: one finds the tumour exactly, one nothing.

    The validation patients' masks lack part of their tumour: D every second voxel of one slice, E a slice, F nothing.
    """
    data = write_lgg(tmp_path / "data", PATIENTS)
    (data / "split.json").write_text(json.dumps(SPLIT), encoding="utf-8")
    for patient in ("D", "E"):
        tumour = make_slice(1, PATIENTS.index(patient))[1]
        kept = np.argwhere(tumour)[::2] if patient == "D" else np.empty((0, 2), dtype=int)
        mask = np.zeros(tumour.shape, dtype=np.uint8)
        mask[tuple(kept.T)] = 255
        write_image(data / patient / f"{patient}_10_mask.tif", mask)
    for name, title in (("oracle", "Oracle"), ("blind", "Sees nothing")):
        recipe = load_recipe(write_recipe(tmp_path / f"{name}.toml", title=title))
        write_run(tmp_path / "out" / name, recipe)
    return tmp_path


def write_run(folder: Path, recipe: Recipe, split: Split = WHOLE) -> Path:
    """What a finished run of four steps leaves."""
    description = describe_run(recipe, split, steps=4)
    weights = samples.oracle_weights(description)
    if recipe.id == "blind":
        weights["head.bias"] -= 100
    folder.mkdir(parents=True)
    log = "step,learning_rate,training_loss,validation_loss,validation_dice_WT,seconds\n"
    rows = "2,0.001,0.9,0.95,0.1,61\n4,0.0005,0.5,0.6,0.7,90\n"
    (folder / "metrics.csv").write_text(log + rows, encoding="utf-8")
    return save_checkpoint(description, weights, folder / f"{recipe.id}.safetensors")


def test_the_table_by_hand(known: Path) -> None:
    assert compare(known, "out", "--only-load", recipes=("oracle", "blind")) == 0
    oracle, blind = read_table(known / "out" / "comparison.csv")
    dice, iou, specificity = [], [], []
    voxels = 3 * 32 * 32
    for patient in ("D", "E", "F"):
        first, second = (int(make_slice(n, PATIENTS.index(patient))[1].sum()) for n in (1, 2))
        found = first + second
        true = {"D": (first + 1) // 2, "E": 0, "F": first}[patient] + second
        dice.append(2 * true / (found + true))
        iou.append(true / found)
        specificity.append((voxels - found) / (voxels - true))
    low, middle, high = sorted(dice)
    assert low < middle < high == 1
    mean = sum(dice) / 3
    expected = {
        "dice_mean": mean,
        "dice_sd": (sum((value - mean) ** 2 for value in dice) / 3) ** 0.5,
        "dice_median": middle,
        "dice_q25": (low + middle) / 2,
        "dice_q75": (middle + high) / 2,
        "iou_mean": sum(iou) / 3,
        "sensitivity_mean": 1.0,
        "specificity_mean": sum(specificity) / 3,
        "parameters": 6633,  # 824 + 3520 + 520 + 1760 + 9: down, bottom, up, after the skip, head
        "steps": 4,
        "measured_step": 4,
        "training_seconds": 90,
        "patients": 3,
    }
    assert {name: float(oracle[name]) for name in expected} == pytest.approx(expected, rel=1e-6)
    nothing = {"dice_mean": 0, "dice_sd": 0, "dice_q75": 0, "iou_mean": 0, "sensitivity_mean": 0, "specificity_mean": 1}
    assert {name: float(blind[name]) for name in nothing} == nothing
    assert 0 < float(oracle["seconds_per_slice"]) < 10

    text = (known / "out" / "comparison.md").read_text(encoding="utf-8")
    assert f"| Oracle | 6633 | {mean:.3f} |" in text and "| 1.5 |" in text
    assert "Trained on 3 patients, measured on 3 (validation patients)" in text
    assert "Of each run the last state is taken." in text
    assert "Budget: 4 steps for all, 2 patches of 16 × 16 a step." in text
    assert "Loss: dice_bce.\n" in text


def test_the_masks_are_painted_where_they_were_found(known: Path) -> None:
    """Columns: image, reference, the oracle's, and that of the network which finds nothing."""
    assert compare(known, "out", "--only-load", recipes=("oracle", "blind")) == 0
    with Image.open(known / "out" / "comparison_masks.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    green = (pixels[..., 1] - pixels[..., 0] > 30).sum(axis=0)
    columns = [int(part.sum()) for part in np.array_split(green, 4)]
    assert columns[0] == columns[3] == 0
    assert columns[1] > 0 and columns[2] > 0
    with Image.open(known / "out" / "comparison_curves.png") as image:
        assert np.asarray(image.convert("L")).std() > 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": "steps = 8"}, "optimisation.steps (4, now 8)"),
        (
            {"network": 'network = { family = "unet", arguments = { width = 16, levels = 1 } }'},
            "network.arguments.width",
        ),
        ({"title": 'title = "Oracle"\ninit = "other.safetensors"'}, "init (none, now other.safetensors)"),
        ({"title": 'title = "Oracle"\nencoder_weights = "b0.pt"'}, "encoder_weights (none, now b0.pt)"),
        ("split", "other patients"),
        ("log", "metrics.csv is no training log"),
        ("checkpoint", "damaged"),
    ],
)
def test_runs_of_something_else_are_refused(
    known: Path, capsys: pytest.CaptureFixture[str], change: Mapping[str, str] | str, words: str
) -> None:
    run = known / "out" / "oracle"
    if isinstance(change, Mapping):
        write_recipe(known / "oracle.toml", change, title="Oracle")
    elif change == "split":
        turned = {"train": SPLIT["validation"], "validation": SPLIT["train"]}
        (known / "data" / "split.json").write_text(json.dumps(turned), encoding="utf-8")
    elif change == "log":
        (run / "metrics.csv").write_text("step\n", encoding="utf-8")
    else:
        content = bytearray((run / "oracle.safetensors").read_bytes())
        content[-1] ^= 1
        (run / "oracle.safetensors").write_bytes(content)
    assert compare(known, "out", recipes=("oracle",)) == 2
    said = capsys.readouterr().err
    assert words in said and "oracle" in said and said.startswith("error: ")
    assert not OUTPUTS & {path.name for path in (known / "out").iterdir()}


def test_an_interrupted_run_with_another_budget_is_refused(
    interrupted: Path, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (interrupted / "two" / "two.safetensors").unlink(missing_ok=True)
    assert compare(place, "out", "--steps", "6", recipes=("two",)) == 2
    assert "optimisation.steps (4, now 6)" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["validation", "fold"])
def test_a_held_out_fold_decides_the_state_but_is_measured_only_when_asked_for(known: Path, part: str) -> None:
    recipe = load_recipe(write_recipe(known / "folded.toml", {"kind": 'kind = "lgg"\nfolds = 3\nfold = 0'}))
    split = read_split(known / "data", PATIENTS, folds=3, fold=0)
    write_run(known / "out" / "folded", recipe, split)
    assert compare(known, "out", "--only-load", "--measure", part, recipes=("folded",)) == 0
    (row,) = read_table(known / "out" / "comparison.csv")
    assert row["patients"] == {"validation": "3", "fold": "1"}[part]
    assert (float(row["dice_mean"]) == 1) == (part == "fold")  # the masks of validation patients lack a part
    text = (known / "out" / "comparison.md").read_text(encoding="utf-8")
    assert "Of each run the state with the lowest loss on fold 0 of 3 (1 patients) is taken." in text


def test_a_network_ends_when_its_curve_is_flat_and_the_table_says_when(known: Path) -> None:
    changes = {"kind": 'kind = "lgg"\nfolds = 3\nfold = 0', "steps": "steps = 8\npatience = 2"}
    recipe = load_recipe(write_recipe(known / "early.toml", changes))
    write_run(known / "out" / "early", recipe, read_split(known / "data", PATIENTS, folds=3, fold=0))
    log = known / "out" / "early" / "metrics.csv"
    log.write_text(log.read_text() + "6,0.0005,0.5,0.7,0.7,95\n")
    assert compare(known, "out", "--only-load", recipes=("early",)) == 0
    (row,) = read_table(known / "out" / "comparison.csv")
    assert (row["steps"], row["measured_step"]) == ("6", "4")
    text = (known / "out" / "comparison.md").read_text(encoding="utf-8")
    assert "steps | best step |" in text and "| 6 | 4 |" in text
    assert "Budget: at most 8 steps for all; ended when the loss on the fold had not fallen for 2 validations" in text


def test_the_table_of_brats_papers(known: Path) -> None:
    assert compare(known, "out", "--only-load", "--brats-table", recipes=("oracle", "blind")) == 0
    rows = read_table(known / "out" / "comparison_brats.csv")
    assert [(row["id"], row["statistic"]) for row in rows] == [
        (name, statistic)
        for name in ("oracle", "blind")
        for statistic in ("Mean", "StdDev", "Median", "25quantile", "75quantile")
    ]
    oracle, blind = read_table(known / "out" / "comparison.csv")
    assert float(rows[0]["Sensitivity_WT"]) == 1 and float(rows[5]["Sensitivity_WT"]) == 0
    assert float(rows[0]["Dice_WT"]) == pytest.approx(float(oracle["dice_mean"]))
    assert float(rows[2]["Dice_WT"]) == pytest.approx(float(oracle["dice_median"]))
    assert float(rows[0]["Specificity_WT"]) == pytest.approx(float(oracle["specificity_mean"]))
    assert 0 < float(rows[0]["Hausdorff95_WT"]) < float(rows[5]["Hausdorff95_WT"])
    assert float(blind["mean_iou"]) == 0 and float(oracle["mean_iou"]) == pytest.approx(float(oracle["iou_mean"]))
    assert "Hausdorff95_WT" in (known / "out" / "comparison.md").read_text(encoding="utf-8")


def test_without_a_fold_there_is_none_to_measure_on(known: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(known, "out", "--only-load", "--measure", "fold", recipes=("oracle",)) == 2
    assert "no patients of a held-out fold" in capsys.readouterr().err


def test_bad_validation_images_are_reported_before_training(known: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where a fold is held out, when a run itself would never look at them."""
    for name in ("D_9_mask.tif", "E_9_mask.tif"):
        (known / "data" / name[0] / name).unlink()
    write_recipe(known / "folded.toml", {"kind": 'kind = "lgg"\nfolds = 3\nfold = 0'})
    assert compare(known, "new", recipes=("folded",)) == 2
    said = capsys.readouterr().err
    assert "D_9.tif has no mask" in said and "E_9.tif has no mask" in said
    assert not (known / "new").exists()


@pytest.mark.parametrize(
    ("titles", "names"),
    [
        (("U-Net, 32 features, whole tumour", "U²-Net†, whole tumour"), ["U-Net, 32 features", "U²-Net†"]),
        (("A, whole tumour", "whole tumour"), ["A, whole tumour", "whole tumour"]),
        (("Same", "Same"), ["r0", "r1"]),
        (("One, whole tumour",), ["One, whole tumour"]),
    ],
)
def test_what_all_titles_end_with_is_left_out(tmp_path: Path, titles: tuple[str, ...], names: list[str]) -> None:
    files = [write_recipe(tmp_path / f"r{number}.toml", title=title) for number, title in enumerate(titles)]
    assert short_names([load_recipe(file) for file in files]) == names
