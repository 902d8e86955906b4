"""Whole runs in this process: what is kept, chosen, exported, refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from Testing.training_data import STILL, exported
from Training.module import SegmentationModule


@pytest.fixture(scope="module")
def finished(train: Callable[..., tuple[int, Path]]) -> Path:
    """A run with a held-out fold and an average of the weights; ``raw.pt`` holds the weights after each step."""
    raw: list[dict[str, torch.Tensor]] = []

    def record(module: SegmentationModule, *_: Any) -> None:
        raw.append({name: tensor.clone() for name, tensor in module.network.state_dict().items()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SegmentationModule, "on_train_batch_end", record)
        code, run = train("finished", "--measure=none")
    assert code == 0
    torch.save(raw, run / "raw.pt")
    return run


def steps(run: Path) -> list[int]:
    with (run / "metrics.csv").open(newline="") as lines:
        return [int(row["step"]) for row in csv.DictReader(lines)]


def state(file: Path) -> dict[str, Any]:
    return torch.load(file, weights_only=False)


def test_a_run_leaves_states_logs_curves_and_a_checkpoint(finished: Path) -> None:
    assert steps(finished) == [2, 4]
    names = {path.name for path in finished.iterdir()}
    assert {"best.ckpt", "last.ckpt", "metrics.csv", "curves.png", "tensorboard", "tiny.safetensors"} <= names
    assert not any("part-" in name for name in names)
    assert list((finished / "tensorboard").glob("events.*"))
    assert exported(finished).build()(torch.zeros(1, 4, 16, 16, 16)).shape == (1, 3, 16, 16, 16)


def test_tensorboard_has_the_rows(finished: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished / "tensorboard"))
    events.Reload()
    assert {"training_loss", "validation_loss", "validation_dice_WT", "learning_rate"} <= set(events.Tags()["scalars"])
    with (finished / "metrics.csv").open(newline="") as lines:
        rows = [(int(row["step"]), float(row["validation_loss"])) for row in csv.DictReader(lines)]
    assert [event.step for event in events.Scalars("validation_loss")] == [step for step, _ in rows]
    assert [event.value for event in events.Scalars("validation_loss")] == pytest.approx([loss for _, loss in rows])


def test_the_average_is_kept_and_exported_by_hand(finished: Path) -> None:
    """a₁ = w₁, then aₙ₊₁ = d aₙ + (1 - d) wₙ₊₁ with d = (1 + n) / (10 + n), which is less than the recipe's 0.8."""
    raw = torch.load(finished / "raw.pt")
    assert len(raw) == 4
    last = state(finished / "last.ckpt")
    best = state(finished / "best.ckpt")
    weights = exported(finished).weights
    differing = 0
    for name, average in raw[0].items():
        for step, decay in zip(raw[1:], (2 / 11, 3 / 12, 4 / 13), strict=True):
            average = decay * average + (1 - decay) * step[name]
        assert torch.allclose(last["state_dict"][f"network.{name}"], average, atol=1e-6)
        assert torch.equal(last["current_model_state"][f"network.{name}"], raw[-1][name])
        assert torch.equal(weights[name], best["state_dict"][f"network.{name}"].half())
        differing += not torch.equal(weights[name], raw[-1][name].half())
    assert differing > len(raw[0]) / 2  # the raw weights are others


def test_split_and_steps_are_reported(finished: Path, place: Path) -> None:
    record = exported(finished).description.training
    parts = json.loads((place / "data" / "split.json").read_text())
    assert record.validation_cases == tuple(parts["validation"])
    assert len(record.training_cases) == 2  # of four, every third from the first is held out
    assert set(record.training_cases) < set(parts["train"])
    assert record.steps == state(finished / "best.ckpt")["global_step"]


def test_an_existing_run_is_not_overwritten(
    finished: Path, train: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "last.ckpt").read_bytes()
    assert train("finished")[0] == 2
    assert "holds a run already. Add --resume" in capsys.readouterr().err
    assert (finished / "last.ckpt").read_bytes() == before


def test_resuming_nothing(train: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]) -> None:
    assert train("nothing", "--resume")[0] == 2
    assert "nothing to resume" in capsys.readouterr().err


