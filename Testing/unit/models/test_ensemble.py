"""Several models in one file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from BrainTumorSegLib.cli import main
from BrainTumorSegLib.domain.errors import CheckpointError
from BrainTumorSegLib.domain.modalities import MODALITIES
from BrainTumorSegLib.models import catalogue
from BrainTumorSegLib.models.checkpoint_file import Checkpoint, load_checkpoint, save_checkpoint
from BrainTumorSegLib.models.description import PreprocessingSpec, TrainingRecord
from BrainTumorSegLib.models.ensemble import able, average_of
from BrainTumorSegLib.models.model_card import model_card
from Testing.samples import make_oracle


def changed(checkpoint: Checkpoint, **changes: Any) -> Checkpoint:
    return dataclasses.replace(checkpoint, description=dataclasses.replace(checkpoint.description, **changes))


@pytest.fixture
def pair() -> list[Checkpoint]:
    """A 2D network of four sequences, all needed, and a 3D one of FLAIR alone that knows WT."""
    flat = changed(
        make_oracle(2), id="flat", training=TrainingRecord("x", ("a", "b"), ("v", "w")), data_licence="CC0", weight=2.0
    )
    deep = changed(
        make_oracle(3, outputs="whole", modalities=("flair",)),
        id="deep",
        storage="int8",
        training=TrainingRecord("y", ("b", "c", "w"), ("v",)),
        data_licence="CC BY 4.0",
    )
    return [flat, deep]


def test_every_member_comes_back_as_it_was_stored_alone(pair: list[Checkpoint], tmp_path: Path) -> None:
    description, weights = average_of(pair, "both")
    whole = load_checkpoint(save_checkpoint(description, weights, tmp_path / "both.safetensors"))
    assert [member.description.id for member in whole.members] == ["flat", "deep"]
    for member, source in zip(whole.members, pair, strict=True):
        alone = load_checkpoint(save_checkpoint(source.description, source.weights, tmp_path / "alone.safetensors"))
        assert member.weights.keys() == alone.weights.keys()
        for name, tensor in alone.weights.items():
            assert torch.equal(member.weights[name], tensor), name
    whole.check()
    again, more = average_of([whole, changed(pair[1], id="third", weight=3.0)], "three")
    assert [member.id for member in again.members] == ["flat", "deep", "third"] and len(more) > len(weights)
    assert [member.weight for member in again.members] == pytest.approx([2 / 3, 1 / 3, 3])


def test_what_an_ensemble_says_of_itself(pair: list[Checkpoint]) -> None:
    d, _ = average_of(pair, "both")
    assert (d.id, d.dimensions, d.modalities, d.regions) == ("both", 3, MODALITIES, ("ET", "TC", "WT"))
    assert d.optional_modalities == ("t1", "t1ce", "t2")  # on FLAIR alone the 3D member still runs
    assert d.training.training_cases == ("a", "b", "c", "w") and d.training.validation_cases == ("v",)
    assert d.data_licence == "CC0; CC BY 4.0" and d.accuracy == () and d.postprocessing.temperatures == {}
    card = model_card(d)
    assert "2 members are averaged, weighted 2 to 1" in card
    assert "Member deep takes FLAIR" in card and "How member flat was made" in card


@pytest.mark.parametrize(
    ("given", "running"),
    [(MODALITIES, ["flat", "deep"]), (("t1", "flair"), ["deep"]), (("t1", "t1ce", "t2"), []), (("flair",), ["deep"])],
)
def test_a_member_that_cannot_take_a_subset_sits_out(
    pair: list[Checkpoint], given: tuple[str, ...], running: list[str]
) -> None:
    whole = Checkpoint(*average_of(pair, "both"))
    able_ones, resting = able(whole, given)
    assert [member.description.id for member in able_ones] == running
    assert len(able_ones) + len(resting) == 2
    assert whole.description.runs_on(given) == bool(running) == (given in whole.description.modality_subsets)


def test_models_that_do_not_go_together_are_refused(pair: list[Checkpoint]) -> None:
    with pytest.raises(CheckpointError, match="two models"):
        average_of(pair[:1], "one")
    head = changed(pair[1], preprocessing=PreprocessingSpec(normalisation="none", brain="head"))
    with pytest.raises(CheckpointError, match="whole heads"):
        average_of([pair[0], head], "mixed")
    with pytest.raises(CheckpointError, match="ids of their own"):
        average_of(pair, "deep")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"members": ()}, "has members"),
        ({"modalities": ("flair", "t1"), "optional_modalities": ("t1",)}, "not those of its members"),
        ({"weight": 0.0}, "not above 0"),
    ],
)
def test_descriptions_of_ensembles_that_contradict_themselves(
    pair: list[Checkpoint], changes: dict[str, Any], named: str
) -> None:
    description, _ = average_of(pair, "both")
    with pytest.raises(CheckpointError, match=named):
        dataclasses.replace(description, **changes)
    with pytest.raises(CheckpointError, match="at least two members"):
        dataclasses.replace(description, members=(description, *description.members))


def test_members_of_an_installed_ensemble_are_models_too(pair: list[Checkpoint], tmp_path: Path) -> None:
    catalogue.add(save_checkpoint(*average_of(pair, "both"), tmp_path / "both.safetensors"))
    models, _ = catalogue.installed()
    assert {name: models[name].part_of for name in ("both", "flat", "deep")} == {
        "both": "",
        "flat": "both",
        "deep": "both",
    }
    for alone in pair:
        found = catalogue.load_model(alone.description.id)
        assert found.description == alone.description == catalogue.find(alone.description.id).description
        stored = load_checkpoint(save_checkpoint(alone.description, alone.weights, tmp_path / "alone.safetensors"))
        assert found.weights.keys() == stored.weights.keys()
        assert all(torch.equal(found.weights[name], tensor) for name, tensor in stored.weights.items())
    with pytest.raises(CheckpointError, match="member of both"):
        catalogue.remove("flat")
    other = changed(pair[0], title="Another flat one")
    catalogue.add(save_checkpoint(other.description, other.weights, tmp_path / "flat.safetensors"))
    assert catalogue.load_model("flat").description.title == "Another flat one"  # a model by itself goes first
    catalogue.remove("flat")
    assert catalogue.load_model("flat").description == pair[0].description
    catalogue.remove("both")
    assert not {"both", "flat", "deep"} & set(catalogue.installed()[0])


def test_an_ensemble_is_made_of_installed_models_and_installed(
    pair: list[Checkpoint], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in pair:
        catalogue.add(
            save_checkpoint(model.description, model.weights, tmp_path / f"{model.description.id}.safetensors")
        )
    output = tmp_path / "both.safetensors"
    assert main(["models", "ensemble", "flat", str(tmp_path / "deep.safetensors"), "-o", str(output)]) == 0
    assert main(["models", "add", str(output)]) == 0
    assert catalogue.load_model("both").description.title == "Average of flat and deep"
    before = output.read_bytes()
    assert main(["models", "ensemble", "flat", "deep", "-o", str(tmp_path / "both.pt")]) == 2
    assert main(["models", "ensemble", "flat", "deep", "-o", str(tmp_path / "both of them.safetensors")]) == 2
    assert "is no id" in capsys.readouterr().err
    assert main(["models", "ensemble", str(output), "deep", "-o", str(output)]) == 2
    assert output.read_bytes() == before and "is the input" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["brats-ensemble", "brats-unet2d"])
def test_an_ensemble_that_could_not_be_added_is_not_made(
    name: str, pair: list[Checkpoint], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model in pair:
        save_checkpoint(model.description, model.weights, tmp_path / f"{model.description.id}.safetensors")
    files, output = (
        [str(tmp_path / f"{name}.safetensors") for name in ("flat", "deep")],
        tmp_path / f"{name}.safetensors",
    )
    assert main(["models", "ensemble", *files, "-o", str(output)]) == 2
    said = capsys.readouterr().err
    assert f"the id {name} is included" in said and "another name" in said and not output.exists()


def test_models_count_alike_whatever_they_count_in_other_ensembles(pair: list[Checkpoint], tmp_path: Path) -> None:
    catalogue.add(save_checkpoint(*average_of(pair, "both"), tmp_path / "both.safetensors"))
    third = changed(make_oracle(2), id="third")
    file = save_checkpoint(third.description, third.weights, tmp_path / "third.safetensors")
    for first, weights in (("flat", [1, 1]), ("both", [2 / 3, 1 / 3, 1])):  # flat counts twice in both
        output = tmp_path / f"{first}-third.safetensors"
        assert main(["models", "ensemble", first, str(file), "-o", str(output)]) == 0
        assert [m.weight for m in load_checkpoint(output).description.members] == pytest.approx(weights)
