"""The page of published systems: every figure from a file, what is missing said, nothing half-written."""

from __future__ import annotations

import csv
import dataclasses
import shutil
from pathlib import Path

import pytest

from BrainTumorSegLib.domain.errors import InputError
from BrainTumorSegLib.models.checkpoint_file import save_checkpoint
from BrainTumorSegLib.models.description import NetworkSpec
from Testing import samples
from Training.datasets.split import Split
from Training.export import describe_run
from Training.recipe import load_recipe
from Training.studies.systems import NOT_YET, RECIPES, SYSTEMS, load_systems, main


def write_table(file: Path, rows: list[dict[str, object]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_study(folder: Path, files: tuple[str, ...], text: str, body: str = "- a note of the run\n") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in files:
        (folder / name).write_bytes(b"picture")
    (folder / text).write_text(body, encoding="utf-8")


PICTURES = ("comparison_masks.png", "comparison_curves.png")


def test_without_runs_nothing_but_words(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    assert main([str(tmp_path / "runs"), "-o", str(tmp_path / "docs" / "systems.md")]) == 0
    text = (tmp_path / "docs" / "systems.md").read_text(encoding="utf-8")
    studies = [study for system in load_systems().system for study in system.studies]
    assert text.count(NOT_YET) == len(studies) == text.count("\n### ")
    assert "![" not in text and "| published |" not in text
    assert [path.name for path in (tmp_path / "docs").iterdir()] == ["systems.md"]


def test_figures_stand_beside_the_published_ones(tmp_path: Path) -> None:
    runs, page = tmp_path / "runs", tmp_path / "docs" / "systems.md"
    write_study(runs / "u2net", PICTURES, "comparison.md")
    row = {"id": "brats-u2net-small", "statistic": "Mean", "Sensitivity_ET": 0.70649, "Hausdorff95_WT": 8.125}
    write_table(runs / "u2net" / "comparison_brats.csv", [row, row | {"statistic": "Median", "Hausdorff95_WT": 4.5}])
    write_study(
        runs / "lgg-dice", ("leak_masks.png", "leak_curves.png"), "leak.md", "# What the leak is worth\n\nMuch.\n"
    )
    log: list[dict[str, object]] = [
        {"step": s, "validation_loss": loss, "validation_batch_dice": 1 - loss} for s, loss in ((1, 0.4), (2, 0.125))
    ]
    write_table(runs / "lgg-dice" / "lgg-unet-dice-slices" / "metrics.csv", [*log, log[0]])
    assert main([str(runs), "-o", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "|  | published | brats-u2net-small |" in text
    assert "| sensitivity ET, mean | 0.815 | 0.706 |" in text
    assert "| sensitivity WT, mean | 0.925 | – |" in text
    assert "| HD95 WT, mean, mm | 5.57 | 8.12 |" in text and "| HD95 WT, median, mm | 3.16 | 4.50 |" in text
    assert "| Dice of batches, held-out slices | 0.8648 | 0.875 |" in text  # the step with the lowest loss
    assert "\n#### What the leak is worth\n" in text and "- a note of the run" in text
    for name in ("u2net/comparison_masks.png", "lgg-dice/leak_curves.png"):
        assert f"(systems/{name})" in text and (page.parent / "systems" / name).read_bytes() == b"picture"
    # What was kept beside the page is enough for it: the runs may be gone.
    shutil.rmtree(runs)
    runs.mkdir()
    assert main([str(runs), "-o", str(page)]) == 0
    assert page.read_text(encoding="utf-8") == text


def test_a_run_of_a_few_steps_does_not_look_like_a_training(tmp_path: Path) -> None:
    runs, page = tmp_path / "runs", tmp_path / "systems.md"
    write_study(runs / "coco", PICTURES, "comparison.md")
    full = load_recipe(RECIPES / "coco_encoder_unet.toml")
    small = dataclasses.replace(full, network=NetworkSpec("unet", {"width": 8, "levels": 1}))
    for steps in (full.optimisation.steps, 50):
        recipe = dataclasses.replace(small, optimisation=dataclasses.replace(small.optimisation, steps=steps))
        description = describe_run(recipe, Split(("A",), (), ("B",)), steps=50)
        folder = runs / "coco" / full.id
        folder.mkdir(exist_ok=True)
        save_checkpoint(description, samples.oracle_weights(description), folder / f"{full.id}.safetensors")
        assert main([str(runs), "-o", str(page)]) == 0
        assert ("at most 50 steps here, not" in page.read_text(encoding="utf-8")) == (steps == 50)
    shutil.rmtree(runs / "coco")
    assert main([str(runs), "-o", str(page)]) == 0
    assert "at most 50 steps here, not" in page.read_text(encoding="utf-8")
    assert not list(page.with_suffix("").rglob("*.safetensors"))


@pytest.mark.parametrize("broken", ["picture", "table"])
def test_a_damaged_run_leaves_the_page_as_it_was(
    tmp_path: Path, broken: str, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, page = tmp_path / "runs", tmp_path / "systems.md"
    write_study(runs / "coco", PICTURES[: 1 if broken == "picture" else 2], "comparison.md")
    write_table(runs / "coco" / "comparison.csv", [{"id": "coco", "dice_mean": "much"}])
    page.write_text("before")
    assert main([str(runs), "-o", str(page)]) == 2
    assert ("lacks comparison_curves.png" if broken == "picture" else "no table") in capsys.readouterr().err
    assert page.read_text() == "before" and not (tmp_path / "systems").exists()


def test_a_folder_is_needed(tmp_path: Path) -> None:
    assert main([str(tmp_path / "no"), "-o", str(tmp_path / "page.md")]) == 2


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "systems.toml"
    file.write_text(SYSTEMS.read_text(encoding="utf-8").replace('"brats_unet2d_bce"', '"no_such"'), encoding="utf-8")
    with pytest.raises(InputError, match="no_such"):
        load_systems(file)


def test_every_study_names_the_command_that_fills_its_folder() -> None:
    for system in load_systems().system:
        for study in system.studies:
            command = " ".join(study.commands)
            assert f"-o RUNS/{study.folder}" in command
            for name in study.recipes:
                assert name in command or name.removeprefix("lgg_compare_") in command or "studies.leak" in command