def test_a_finished_run_is_exported_again_without_training(
    finished: Path, train: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "last.ckpt").read_bytes()
    digest = exported(finished).digest
    (finished / "tiny.safetensors").unlink()
    (finished / ".1-0.part-last.ckpt").write_bytes(b"of a kill while saving")
    assert train("finished", "--resume", "--measure=none")[0] == 0
    assert "step" not in capsys.readouterr().out.replace("Resuming at step 4", "")
    assert exported(finished).digest == digest
    assert (finished / "last.ckpt").read_bytes() == before
    assert not list(finished.glob(".*.part-*"))


@pytest.mark.parametrize("part", ["fold", "validation"])
def test_the_accuracy_is_of_the_patients_asked_for(
    finished: Path, place: Path, train: Callable[..., tuple[int, Path]], part: str
) -> None:
    """Temperatures may come into the recipe after the run, found on its fold, before the validation patients judge."""
    shutil.copytree(finished, place / f"measured-{part}")
    changes = {"# top": "postprocessing = { temperatures = { ET = 1.5 } }"}
    assert train(f"measured-{part}", "--resume", f"--measure={part}", changes=changes)[0] == 0
    description = exported(place / f"measured-{part}").description
    record = description.accuracy[0]
    assert record.measure == "Dice" and record.cases == 2
    assert record.data.endswith("validation patients" if part == "validation" else "of the training patients")
    assert description.postprocessing.temperatures == {"ET": 1.5}
    measures = {r.measure for r in description.accuracy}
    assert {"Expected calibration error", "Error of the expected Dice"} <= measures


@pytest.mark.parametrize(("part", "fold"), [("test", "fold = 0"), ("fold", "fold = -1")])
def test_a_part_without_patients_is_refused_before_training(
    train: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str], part: str, fold: str
) -> None:
    code, run = train(f"nobody-{part}", f"--measure={part}", changes={"fold = 0": fold})
    assert code == 2 and f"no {part} patients" in capsys.readouterr().err
    assert not (run / "last.ckpt").exists()


def test_a_part_without_patients_does_not_cost_the_accuracy_of_a_run(
    finished: Path, train: Callable[..., tuple[int, Path]]
) -> None:
    before = (finished / "tiny.safetensors").read_bytes()
    assert train("finished", "--resume", "--measure=test")[0] == 2
    assert (finished / "tiny.safetensors").read_bytes() == before


def test_more_steps_go_on(finished: Path, place: Path, train: Callable[..., tuple[int, Path]]) -> None:
    shutil.copytree(finished, place / "longer")
    code, run = train("longer", "--resume", "--measure=none", "--steps", "6")
    assert code == 0
    assert steps(run) == [2, 4, 6]
    assert state(run / "last.ckpt")["global_step"] == 6


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"width = 8": "width = 16"}, "network.arguments.width"),
        ({"# top": "seed = 5"}, "seed"),
        ({"fold = 0": "fold = 1"}, "data.fold"),
    ],
)
def test_another_recipe_is_not_resumed(
    finished: Path,
    train: Callable[..., tuple[int, Path]],
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str],
    word: str,
) -> None:
    assert train("finished", "--resume", changes=changes)[0] == 2
    assert f"began with another {word}" in capsys.readouterr().err


