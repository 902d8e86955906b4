"""What a run begins from: weights of a file or of another recipe's run, and who trained them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from BrainTumorSegLib.models import catalogue
from BrainTumorSegLib.models.checkpoint_file import load_checkpoint
from BrainTumorSegLib.models.model_card import model_card
from Testing.training_data import SMALL, STILL, exported, write_recipe
from Training.datasets.split import read_split


@pytest.fixture(scope="module")
def finished(train: Callable[..., tuple[int, Path]]) -> Path:
    """A run with a held-out fold."""
    code, run = train("finished", "--measure=none")
    assert code == 0
    return run


@pytest.mark.parametrize("by", ["file", "id"])
def test_init_starts_from_the_weights_of_a_checkpoint(
    finished: Path, place: Path, train: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str], by: str
) -> None:
    """One step without learning leaves them as they were. Who trained them is known, also when the run is resumed."""
    source = finished / "tiny.safetensors"
    if by == "id":
        catalogue.add(source)
    init = "tiny" if by == "id" else source.as_posix()
    changes = STILL | {"# top": f'init = "{init}"', "fold = 0": "fold = 1"}
    code, run = train(f"init-{by}", "--measure=none", "--steps", "1", changes=changes)
    assert code == 0
    for name, tensor in exported(finished).weights.items():
        assert torch.equal(exported(run).weights[name], tensor)
    seen = set(exported(finished).description.training.training_cases)
    out = capsys.readouterr().out
    split = read_split(place / "data", [f"P{number:02d}" for number in range(6)], folds=3, fold=1)
    expected = sorted(seen & set(split.monitoring))
    assert expected
    assert f"was trained on {', '.join(expected)}, so their accuracy will be too high" in out
    description = exported(run).description
    assert set(description.training.training_cases) == seen | set(split.training)
    assert f"Warning: {', '.join(expected)} trained the weights that it began from" in model_card(description)

    (run / "tiny.safetensors").unlink()
    assert train(f"init-{by}", "--resume", "--measure=none", "--steps", "1", changes=changes)[0] == 0
    assert exported(run).description == description  # what is known of those weights is kept with the state


def test_the_checkpoint_that_a_run_begins_from_is_not_replaced_by_its_own(
    finished: Path, place: Path, train: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    source = place / "init-same" / "tiny.safetensors"
    source.parent.mkdir()
    source.write_bytes((finished / "tiny.safetensors").read_bytes())
    code, _ = train("init-same", "--measure=none", "--steps", "1", changes={"# top": f'init = "{source.as_posix()}"'})
    assert code == 2 and "is the input" in capsys.readouterr().err
    assert source.read_bytes() == (finished / "tiny.safetensors").read_bytes()


def test_init_runs_the_recipe_that_it_goes_on_from_once(
    place: Path, train: Callable[..., tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    """In a folder beside its own; where that was interrupted, it is resumed."""
    write_recipe(place / "recipes" / "first.toml", SMALL | {'id = "tiny"': 'id = "first"'})
    changes = STILL | {"# top": 'init = "first.toml"'}
    code, run = train("second", "--measure=none", "--fold", "1", "--steps", "2", changes=changes)
    assert code == 0
    first = load_checkpoint(place / "first" / "first.safetensors")
    assert first.description.training.training_cases == exported(run).description.training.training_cases
    for name, tensor in first.weights.items():
        assert torch.equal(exported(run).weights[name], tensor)
    assert "First first, which tiny goes on from." in capsys.readouterr().out
    assert exported(run).description.training.recipe["init"] == "first.toml"

    (place / "first" / "first.safetensors").unlink()
    assert train("third", "--measure=none", "--fold", "1", "--steps", "2", changes=changes)[0] == 0
    assert "Resuming at step 2" in capsys.readouterr().out
    assert train("fourth", "--measure=none", "--fold", "1", "--steps", "2", changes=changes)[0] == 0
    assert "First" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--fold", "2", "--steps", "2"], "another data.fold"),
        (["--fold", "1", "--steps", "2", "--patients", "1"], "another data.training_patients"),
        (["--fold", "1", "--steps", "4"], r"another optimisation.steps \(2, now 4\)"),
        ("split.json", "of other patients"),
    ],
)
def test_a_run_of_other_patients_is_not_gone_on_from(
    place: Path,
    train: Callable[..., tuple[int, Path]],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str] | str,
    word: str,
) -> None:
    """Else the state would be chosen on patients that the earlier stage was trained on."""
    file = place / "stage" / "stage.safetensors"
    write_recipe(place / "recipes" / "stage.toml", SMALL | {'id = "tiny"': 'id = "stage"'})
    same, changes = ["--fold", "1", "--steps", "2"], STILL | {"# top": 'init = "stage.toml"'}
    if not file.is_file():
        assert train("begun", "--measure=none", *same, changes=changes)[0] == 0
    before, split = file.read_bytes(), place / "data" / "split.json"
    parts = json.loads(text := split.read_text())
    if arguments == "split.json":
        parts = {"train": parts["validation"] + parts["train"][2:], "validation": parts["train"][:2]}
        split.write_text(json.dumps(parts))
    try:
        code, run = train("other", *(same if isinstance(arguments, str) else arguments), changes=changes)
    finally:
        split.write_text(text)
    said = capsys.readouterr().err
    assert code == 2 and re.search(word, said) and str(file) in said and "Choose another -o" in said
    assert file.read_bytes() == before and not run.exists()


def test_held_statistics_stay_as_they_came_through_all_intervals(
    place: Path, train: Callable[..., tuple[int, Path]]
) -> None:
    """Statistics of batch normalisation; the weights learn all the same."""
    normalised = SMALL | {"width = 8": 'width = 8, norm = "batch"'}
    write_recipe(place / "recipes" / "free.toml", normalised | {'id = "tiny"': 'id = "free"'})
    changes = normalised | {"# top": 'init = "free.toml"', "ema = 0.8": "ema = 0.8\nhold_statistics = true"}
    code, run = train("held", "--measure=none", changes=changes)
    assert code == 0
    before, after = load_checkpoint(place / "free" / "free.safetensors").weights, exported(run).weights
    for name, tensor in before.items():
        if "running" in name:  # their average over the steps rounds
            torch.testing.assert_close(after[name], tensor, rtol=1e-5, atol=1e-6)
        elif "num_batches" in name:
            assert after[name] == tensor > 0
        else:
            assert not torch.equal(after[name], tensor), name


@pytest.mark.parametrize(
    ("init", "arguments", "word"),
    [
        ("nowhere.toml", [], "cannot be read"),
        ("alone.toml", [], "begins with itself"),
        ("before.toml", ["--devices", "2"], "Train .*before.toml first"),
    ],
)
def test_a_recipe_that_cannot_be_run_first_is_refused(
    place: Path,
    train: Callable[..., tuple[int, Path]],
    capsys: pytest.CaptureFixture[str],
    init: str,
    arguments: list[str],
    word: str,
) -> None:
    write_recipe(place / "recipes" / "before.toml", SMALL | {'id = "tiny"': 'id = "before"'})
    assert train("alone", *arguments, changes={"# top": f'init = "{init}"'})[0] == 2
    assert re.search(word, capsys.readouterr().err)


def test_init_widens_to_a_network_that_sees_availability(
    finished: Path, train: Callable[..., tuple[int, Path]]
) -> None:
    """What the narrower network knew is kept, and the new channels begin at zero, so at first nothing changes."""
    source = finished / "tiny.safetensors"
    changes = STILL | {"# top": f'init = "{source.as_posix()}"', "dropout = 0.1": "dropout = 0.0, availability = true"}
    code, run = train("init-wider", "--measure=none", "--steps", "1", changes=changes)
    assert code == 0
    for name, tensor in exported(run).weights.items():
        before = exported(finished).weights[name]
        if name == "convInit.conv.weight":
            assert torch.equal(tensor[:, :4], before) and tensor.shape[1] == 8 and not tensor[:, 4:].any()
        else:
            assert torch.equal(tensor, before), name


@pytest.mark.parametrize(("init", "word"), [("no-such-model", "no model"), ("FILE", "do not fit")])
def test_init_that_cannot_be_used(
    finished: Path,
    train: Callable[..., tuple[int, Path]],
    capsys: pytest.CaptureFixture[str],
    init: str,
    word: str,
) -> None:
    source = (finished / "tiny.safetensors").as_posix() if init == "FILE" else init
    changes = {"# top": f'init = "{source}"', "width = 8": "width = 16"}
    assert train("init-wrong", changes=changes)[0] == 2
    assert word in capsys.readouterr().err
