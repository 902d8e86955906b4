"""What a run keeps: checkpoints written whole, best and last, rows that survive a resume."""

from __future__ import annotations

import csv
import math
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from BrainTumorSegLib.domain.errors import ExecutionError
from BrainTumorSegLib.domain.labels import REGIONS
from BrainTumorSegLib.models.description import OutputSpec
from Testing.training_data import write_recipe
from Training.callbacks.interrupts import RandomState
from Training.callbacks.interval_log import IntervalLog, describe, draw_curves, scale_of, write_rows
from Training.callbacks.slice_images import SliceImages, middle, panels
from Training.callbacks.states import AtomicCheckpointIO, Keeper
from Training.recipe import load_recipe


class Unpicklable:
    def __reduce__(self) -> str:
        raise OSError("the disk is full")


def test_a_failed_save_leaves_the_state_before(tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"step": 1}, file)
    with pytest.raises(OSError, match="disk is full"):
        AtomicCheckpointIO().save_checkpoint({"step": torch.zeros(9), "x": Unpicklable()}, file)
    assert torch.load(file) == {"step": 1}
    assert list(tmp_path.iterdir()) == [file]


def test_the_old_state_stays_until_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every moment of saving a kill leaves a usable file, since only a rename replaces it."""
    file = tmp_path / "last.ckpt"
    plugin = AtomicCheckpointIO()
    plugin.save_checkpoint({"step": 1}, file)
    real = torch.save

    def watched(state: Any, part: Path) -> None:
        assert Path(part).parent == file.parent  # one file system, so that renaming is no copying
        assert Path(part) != file
        real(state, part)
        assert torch.load(file) == {"step": 1}

    monkeypatch.setattr(torch, "save", watched)
    plugin.save_checkpoint({"step": 2}, file)
    assert torch.load(file) == {"step": 2}


def trainer(step: int, loss: float, saved: list[tuple[str, int]] | None = None, **changes: Any) -> Any:
    """As much of Lightning's trainer as the callbacks look at."""
    values: dict[str, Any] = {
        "global_step": step,
        "callback_metrics": {
            "validation_loss": torch.tensor(loss),
            "validation_dice_ET": torch.tensor(0.5),
            "training_loss": torch.tensor(loss / 2),
        },
        "save_checkpoint": lambda path: saved.append((Path(path).name, step)) if saved is not None else None,
        "optimizers": [SimpleNamespace(param_groups=[{"lr": 0.01 / step}])],
        "is_global_zero": True,
        "loggers": [],
        "max_epochs": 5,
        "num_training_batches": 10,
        "progress_bar_callback": None,
    }
    return SimpleNamespace(**(values | changes))


LOSSES = [3.0, 1.0, 2.0, 0.5, 0.7]


@pytest.mark.parametrize(("best", "expected"), [(True, [10, 20, 40]), (False, [])])
def test_last_after_each_interval_and_best_when_better(tmp_path: Path, best: bool, expected: list[int]) -> None:
    """Without a held-out fold nothing is chosen: no best state at all."""
    saved: list[tuple[str, int]] = []
    keeper = Keeper(tmp_path, best=best)
    for number, loss in enumerate(LOSSES, 1):
        keeper.on_train_epoch_end(trainer(10 * number, loss, saved), None)  # type: ignore[arg-type]
    assert [step for name, step in saved if name == "last.ckpt"] == [10, 20, 30, 40, 50]
    assert [step for name, step in saved if name == "best.ckpt"] == expected


def test_a_resumed_keeper_knows_the_best(tmp_path: Path) -> None:
    keeper, resumed = Keeper(tmp_path, best=True), Keeper(tmp_path, best=True)
    keeper.on_train_epoch_end(trainer(10, 1.0, []), None)  # type: ignore[arg-type]
    resumed.load_state_dict(keeper.state_dict())
    saved: list[tuple[str, int]] = []
    resumed.on_train_epoch_end(trainer(20, 1.5, saved), None)  # type: ignore[arg-type]
    assert saved == [("last.ckpt", 20)]


def test_a_diverged_state_is_not_kept(tmp_path: Path) -> None:
    saved: list[tuple[str, int]] = []
    with pytest.raises(ExecutionError, match="nan at step 10"):
        Keeper(tmp_path, best=True).on_train_epoch_end(trainer(10, math.nan, saved), None)  # type: ignore[arg-type]
    assert saved == []


def test_random_states_go_on() -> None:
    kept = RandomState().state_dict()
    expected = (random.random(), float(np.random.rand()), torch.rand(3))
    random.seed(9), np.random.seed(9), torch.manual_seed(9)
    callback = RandomState()
    callback.load_state_dict(kept)
    torch.rand(5)  # what Lightning draws before training starts
    callback.on_train_start(None, None)  # type: ignore[arg-type]
    assert (random.random(), float(np.random.rand())) == expected[:2]
    assert torch.equal(torch.rand(3), expected[2])