def test_other_patients_are_not_resumed(
    finished: Path, place: Path, train: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Else patients that validate could train."""
    file = place / "data" / "split.json"
    text = file.read_text()
    parts = json.loads(text)
    file.write_text(json.dumps({"train": parts["validation"] + parts["train"][2:], "validation": parts["train"][:2]}))
    try:
        assert train("finished", "--resume")[0] == 2
    finally:
        file.write_text(text)
    assert "began with other patients" in capsys.readouterr().err


def test_a_damaged_state_is_refused(
    finished: Path, place: Path, train: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "damaged").mkdir()
    (place / "damaged" / "last.ckpt").write_bytes((finished / "last.ckpt").read_bytes()[:5000])
    assert train("damaged", "--resume")[0] == 2
    assert "last.ckpt is damaged" in capsys.readouterr().err


def test_without_a_held_out_fold_the_last_state_is_exported(
    train: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Also when an earlier one had a lower monitored loss: it is of training patients."""
    code, run = train("all", changes={"fold = 0": "fold = -1", "ema = 0.8": "ema = 0.0\nclip = 0.0\nwarmup = 0.0"})
    assert code == 0
    assert not (run / "best.ckpt").exists()
    last = state(run / "last.ckpt")
    assert "current_model_state" not in last  # no average was asked for
    checkpoint = exported(run)
    assert checkpoint.description.training.steps == last["global_step"] == 4
    for name, tensor in checkpoint.weights.items():
        assert torch.equal(tensor, last["state_dict"][f"network.{name}"].half())
    out = capsys.readouterr().out
    assert "4 patients that also train, so they do not show accuracy" in out
    records = checkpoint.description.accuracy
    assert [(r.cases, r.measure, r.data) for r in records] == [
        (2, "Dice", "made, validation patients"),
        (2, "Dice without post-processing", "made, validation patients"),
        (2, "Expected calibration error", "made, validation patients"),
        (2, "Error of the expected Dice", "made, validation patients"),
    ]
    assert out.count("\nmean ") == 1  # one table


def test_the_last_state_is_kept_also_when_it_is_not_the_best(train: Callable[..., tuple[int, Path]]) -> None:
    """A kill must never cost more than one interval. The loss stays what it was, so the first state is the best."""
    _, run = train("still", "--measure=none", changes=STILL)
    assert state(run / "best.ckpt")["global_step"] == 2
    assert state(run / "last.ckpt")["global_step"] == 4


def test_early_stopping(train: Callable[..., tuple[int, Path]]) -> None:
    """Two intervals without improvement after the first end the run, and a resumed one stays ended."""
    changes = STILL | {"steps = 12": "steps = 20", "ema = 0.8": "patience = 2"}
    code, run = train("stopped", "--measure=none", changes=changes)
    assert code == 0
    assert steps(run) == [2, 4, 6]
    assert exported(run).description.training.steps == 2
    assert train("stopped", "--resume", "--measure=none", changes=changes)[0] == 0
    assert steps(run) == [2, 4, 6]


def test_a_resumed_run_has_the_patience_of_its_recipe(train: Callable[..., tuple[int, Path]]) -> None:
    """More of it lets a run go on that had stopped, until that is used up, too."""
    changes = STILL | {"steps = 12": "steps = 20", "ema = 0.8": "patience = 1"}
    code, run = train("patient", "--measure=none", changes=changes)
    assert code == 0 and steps(run) == [2, 4]
    changes["ema = 0.8"] = "patience = 3"
    assert train("patient", "--resume", "--measure=none", changes=changes)[0] == 0
    assert steps(run) == [2, 4, 6, 8]


def test_diverging_ends_with_1_and_a_reason(
    train: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    changes = {"learning_rate = 5e-3": "learning_rate = 1e30\nwarmup = 0.0\nclip = 0.0", "ema = 0.8": "ema = 0.0"}
    assert train("diverged", changes=changes)[0] == 1
    assert "Lower learning_rate" in capsys.readouterr().err


def test_fast_dev_run(place: Path, train: Callable[..., tuple[int, Path]], finished: Path) -> None:
    """All stages on few patients, beside the real run and as often as wanted."""
    before = (finished / "last.ckpt").read_bytes()
    for _ in range(2):
        code, run = train("finished", "--fast-dev-run")
        assert code == 0
    assert (finished / "last.ckpt").read_bytes() == before
    assert steps(run / "fast-dev-run") == [1, 2]
    record = exported(run / "fast-dev-run").description
    assert len(record.accuracy) == 4
    assert record.accuracy[0].cases <= 2
    assert train("finished", "--fast-dev-run", "--resume")[0] == 2


def test_slices(train: Callable[..., tuple[int, Path]]) -> None:
    changes = {
        "dimensions = 3": "dimensions = 2",
        "patch = [16, 16, 16], batch = 1": "patch = [16, 16], batch = 2",
        "patch = [16, 16, 16], overlap": "patch = [0, 0], overlap",
        "# top": "preprocessing = { spacing = [0.0, 1.0, 1.0] }",
    }
    code, run = train("slices", changes=changes)
    assert code == 0
    assert exported(run).description.dimensions == 2
