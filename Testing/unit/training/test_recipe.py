"""Recipes: the shipped ones are right, wrong ones are refused before anything starts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.models.description import TrainingRecord
from Testing.training_data import write_recipe
from Training.module import SegmentationModule
from Training.recipe import LOSSES, OPTIMISERS, PRECISIONS, SCHEDULES, Recipe, load_recipe
from Training.train import adapt, main, parser

SHIPPED = sorted((Path(__file__).parents[3] / "Training" / "recipes").glob("*.toml"))


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    return load_recipe(write_recipe(tmp_path / "tiny.toml"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_recipes_fit_their_networks(file: Path) -> None:
    recipe = load_recipe(file)
    module = SegmentationModule(recipe)  # refuses a patch that the network cannot take
    assert sum(p.numel() for p in module.parameters()) > 1e6
    assert recipe.epochs * recipe.optimisation.interval == recipe.optimisation.steps
    assert recipe.describe(TrainingRecord()).regions in (("ET", "TC", "WT"), ("WT",))  # all, or the tumour as a whole


def test_there_are_shipped_recipes() -> None:
    assert {"brats_segresnet", "brats_unet2d"} <= {file.stem for file in SHIPPED}


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("# top", "colour = 1", "colour"),
        ("ema = 0.8", "emma = 0.8", "optimisation.emma"),
        ("steps = 12", "steps = 12.5", "optimisation.steps"),
        ("steps = 12", 'steps = "many"', "optimisation.steps"),
        ('name = "made"', "", "name"),
        ("[data]", "[data", "line"),
        ("steps = 12", "steps = 13", "multiple of interval"),
        ("steps = 12", "steps = 0", "multiple of interval"),
        ("patch = [16, 16, 16], batch", "patch = [16, 16], batch", "3D patch"),
        ("batch = 1", "batch = 0", "batch"),
        ("batch = 1", "batch = 1, foreground = 1.5", "foreground"),
        ("batch = 1", "batch = 1, carved = 1.5", "carved"),
        ("batch = 1", "batch = 1, unenhanced = 0", "unenhanced"),
        ("affine = 0.5", "affine = -0.1", "affine"),
        ("affine = 0.5", 'affine = 0.5, kept = ["t1ce"]', "kept names t1ce, not among"),
        ("ema = 0.8", "ema = 1.0", "ema"),
        ("ema = 0.8", "prior = 1.0", "prior"),
        ("ema = 0.8", "weights = { Rim = 2.0 }", "weights names Rim, not among"),
        ("ema = 0.8", "weights = { WT = 0.0 }", "weights must be above 0"),
        ("learning_rate = 5e-3", "learning_rate = 0.0", "learning_rate"),
        ("learning_rate = 5e-3", "learning_rate = 5e-3\nminimum_learning_rate = 1.0", "minimum_learning_rate"),
        ("ema = 0.8", "plateau_factor = 1.0", "plateau_factor"),
        ("ema = 0.8", "plateau_patience = -1", "plateau_patience"),
        ("fold = 0", "fold = 3", "fold must be"),
        ("fold = 0", "fold = -2", "fold must be"),
        ("ema = 0.8", 'loss = "focal"', "dice_bce, bce"),
        ("ema = 0.8", "hold_statistics = true", "hold_statistics needs init"),
        ("ema = 0.8", 'schedule = "step"', "cosine, poly"),
        ("ema = 0.8", 'optimiser = "lion"', "adamw, adam, sgd"),
        ('precision = "32-true"', 'precision = "64"', "bf16-mixed"),
        ("fold = 0", 'fold = 0\nkind = "dicom"', "brats"),
        ('id = "tiny"', 'id = "a/b"', "id must be"),
        ("labels = [3]", "labels = [7]", "labels"),
        ("overlap = 0.25", "overlap = 1.0", "overlap"),
    ],
)
def test_a_wrong_entry_is_refused_by_name(tmp_path: Path, old: str, new: str, word: str) -> None:
    file = write_recipe(tmp_path / "wrong.toml", {old: new})
    with pytest.raises(RequestError, match=word):
        load_recipe(file)


def test_all_contradictions_are_named_together(tmp_path: Path) -> None:
    file = write_recipe(tmp_path / "wrong.toml", {"steps = 12": "steps = 13", "batch = 1": "batch = 0"})
    with pytest.raises(RequestError, match=r"multiple of interval.*batch must"):
        load_recipe(file)


def test_patience_needs_a_held_out_fold(tmp_path: Path) -> None:
    """Early stopping on training patients would choose by what was trained on."""
    load_recipe(write_recipe(tmp_path / "held.toml", {"ema = 0.8": "patience = 2"}))
    file = write_recipe(tmp_path / "all.toml", {"ema = 0.8": "patience = 2", "fold = 0": "fold = -1"})
    with pytest.raises(RequestError, match=r"patience needs a held-out fold.*training patients"):
        load_recipe(file)


def test_a_patch_that_the_network_cannot_take_is_refused(tmp_path: Path) -> None:
    file = write_recipe(tmp_path / "wrong.toml", {"patch = [16, 16, 16], batch": "patch = [16, 16, 15], batch"})
    with pytest.raises(RequestError, match=r"divisible by 2.*\[16, 16, 15\]"):
        SegmentationModule(load_recipe(file))


@pytest.mark.parametrize("content", [None, "id = 3"], ids=["missing", "mistyped"])
def test_the_command_ends_with_2_and_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None
) -> None:
    file = tmp_path / "recipe.toml"
    if content:
        file.write_text(content)
    assert main([str(file)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert str(file) in error


@pytest.mark.parametrize("extra", [[], ["--data", "nowhere"]])
def test_the_data_folder_must_be_said_and_be_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str]
) -> None:
    recipe = write_recipe(tmp_path / "tiny.toml")
    assert main([str(recipe), "-o", str(tmp_path / "run"), *extra]) == 2
    assert ("--data DIR" if not extra else "no labelled case") in capsys.readouterr().err


def test_command_line_goes_before_the_recipe(recipe: Recipe) -> None:
    arguments = parser().parse_args(["r.toml", "--steps", "40", "--fold", "2", "--data", "here"])
    changed = adapt(recipe, arguments)
    assert (changed.optimisation.steps, changed.optimisation.interval, changed.epochs) == (40, 4, 10)
    assert (changed.data.fold, changed.data.folder) == (2, "here")
    assert adapt(recipe, parser().parse_args(["r.toml", "--steps", "3"])).optimisation.interval == 3
    assert adapt(recipe, parser().parse_args(["r.toml", "--fast-dev-run"])).optimisation.steps == 2
    with pytest.raises(RequestError, match="multiple"):
        adapt(recipe, parser().parse_args(["r.toml", "--steps", "0"]))


def test_changes_that_a_resumed_run_must_not_have(recipe: Recipe) -> None:
    then = dataclasses.asdict(recipe)
    assert recipe.changed_since(then) == []
    moved = dataclasses.replace(recipe.data, folder="elsewhere", licence="other")
    longer = dataclasses.replace(recipe.optimisation, steps=400, patience=3)
    assert dataclasses.replace(recipe, title="x", data=moved, optimisation=longer).changed_since(then) == []
    older = {name: dict(value) if isinstance(value, dict) else value for name, value in then.items()}
    del older["data"]["labels"], older["preprocessing"]["brain"]  # of a version that did not write them
    decided = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, labels="brats2021"))
    assert decided.changed_since(older) == [] and "data.labels" in decided.changed_since(then)
    other = dataclasses.replace(
        recipe,
        seed=2,
        sampling=dataclasses.replace(recipe.sampling, batch=2),
        network=dataclasses.replace(recipe.network, arguments={"width": 16}),
    )
    changed = other.changed_since(then)
    assert {"seed", "sampling.batch", "network.arguments.width", "network.arguments.dropout"} <= set(changed)


def test_every_choice_can_be_had(recipe: Recipe) -> None:
    """What the recipe accepts is what the code knows."""
    for name in LOSSES:
        for optimiser in OPTIMISERS:
            for schedule in SCHEDULES:
                chosen = dataclasses.replace(recipe.optimisation, loss=name, optimiser=optimiser, schedule=schedule)
                module = SegmentationModule(dataclasses.replace(recipe, optimisation=chosen))
                assert module.configure_optimizers()["optimizer"].param_groups[0]["lr"] > 0
    assert "auto" in PRECISIONS
