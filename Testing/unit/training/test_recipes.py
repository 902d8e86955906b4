"""Every shipped recipe runs to its end: as it stands but for its size, on made data of its kind."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from BrainTumorSegLib.models.catalogue import find
from BrainTumorSegLib.models.checkpoint_file import load_checkpoint
from Testing.image_data import write_coco, write_lgg, write_lgg1p19q
from Testing.training_data import write_brats
from Training.callbacks.slice_images import PICTURE, TAG
from Training.recipe import Recipe, load_recipe
from Training.train import main

FOLDER = Path(__file__).parents[3] / "Training" / "recipes"
FILES = sorted(FOLDER.glob("*.toml"))
COMPARED = [load_recipe(file) for file in FILES if file.stem.startswith("lgg_compare_")]

# What a recipe says → what it says here.
SMALLER = {
    r"patch = \[\d+, \d+, \d+\]": "patch = [16, 16, 16]",
    r"patch = \[[1-9]\d*, \d+\]": "patch = [32, 32]",
    r"batch = \d+": "batch = 2",
    r"workers = \d+": "workers = 0",
    r"(?m)^steps = \d+": "steps = 4",
    r"(?m)^interval = \d+": "interval = 2",
    r"(?m)^\[optimisation\]$": '[optimisation]\nprecision = "32-true"',  # so that all machines run the same
    # The made images are of 32 pixels over 256 mm.
    r"(?s)spacing = \[0.0, [12].\d, [12].\d\](?=.*kind = \"(lgg|coco)\")": "spacing = [0.0, 8.0, 8.0]",
    r"width = \d+": "width = 8",
    r'family = "u2net" \}': 'family = "u2net", arguments = { form = "small" } }',
    r'family = "resunet_plus_plus" \}': 'family = "resunet_plus_plus", arguments = { widths = [8, 8, 8, 16, 16] } }',
    r'encoder = "efficientnet-b0"': 'encoder = "resnet10", decoder = [16, 8, 8, 8, 8]',
}


def shrink(file: Path, destination: Path) -> Recipe:
    """The recipe with the sizes that a test has time for."""
    text = file.read_text(encoding="utf-8")
    for pattern, replacement in SMALLER.items():
        text = re.sub(pattern, replacement, text)
    destination.write_text(text, encoding="utf-8")
    recipe = load_recipe(destination)
    assert max(recipe.sampling.patch) <= 32 and recipe.sampling.batch <= 2 and recipe.optimisation.steps == 4
    return recipe


def write_boxes(folder: Path) -> None:
    for part in ("train", "valid"):
        boxes = [{"image_id": number, "bbox": [8, 8, 12, 10]} for number in (1, 2, 3)]
        write_coco(folder / part, boxes, images=3)
        for file in (folder / part).glob("*.png"):
            file.rename(file.with_name(f"{part}-{file.name}"))
        annotations = folder / part / "_annotations.coco.json"
        annotations.write_text(re.sub(r'"(\d\.png)"', rf'"{part}-\1"', annotations.read_text()))


def write_sparse(folder: Path) -> None:
    for seed in range(4):
        write_lgg1p19q(folder, f"LGG-{seed}", seed=seed)


def write_slices(folder: Path) -> None:
    names = [f"TCGA_{number}" for number in range(4)]
    write_lgg(folder / "kaggle_3m", names)
    (folder / "split.json").write_text(json.dumps({"train": names[1:], "validation": names[:1]}))


WRITERS: dict[str, Callable[[Path], object]] = {
    "brats": lambda folder: write_brats(folder, 3),
    "lgg": write_slices,
    "coco": write_boxes,
    "lgg1p19q": write_sparse,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``data(kind)`` → a folder of a few made patients; ``cache`` beside it."""
    place = tmp_path_factory.mktemp("data")

    def make(kind: str) -> Path:
        if not (place / kind).exists():
            WRITERS[kind](place / kind)
        return place / kind

    return make


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_runs_to_its_end(
    file: Path, tmp_path: Path, data: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the recipes that it goes on from."""
    monkeypatch.chdir(tmp_path)
    recipe = shrink(file, tmp_path / file.name)
    folder, run = data(recipe.data.kind), tmp_path / "runs" / recipe.id
    rest = ["--data", str(folder), "--cache", str(folder.parent / "cache"), "--device", "cpu", "--measure=none"]
    before = recipe
    while before.init:
        before = shrink(FOLDER / Path(before.init).name, tmp_path / Path(before.init).name)
    assert main([file.name, *rest]) == 0
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as lines:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]
    assert [row["step"] for row in rows] == [2, 4]
    measures = {f"validation_{m}_{o.name}" for m in ("dice", "iou") for o in recipe.outputs}
    measures |= {"validation_accuracy", "validation_mean_iou"}
    for row in rows:
        assert all(math.isfinite(value) for value in row.values())
        assert all(0 <= row[name] <= 1 for name in measures)
    with Image.open(run / PICTURE) as picture:
        assert picture.width == 3 * (recipe.sampling.patch[-1] + 4) - 4
    description = load_checkpoint(run / f"{recipe.id}.safetensors").description
    assert (description.network, description.outputs) == (recipe.network, recipe.outputs)


def test_a_trained_recipe_is_measured_and_tells_of_its_data(tmp_path: Path, data: Callable[[str], Path]) -> None:
    """To the very end: through the engine, on images whose masks are boxes; the pictures are in TensorBoard."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    file, run = tmp_path / "recipe.toml", tmp_path / "run"
    recipe = shrink(FOLDER / "coco_encoder_unet.toml", file)
    places = ["--data", str(data("coco")), "--cache", str(tmp_path / "cache"), "-o", str(run)]
    assert main([str(file), *places, "--device", "cpu"]) == 0
    description = load_checkpoint(run / f"{recipe.id}.safetensors").description
    assert "boxes" in description.training.data
    assert set(description.accuracy[0].values) == {"WT"}
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Images(TAG)] == [2, 4]
    assert [event.step for event in events.Scalars("validation_iou_WT")] == [2, 4]


