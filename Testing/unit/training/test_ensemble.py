"""Training.ensemble and Training.measure: files that are written, with the accuracy that a user gets."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from BrainTumorSegLib.domain.errors import CheckpointError
from BrainTumorSegLib.io.registry import read_volume, write_volume
from BrainTumorSegLib.models.checkpoint_file import Checkpoint, load_checkpoint, save_checkpoint
from BrainTumorSegLib.models.description import OutputSpec, TrainingRecord
from BrainTumorSegLib.models.ensemble import average_of
from Testing import samples
from Testing.image_data import write_lgg
from Testing.training_data import make_patient, write_recipe
from Training import average, ensemble, measure
from Training.datasets.brats import find_brats
from Training.datasets.data_module import find_split
from Training.module import SegmentationModule
from Training.recipe import load_recipe

SPEC = """
id = "both"
title = "Flat and deep"
version = "7"
members = ["flat", "deep"]
weights = [1.0, 3.0]
postprocessing = { minimum_et_dice = 0.5, temperatures = { ET = 2.0 } }
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two patients, of which one validates."""
    folder = tmp_path / "data"
    for number, name in enumerate(("P1", "P2")):
        samples.write_patient(folder, make_patient(number), case_id=name)
    (folder / "split.json").write_text(json.dumps({"train": ["P1"], "validation": ["P2"]}))
    return folder


@pytest.fixture
def members(tmp_path: Path) -> list[str]:
    files = {"flat": samples.write_oracle(tmp_path / "flat.safetensors", 2, id="flat")}
    files["deep"] = samples.write_oracle(tmp_path / "deep.safetensors", 3, id="deep")
    return [text for name, file in files.items() for text in ("--member", f"{name}={file}")]


def test_an_ensemble_is_made_as_specified_and_measured(data: Path, members: list[str], tmp_path: Path) -> None:
    spec, output = tmp_path / "spec.toml", tmp_path / "both.safetensors"
    spec.write_text(SPEC)
    assert ensemble.main([str(spec), "--data", str(data), "-o", str(output), "--name", "made", *members]) == 0
    d = load_checkpoint(output).description
    assert (d.id, d.title, d.version) == ("both", "Flat and deep", "7")
    assert [(m.id, m.weight) for m in d.members] == [("flat", 1.0), ("deep", 3.0)]
    assert d.postprocessing.minimum_et_dice == 0.5 and d.postprocessing.temperatures == {"ET": 2.0}
    measured = d.accuracy_with(d.modalities)
    assert measured is not None and measured.values == {"ET": 1.0, "TC": 1.0, "WT": 1.0}
    assert measured.cases == 1 and measured.data == "made, validation patients"


def test_a_model_of_slices_is_measured_on_the_patients_that_its_recipe_finds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_lgg(tmp_path / "lgg", ["TCGA_AA_1_1", "TCGA_AA_2_1", "TCGA_AA_3_1"])
    (folder / "split.json").write_text(
        json.dumps({"train": ["TCGA_AA_1_1"], "validation": ["TCGA_AA_2_1", "TCGA_AA_3_1"]})
    )
    found = load_recipe(Path(__file__).parents[3] / "Training" / "recipes" / "lgg_unet.toml")
    recipe = dataclasses.replace(found, data=dataclasses.replace(found.data, fold=-1))
    weights = SegmentationModule(recipe).network.state_dict()
    record = TrainingRecord("slices", ("TCGA_AA_1_1",), recipe=dataclasses.asdict(recipe))
    file = save_checkpoint(recipe.describe(record), weights, tmp_path / "slices.safetensors")
    command = [str(file), "--data", str(folder), "-o", str(tmp_path / "measured.safetensors")]
    assert measure.main(command) == 0
    measured = load_checkpoint(tmp_path / "measured.safetensors").description.accuracy[0]
    assert (measured.cases, measured.data, set(measured.values)) == (2, "slices, validation patients", {"WT"})
    assert measure.main([*command, "--labels", "brats2021"]) == 2
    assert "data.labels is for BraTS" in capsys.readouterr().err


def test_members_are_taken_out_of_an_ensemble_that_has_them(data: Path, members: list[str], tmp_path: Path) -> None:
    spec, first, again = tmp_path / "spec.toml", tmp_path / "both.safetensors", tmp_path / "again.safetensors"
    spec.write_text(SPEC)
    assert ensemble.main([str(spec), "--data", str(data), "-o", str(first), *members]) == 0
    spec.write_text(
        SPEC.replace("minimum_et_dice = 0.5, temperatures = { ET = 2.0 }", "thresholds = { TC = 0.3 }").replace(
            '"7"', '"8"'
        )
    )
    out_of = ["--member", f"flat={first}", "--member", f"deep={first}"]
    assert ensemble.main([str(spec), "--data", str(data), "-o", str(again), *out_of]) == 0
    before, after = load_checkpoint(first), load_checkpoint(again)
    assert after.description.members == before.description.members
    assert after.description.version == "8" and after.description.postprocessing.thresholds == {"TC": 0.3}
    assert all(torch.equal(tensor, after.weights[name]) for name, tensor in before.weights.items())
    over = ["--member", f"flat={first}", "--data", str(data), "-o", str(first), *members[2:]]
    assert ensemble.main([str(spec), *over]) == 2  # it would overwrite a member


@pytest.mark.parametrize(
    ("change", "more", "named"),
    [
        (("weights = [1.0, 3.0]", "weights = [1.0]"), [], "1 weights for 2 members"),
        (("version", "edition"), [], "unknown field edition"),
        (("", ""), ["--member", "other=x"], "names none of flat, deep"),
    ],
)
def test_what_is_wrong_with_a_specification_is_said(
    data: Path,
    members: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: tuple[str, str],
    more: list[str],
    named: str,
) -> None:
    spec, output = tmp_path / "spec.toml", tmp_path / "both.safetensors"
    spec.write_text(SPEC.replace(*change) if change[0] else SPEC)
    assert ensemble.main([str(spec), "--data", str(data), "-o", str(output), *members, *more]) == 2
    assert named in capsys.readouterr().err and not output.exists()


def test_a_model_is_measured_anew_under_another_id(data: Path, members: list[str], tmp_path: Path) -> None:
    output = tmp_path / "new.safetensors"
    arguments = [str(tmp_path / "deep.safetensors"), "--data", str(data), "-o", str(output)]
    assert measure.main([*arguments, "--id", "new", "--storage", "int8", "--version", "2"]) == 0
    d = load_checkpoint(output).description
    assert (d.id, d.version, d.storage) == ("new", "2", "int8") and d.accuracy[0].values["WT"] == 1.0
    before = output.read_bytes()
    assert measure.main([str(output), "--data", str(data), "-o", str(output)]) == 2  # it would overwrite itself
    assert output.read_bytes() == before


def test_who_trained_does_not_measure(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = TrainingRecord("x", ("P2",))
    file = samples.write_oracle(tmp_path / "seen.safetensors", training=seen)
    output = tmp_path / "new.safetensors"
    assert measure.main([str(file), "--data", str(data), "-o", str(output)]) == 2
    assert "was trained on P2" in capsys.readouterr().err and not output.exists()


def test_who_validates_is_as_the_recipe_of_the_model_has_it(tmp_path: Path) -> None:
    """Two of four patients, where the folder does not say; a fifth of them is one."""
    folder = tmp_path / "data"
    for number in range(4):
        samples.write_patient(folder, make_patient(number), case_id=f"P{number}")
    changes = {"fold = 0": "validation_patients = 2"}
    recipe = load_recipe(write_recipe(tmp_path / "recipe.toml", changes))
    held_out = find_split(recipe, folder, find_brats(folder, "brats2021")).validation
    assert len(held_out) == 2
    seen = tuple({f"P{number}" for number in range(4)} - {*held_out})
    record = TrainingRecord("x", seen, recipe=dataclasses.asdict(recipe))
    model, output = tmp_path / "model.safetensors", tmp_path / "new.safetensors"
    samples.write_oracle(model, training=record)
    assert measure.main([str(model), "--data", str(folder), "-o", str(output)]) == 0
    assert load_checkpoint(output).description.accuracy[0].cases == 2


def test_labels_are_read_as_those_that_the_model_learnt_from(data: Path, tmp_path: Path) -> None:
    """In the Decathlon's order, which their values do not tell, ED and NCR change places."""
    for file in data.glob("*/*_seg.nii.gz"):
        stored = read_volume(file)
        write_volume(stored.with_array(np.array([0, 2, 1, 3, 3], np.uint8)[stored.array.astype(int)]), file)

    def core(recorded: str, *arguments: str) -> float:
        record = TrainingRecord("x", ("P1",), recipe={"data": {"labels": recorded}})
        model, output = tmp_path / "model.safetensors", tmp_path / "new.safetensors"
        samples.write_oracle(model, training=record)
        assert measure.main([str(model), "--data", str(data), "-o", str(output), *arguments]) == 0
        return load_checkpoint(output).description.accuracy[0].values["TC"]

    assert core("decathlon") == 1 > core("auto")
    assert core("brats2023", "--labels", "decathlon") == 1


