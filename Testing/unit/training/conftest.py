"""Runs of the tiny recipe in this process, for the tests of a whole file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from Testing.training_data import SMALL, write_brats, write_recipe
from Training.train import main


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``data`` of six patients, and a cache that the runs share."""
    folder = tmp_path_factory.mktemp("training")
    write_brats(folder / "data", 6, validation=2)
    return folder


@pytest.fixture(scope="module")
def train(place: Path) -> Callable[..., tuple[int, Path]]:
    """``train(name, *arguments, changes of the recipe)`` → exit code and folder of the run."""

    def start(name: str, *arguments: str, changes: dict[str, str] | None = None) -> tuple[int, Path]:
        recipe = write_recipe(place / "recipes" / f"{name}.toml", SMALL | (changes or {}))
        run = place / name
        common = ["--data", str(place / "data"), "--cache", str(place / "cache"), "-o", str(run), "--device", "cpu"]
        return main([str(recipe), *common, *arguments]), run

    return start