def read(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_log_of_a_killed_and_resumed_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Killed after step 30, when the last state was of step 20: the rows are those of a run without the kill."""
    log = IntervalLog(tmp_path)
    log.on_train_start(trainer(1, 1.0, global_step=0), None)  # type: ignore[arg-type]
    states = []
    for number in (1, 2, 3):
        log.on_train_epoch_end(trainer(10 * number, LOSSES[number]), None)  # type: ignore[arg-type]
        states.append({"rows": list(log.state_dict()["rows"])})
    resumed = IntervalLog(tmp_path)
    resumed.load_state_dict(states[1])
    resumed.on_train_start(trainer(20, 1.0), None)  # type: ignore[arg-type]
    for number in (3, 4):
        resumed.on_train_epoch_end(trainer(10 * number, LOSSES[number]), None)  # type: ignore[arg-type]
    rows = read(tmp_path / "metrics.csv")
    assert [int(row["step"]) for row in rows] == [10, 20, 30, 40]
    assert [float(row["validation_loss"]) for row in rows] == pytest.approx(LOSSES[1:])
    assert [float(row["learning_rate"]) for row in rows] == pytest.approx([0.001, 0.0005, 0.01 / 30, 0.00025])
    seconds = [float(row["seconds"]) for row in rows]
    assert seconds == sorted(seconds)
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (1320, 792)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5  # one an interval
    assert lines[-1].startswith("step 40/50  loss 0.3500  validation loss 0.7000  Dice ET 0.500  lr 2.50e-04")


def test_only_the_first_process_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = IntervalLog(tmp_path)
    log.on_train_epoch_end(trainer(10, 1.0, is_global_zero=False), None)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""
    assert len(log.rows) == 1


def test_curves_of_a_run_that_began_before_a_measure_was_known(tmp_path: Path) -> None:
    rows = [{"step": 1.0, "learning_rate": 0.1, "training_loss": 1.0, "validation_loss": 1.0}]
    rows.append(rows[0] | {"step": 2.0, "validation_iou_WT": 0.5, "validation_accuracy": 0.9})
    write_rows(rows, tmp_path / "metrics.csv")
    draw_curves(rows, tmp_path / "curves.png")
    assert [row["validation_iou_WT"] for row in read(tmp_path / "metrics.csv")] == ["", "0.5"]
    assert (tmp_path / "curves.png").stat().st_size > 0


OUTPUTS = tuple(OutputSpec(name, tuple(sorted(REGIONS[name].labels))) for name in ("ET", "TC", "WT"))


def test_panels_show_inner_regions_over_outer_ones() -> None:
    """One column each of ET, the rest of the core, the rest of the tumour, nothing; found is the whole tumour alone."""
    image = torch.tensor([[0.0, 0.0, 0.0, 0.0]] * 4)
    target = torch.tensor([[1.0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0]])[:, None].repeat(1, 4, 1)
    found = torch.zeros(3, 4, 4, dtype=torch.bool)
    found[2] = target[2] > 0
    plain, truth, prediction = panels(image, target, found, OUTPUTS)
    assert not plain.any()
    half = {name: np.round(np.array(region.colour) / 2).astype(np.uint8) for name, region in REGIONS.items()}
    for column, name in enumerate(("ET", "TC", "WT")):
        assert np.array_equal(truth[2, column], half[name])
        assert np.array_equal(prediction[2, column], half["WT"])
    assert not truth[:, 3].any() and not prediction[:, 3].any()
    target[:, 0] = -1.0  # a row of which nothing is known
    marked = panels(image, target, found, OUTPUTS)[1]
    assert (marked[0] == marked[0, 0]).all() and marked[0].any() and np.array_equal(marked[1:], truth[1:])


def test_the_shown_slice_of_a_volume_is_its_middle_one() -> None:
    volume = torch.arange(2 * 5 * 3 * 3).reshape(2, 5, 3, 3)
    assert torch.equal(middle(volume), volume[:, 2])
    assert torch.equal(middle(volume[:, 0]), volume[:, 0])


def test_pictures_of_the_first_patches_of_a_validation(tmp_path: Path) -> None:
    """Three patches in batches of two with room for three rows; only the first process writes."""
    recipe = load_recipe(write_recipe(tmp_path / "tiny.toml"))
    pictures = SliceImages(tmp_path, recipe, rows=3)
    assert recipe.modalities[pictures.channel] == "flair"
    for main in (False, True):
        pictures.on_validation_epoch_start(None, None)  # type: ignore[arg-type]
        for size in (2, 2):
            batch = {"image": torch.rand(size, 4, 8, 6, 10), "target": torch.zeros(size, 3, 8, 6, 10)}
            pictures.on_validation_batch_end(None, None, batch["target"] - 1, batch)  # type: ignore[arg-type]
        pictures.on_validation_epoch_end(trainer(10, 1.0, is_global_zero=main), None)  # type: ignore[arg-type]
        assert (tmp_path / "validation-slices.png").exists() == main
    with Image.open(tmp_path / "validation-slices.png") as picture:
        assert picture.size == (3 * 14 - 4, 14 + 3 * 10 - 4)
        pixels = np.asarray(picture)
    # Nothing there and nothing found: truth and prediction look like the image.
    columns = [pixels[14:20, start : start + 10] for start in (0, 14, 28)]
    assert np.array_equal(columns[0], columns[1]) and np.array_equal(columns[0], columns[2])
    assert columns[0].std() > 20


def test_an_axis_is_logarithmic_where_few_high_values_would_press_the_others_together() -> None:
    assert scale_of([650.0, 0.4, 0.3, 0.2, 0.2]) == "log"
    assert scale_of([1.4, 0.4, 0.3, 0.2, 0.2]) == "linear"
    assert scale_of([650.0, 0.4, 0.3, 0.0, 0.2]) == "linear"  # zero has no logarithm
    assert scale_of([float("nan"), float("inf")]) == "linear"


@pytest.mark.parametrize(("seconds", "text"), [(59, "0 min 59 s"), (754, "12 min 34 s"), (7500, "2 h 05 min")])
def test_time_left(seconds: float, text: str) -> None:
    row = {"step": 1.0, "learning_rate": 1.0, "training_loss": 1.0, "validation_loss": 1.0}
    assert describe(row, 10, seconds).endswith(f"{text} left")