def test_compared_recipes_differ_in_network_loss_and_optimiser_alone() -> None:
    """But for two, whose augmentation is stronger, and alike: docs/explanation/systems.md says why."""
    assert len(COMPARED) == 5
    stronger = ("flexible_unet", "resunet_plus_plus")
    first, *others = sorted(COMPARED, key=lambda recipe: recipe.network.family in stronger)
    for recipe in others:
        changed = recipe.changed_since({**dataclasses.asdict(first), "network": {}})
        own = r"|augmentation\.|sampling\.foreground$" if recipe.network.family in stronger else ""
        allowed = rf"id$|network\.|optimisation\.(loss|optimiser)${own}"
        assert [name for name in changed if not re.match(allowed, name)] == []
        assert recipe.network != first.network
    one, two = others[-2:]
    assert (one.augmentation, one.sampling) == (two.augmentation, two.sampling)


def test_the_recipe_of_the_how_to_goes_on_from_what_it_names(tmp_path: Path) -> None:
    page = Path(__file__).parents[3] / "docs" / "how-to" / "train.md"
    (text,) = re.findall(r"```toml\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    file = tmp_path / "own.toml"
    file.write_text(text, "utf-8")
    recipe = load_recipe(file)
    before = find(recipe.init).description
    assert (recipe.network.family, recipe.network.arguments) == (before.network.family, before.network.arguments)
    assert recipe.outputs == before.outputs
    assert recipe.preprocessing == before.preprocessing and recipe.tiling == before.tiling
    assert (recipe.modalities, recipe.optional_modalities) == (before.modalities, before.optional_modalities)


def test_what_is_trained_on_lgg_masks_is_not_for_commerce() -> None:
    for recipe in map(load_recipe, FILES):
        if recipe.data.kind == "lgg":
            assert "NC" in recipe.weights_licence and "NC" in recipe.data.licence