def test_members_of_different_conventions_ask_for_one(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = []
    for name, convention in (("flat", "decathlon"), ("deep", "brats2021")):
        record = TrainingRecord("x", ("P1",), recipe={"data": {"labels": convention}})
        file = samples.write_oracle(tmp_path / f"{name}.safetensors", id=name, training=record)
        members += ["--member", f"{name}={file}"]
    spec, output = tmp_path / "spec.toml", tmp_path / "both.safetensors"
    spec.write_text(SPEC)
    command = [str(spec), "--data", str(data), "-o", str(output), *members]
    assert ensemble.main(command) == 2
    said = capsys.readouterr().err
    assert "brats2021, decathlon" in said and "--labels" in said and not output.exists()
    assert ensemble.main([*command, "--labels", "brats2021"]) == 0


def test_weights_halfway_between_two_stages(members: list[str], tmp_path: Path) -> None:
    before = load_checkpoint(tmp_path / "deep.safetensors")
    later = {n: (t.float() * 3).to(t.dtype) for n, t in before.weights.items()}
    name = next(n for n, tensor in before.weights.items() if tensor.ndim > 2).removesuffix(".weight")
    bounded = dataclasses.replace(before.description.network, eight_bit={name: (0.0, 1.0)})  # bounds of its weights
    record = TrainingRecord("x", ("P9",))
    told = dataclasses.replace(before.description, version="2", network=bounded, training=record)
    after = save_checkpoint(told, later, tmp_path / "later.safetensors")
    output = tmp_path / "between.safetensors"
    arguments = [str(tmp_path / "deep.safetensors"), str(after), "-o", str(output)]
    assert average.main([*arguments, "--share", "0.25"]) == 0
    found = load_checkpoint(output)
    assert found.description.version == "2" and found.description.accuracy == ()
    assert found.description.network.eight_bit == {}
    assert set(found.description.training.training_cases) == {*before.description.training.training_cases, "P9"}
    for name, tensor in found.weights.items():  # a quarter of 3 and three quarters of 1
        if tensor.is_floating_point():
            assert torch.allclose(tensor.float(), before.weights[name].float() * 1.5, rtol=2e-3), name
    flat = str(tmp_path / "flat.safetensors")
    assert average.main([flat, str(after), "-o", str(tmp_path / "none.safetensors")]) == 2
    assert not (tmp_path / "none.safetensors").exists()


@pytest.mark.parametrize("share", ["-0.1", "1.5", "nan"])
def test_a_share_lies_between_none_and_all(members: list[str], tmp_path: Path, share: str) -> None:
    deep, output = str(tmp_path / "deep.safetensors"), tmp_path / "none.safetensors"
    assert average.main([deep, deep, "-o", str(output), "--share", share]) == 2
    assert not output.exists()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"modalities": ("t1", "t2", "t1ce", "flair")}, "modalities"),
        ({"outputs": (OutputSpec("TC", (1, 3)), OutputSpec("ET", (3,)), OutputSpec("WT", (1, 2, 3)))}, "outputs"),
    ],
)
def test_weights_that_mean_something_else_are_not_averaged(changes: dict[str, Any], word: str) -> None:
    """Also where they are of one shape."""
    before = samples.make_oracle()
    after = dataclasses.replace(before, description=dataclasses.replace(before.description, **changes))
    with pytest.raises(CheckpointError, match=f"differ in {word}"):
        average.average(before, after)


def test_ensembles_are_not_averaged() -> None:
    """Their members are: the weights of an ensemble say nothing of which network they are of."""
    both = Checkpoint(*average_of([samples.make_oracle(2, id="flat"), samples.make_oracle(3, id="deep")], "both"))
    with pytest.raises(CheckpointError, match="is an ensemble"):
        average.average(both, both)
