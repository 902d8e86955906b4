"""``python -m Training.train`` as users start it: killed, interrupted, on two processes."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.io.case_folder import read_case
from BrainTumorSegLib.models.checkpoint_file import load_checkpoint
from Testing.offline import python_path
from Testing.training_data import write_brats, write_recipe

ROOT = Path(__file__).resolve().parents[2]
INTERVAL, STEPS = 10, 30


class Place:
    """A data set, a recipe and the runs on them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = write_brats(folder / "data", 6, validation=2)
        self.recipe = write_recipe(
            folder / "tiny.toml", {"steps = 12": f"steps = {STEPS}", "interval = 4": f"interval = {INTERVAL}"}
        )
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg", "PYTHONPATH": python_path(ROOT)}

    def arguments(self, name: str, *extra: str, recipe: Path | None = None) -> list[str]:
        common = ["--data", str(self.data), "--cache", str(self.folder / "cache"), "-o", str(self.folder / name)]
        return ["Training.train", str(recipe or self.recipe), *common, "--device", "cpu", *extra]

    def start(
        self, name: str, *extra: str, launcher: tuple[str, ...] = (), recipe: Path | None = None
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *launcher, "-m", *self.arguments(name, *extra, recipe=recipe)],
            cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def train(
        self, name: str, *extra: str, launcher: tuple[str, ...] = (), recipe: Path | None = None
    ) -> tuple[str, str]:
        """Output and errors of a run that ends well."""
        with self.start(name, *extra, launcher=launcher, recipe=recipe) as process:
            out, errors = process.communicate(timeout=500)
        assert process.returncode == 0, errors
        return out, errors

    def state(self, name: str, file: str = "last.ckpt") -> dict[str, Any]:
        return torch.load(self.folder / name / file, weights_only=False)

    def rows(self, name: str) -> list[dict[str, float]]:
        with (self.folder / name / "metrics.csv").open(newline="", encoding="utf-8") as lines:
            return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(lines)]


