"""Training.eight_bit: what convolutions take on training patients gets into the file, and the result stays."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.models.checkpoint_file import Checkpoint, load_checkpoint, save_checkpoint
from BrainTumorSegLib.models.description import AccuracyRecord, NetworkSpec, TrainingRecord
from BrainTumorSegLib.models.ensemble import average_of
from BrainTumorSegLib.networks import create_network
from BrainTumorSegLib.networks.eight_bit import convolutions
from Testing import samples
from Testing.training_data import make_patient
from Training import eight_bit
from Training.recipe import load_recipe

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed: pip install -e .[cpu]"
)
RECIPE = Path(__file__).parents[3] / "Training" / "recipes" / "brats_unet2d.toml"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for number, name in enumerate(("P1", "P2", "P3")):
        samples.write_patient(folder, make_patient(number), case_id=name)
    (folder / "split.json").write_text(json.dumps({"train": ["P1", "P2"], "validation": ["P3"]}))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Random weights, trained on P1 and P2 as its record says."""
    spec = NetworkSpec("unet", {"width": 4, "levels": 2})
    training = TrainingRecord(training_cases=("P1", "P2"), recipe=dataclasses.asdict(load_recipe(RECIPE)))
    d = samples.describe_model(2, network=spec, training=training)
    torch.manual_seed(0)
    network = create_network("unet", dimensions=2, in_channels=4, out_channels=3, arguments=spec.arguments)
    return save_checkpoint(d, network.state_dict(), tmp_path / "model.safetensors")


def test_what_convolutions_take_gets_into_the_file(
    data: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "eight.safetensors"
    assert eight_bit.main([str(model), "--data", str(data), "-o", str(output), "--patients", "2"]) == 0
    seen = capsys.readouterr().out
    assert "P1" in seen and "P2" in seen and "P3" not in seen
    before, after = load_checkpoint(model), load_checkpoint(output)
    names = list(convolutions(before.build()))
    assert set(after.description.network.eight_bit) == set(names[1:-1])
    assert all((after.weights[name] == weight).all() for name, weight in before.weights.items())
    case = make_patient(2).case()
    fast = segment_case(case, after, RunOptions(backend="openvino"), keep_probabilities=True)
    reference = segment_case(case, before, RunOptions(backend="torch", precision="fp32"), keep_probabilities=True)
    assert fast.provenance["precision"] == "int8"
    assert fast.probabilities and reference.probabilities
    apart = [np.abs(fast.probabilities[r] - reference.probabilities[r]).max() for r in reference.probabilities]
    assert max(apart) < 0.1


@pytest.mark.parametrize("ensemble", [False, True])
def test_what_was_measured_before_is_not_said_of_it(model: Path, ensemble: bool) -> None:
    """The convolutions compute otherwise now; Training.measure says how well."""
    one = load_checkpoint(model)
    figure = AccuracyRecord("x", 1, "Dice", "brats2021", {"WT": 0.9})
    told = dataclasses.replace(one, description=dataclasses.replace(one.description, accuracy=(figure,)))
    if ensemble:
        other = dataclasses.replace(told, description=dataclasses.replace(told.description, id="other"))
        description, weights = average_of([told, other], "both")
        told = Checkpoint(dataclasses.replace(description, accuracy=(figure,)), weights)
    name = list(convolutions(one.build()))[1]
    after = eight_bit.with_ranges(told, [{name: (0.0, 1.0)}] * (1 + ensemble))
    assert [d.accuracy for d in (after, *after.members)] == [()] * (1 + 2 * ensemble)
    assert all(d.network.eight_bit == {name: (0.0, 1.0)} for d in after.members or (after,))


@pytest.mark.parametrize("patients", ["0", "2"])
def test_without_patients_nothing_is_written(data: Path, model: Path, tmp_path: Path, patients: str) -> None:
    (data / "split.json").write_text(
        json.dumps(
            {"train": ["P1", "P2"], "validation": ["P3"]}
            if patients == "0"
            else {"train": [], "validation": ["P1", "P2", "P3"]}
        )
    )
    output = tmp_path / "eight.safetensors"
    assert eight_bit.main([str(model), "--data", str(data), "-o", str(output), "--patients", patients]) == 2
    assert not output.exists()