def wait_for(process: subprocess.Popen[str], start: str) -> None:
    """Read the output up to a line that starts so."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return
    assert process.stderr is not None
    pytest.fail(f"the run ended early: {process.stderr.read()}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("training"))


@pytest.fixture(scope="module")
def whole(place: Place) -> tuple[str, str]:
    """A run without interruption, in the folder ``whole``."""
    return place.train("whole")


@pytest.fixture(scope="module")
def resumed(place: Place) -> dict[str, Any]:
    """A run in the folder ``killed``: killed in its second interval, resumed; the state it was resumed from."""
    last = place.folder / "killed" / "last.ckpt"
    with place.start("killed") as process:
        wait_for(process, f"step {INTERVAL}/{STEPS}")
        while not last.is_file():  # the line comes before the state is written
            time.sleep(0.01)
        time.sleep(0.1)
        process.kill()
        process.communicate()
    assert process.returncode != 0
    state = place.state("killed")
    out, _ = place.train("killed", "--resume")
    assert f"Resuming at step {state['global_step']}:" in out
    return state


def test_a_killed_run_goes_on_as_if_it_had_not_been(
    place: Place, whole: tuple[str, str], resumed: dict[str, Any]
) -> None:
    """Step, learning rate, moments, average and random generators; and so the loss."""
    assert resumed["global_step"] in (INTERVAL, 2 * INTERVAL)
    expected, found = place.state("whole"), place.state("killed")
    assert found["global_step"] == expected["global_step"] == STEPS
    assert found["epoch"] == expected["epoch"]
    assert found["loops"] == expected["loops"]
    assert found["lr_schedulers"] == expected["lr_schedulers"]
    for part in ("state_dict", "current_model_state", "averaging_state"):
        for name, tensor in expected[part].items():
            assert torch.allclose(found[part][name], tensor, atol=1e-5), (part, name)
    for number, moments in expected["optimizer_states"][0]["state"].items():
        for name, tensor in moments.items():
            assert torch.allclose(found["optimizer_states"][0]["state"][number][name], tensor, atol=1e-5)
    generators = [state["callbacks"]["RandomState"] for state in (expected, found)]
    assert torch.equal(generators[0]["torch"], generators[1]["torch"])
    assert generators[0]["python"] == generators[1]["python"]
    assert np.array_equal(generators[0]["numpy"][1], generators[1]["numpy"][1])
    losses = [place.rows(name)[-1]["validation_loss"] for name in ("whole", "killed")]
    assert losses[1] == pytest.approx(losses[0], rel=0.01)


def test_the_dropout_and_the_patches_matter(place: Place, whole: tuple[str, str]) -> None:
    """So the comparison above would see generators or samplers that begin again."""
    rows = place.rows("whole")
    assert len({round(row["training_loss"], 4) for row in rows}) == len(rows)
    assert not torch.equal(
        place.state("whole")["callbacks"]["RandomState"]["torch"], torch.Generator().manual_seed(1).get_state()
    )


def test_the_log_shows_the_whole_run(place: Place, whole: tuple[str, str], resumed: dict[str, Any]) -> None:
    expected, found = place.rows("whole"), place.rows("killed")
    assert [row["step"] for row in found] == [INTERVAL, 2 * INTERVAL, STEPS]
    for one, other in zip(expected, found, strict=True):
        for name in one.keys() - {"seconds"}:
            assert other[name] == pytest.approx(one[name], rel=1e-3), name
    assert (place.folder / "killed" / "curves.png").stat().st_size > 10_000


def test_the_output_is_one_line_an_interval(whole: tuple[str, str]) -> None:
    out, errors = whole
    lines = [line for line in out.splitlines() if line.startswith("step ")]
    assert [line.split("/")[0] for line in lines] == [f"step {n}" for n in (INTERVAL, 2 * INTERVAL, STEPS)]
    for word in ("loss ", "validation loss ", "Dice ET ", " TC ", " WT ", "lr ", " left"):
        assert all(word in line for line in lines)
    assert "\r" not in out + errors  # no progress bar outside a terminal
    assert "litlogger" not in out + errors
    assert errors.strip() == ""


def test_the_exported_accuracy_is_what_a_user_gets(place: Place, whole: tuple[str, str]) -> None:
    """Dice of the held-out patients, computed anew from the files."""
    checkpoint = load_checkpoint(place.folder / "whole" / "tiny.safetensors")
    description = checkpoint.description
    held_out = {"P00", "P01", "P02", "P03"} - set(description.training.training_cases)
    record = description.accuracy[0]
    assert (record.measure, record.cases) == ("Dice", len(held_out))
    assert "held-out fold of the training patients" in record.data
    scores: dict[str, list[float]] = {"ET": [], "TC": [], "WT": []}
    for name in held_out:
        folder = place.data / name
        labels = segment_case(read_case(folder), checkpoint, RunOptions(device="cpu")).labels.array
        truth = np.asarray(nibabel.load(folder / f"{name}_seg.nii.gz").dataobj).transpose()
        for region, ours, theirs in (("ET", {3}, {4}), ("TC", {1, 3}, {1, 4}), ("WT", {1, 2, 3}, {1, 2, 4})):
            a, b = np.isin(labels, list(ours)), np.isin(truth, list(theirs))
            scores[region].append(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert record.values == pytest.approx({region: np.mean(values) for region, values in scores.items()}, abs=1e-4)
    assert record.values["ET"] > 0.3  # it has learned something
    assert "mean" in whole[0]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_ctrl_c_and_terminate_keep_the_last_state(place: Place, name: str) -> None:
    """Sent to the workers too, as a terminal and a scheduler do."""
    with place.start(name) as process:
        wait_for(process, f"step {INTERVAL}/{STEPS}")
        while not (place.folder / name / "last.ckpt").is_file():
            time.sleep(0.01)
        os.killpg(process.pid, signal.Signals[name])
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "Interrupted at step" in errors
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert place.state(name)["global_step"] in (INTERVAL, 2 * INTERVAL)
    assert not list((place.folder / name).glob("*.safetensors"))


def test_two_processes_train_one_network(place: Place, whole: tuple[str, str]) -> None:
    """Each draws patches of its own; states, logs and the export are written once, however they were started."""
    losses = []
    for name, launcher, extra in (
        ("devices", (), ("--devices", "2")),
        ("torchrun", ("-m", "torch.distributed.run", "--nproc-per-node", "2"), ()),
    ):
        out, _ = place.train(name, "--steps", "4", "--measure=none", *extra, launcher=launcher)
        assert out.count("Wrote ") == 1
        assert out.count("step 4/4") == 1
        assert [row["step"] for row in place.rows(name)] == [4]
        assert place.state(name)["global_step"] == 4
        checkpoint = load_checkpoint(place.folder / name / "tiny.safetensors")
        assert checkpoint.description.training.steps == 4
        losses.append(place.rows(name)[0]["validation_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_two_processes_with_a_patch_each_learn_as_one_with_two_patches(place: Place) -> None:
    """The same patches, and one loss of all of them: soft Dice is of a whole batch."""
    losses, weights = [], []
    still = {"dropout = 0.1": "dropout = 0.0", "learning_rate = 5e-3": 'learning_rate = 5e-3\noptimiser = "sgd"'}
    for name, batch, extra in (("together", 2, ()), ("apart", 1, ("--devices", "2"))):
        recipe = write_recipe(place.folder / f"{name}.toml", still | {"batch = 1": f"batch = {batch}"})
        place.train(name, "--steps", "4", "--measure=none", *extra, recipe=recipe)
        losses.append(place.rows(name)[0]["training_loss"])
        weights.append(load_checkpoint(place.folder / name / "tiny.safetensors").weights)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=2e-3, atol=1e-5)  # stored in fp16


def test_bad_data_end_the_run_before_it_starts(place: Place, tmp_path: Path) -> None:
    """All of them named, exit 2, nothing left behind; also where two processes were asked for."""
    data = write_brats(tmp_path / "bad", 4, validation=1)
    (data / "P00" / "P00_t2.nii.gz").unlink()
    (data / "P03" / "P03_seg.nii.gz").write_bytes(b"nothing")
    arguments = place.arguments("bad", "--fold", "-1", "--devices", "2", "--data", str(data))
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=place.folder, env=place.environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "2 of 4 patients cannot be used" in done.stderr
    assert "P00 holds no T2" in done.stderr
    assert "P03_seg.nii.gz cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (place.folder / "bad").exists()
