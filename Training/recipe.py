"""A recipe: one TOML file that drives a training run and ends up inside its checkpoint."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from BrainTumorSegLib.checkpoint import NetworkSpec, OutputSpec, PostprocessingSpec, PreprocessingSpec, TilingSpec
from BrainTumorSegLib.errors import RequestError
from BrainTumorSegLib.modalities import MODALITIES
from BrainTumorSegLib.structure import from_json


@dataclass(frozen=True)
class DataRecipe:
    """Which patients.

    Attributes:
        kind: data module, ``brats``.
        folds, fold: with ``fold`` ≥ 0 the training patients are cut into ``folds`` and that one is held out,
            monitors the run and decides the best state. With -1 all of them train; then nothing is chosen
            by the monitored loss, which is taken on training patients, and the last state is exported.
    """

    name: str
    kind: str = "brats"
    licence: str = ""
    folds: int = 5
    fold: int = -1


@dataclass(frozen=True)
class SamplingRecipe:
    """How patches are drawn: ``patch`` is ``(z, y, x)``, or ``(y, x)`` for slices."""

    patch: tuple[int, ...]
    batch: int = 1
    foreground: float = 0.67
    workers: int = 1


@dataclass(frozen=True)
class AugmentationRecipe:
    """Probabilities of each augmentation (strengths as nnU-Net has them, Isensee 2021) and mirror axes."""

    mirror: bool = True
    affine: float = 0.2
    noise: float = 0.1
    blur: float = 0.1
    brightness: float = 0.15
    contrast: float = 0.15
    gamma: float = 0.15
    low_resolution: float = 0.1


@dataclass(frozen=True)
class OptimisationRecipe:
    """How weights are found.

    Attributes:
        steps: optimiser steps in all; ``interval`` of them lie between two validations.
        schedule: ``cosine`` or ``poly`` (exponent 0.9), after a linear warm-up over ``warmup`` of all steps.
        loss: ``dice_bce`` or ``bce``.
        ema: decay of the exponential moving average of the weights; 0 switches it off.
        precision: Lightning's name, or ``auto``: bf16 where the processor computes in it, else fp32.
        patience: validations without improvement that end the run; 0 never.
    """

    steps: int = 1000
    interval: int = 100
    optimiser: str = "adamw"
    learning_rate: float = 1e-3
    minimum_learning_rate: float = 0.0
    weight_decay: float = 1e-5
    schedule: str = "cosine"
    warmup: float = 0.1
    loss: str = "dice_bce"
    ema: float = 0.99
    clip: float = 12.0
    precision: str = "auto"
    patience: int = 0


@dataclass(frozen=True)
class Recipe:
    """All of a training run."""

    id: str
    title: str
    dimensions: int
    network: NetworkSpec
    data: DataRecipe
    sampling: SamplingRecipe
    outputs: tuple[OutputSpec, ...]
    tiling: TilingSpec
    modalities: tuple[str, ...] = MODALITIES
    preprocessing: PreprocessingSpec = PreprocessingSpec()
    postprocessing: PostprocessingSpec = PostprocessingSpec()
    augmentation: AugmentationRecipe = AugmentationRecipe()
    optimisation: OptimisationRecipe = OptimisationRecipe()
    version: str = "1"
    seed: int = 1
    init: str = ""
    weights_licence: str = "Apache-2.0"
    notes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.sampling.patch) != self.dimensions:
            raise RequestError(f"Recipe {self.id}: a {self.dimensions}D network needs a {self.dimensions}D patch.")
        if self.optimisation.steps < self.optimisation.interval or self.optimisation.interval < 1:
            raise RequestError(f"Recipe {self.id}: steps must be at least interval, and interval at least 1.")

    @property
    def epochs(self) -> int:
        """Validation intervals of the run; Lightning's epochs."""
        return -(-self.optimisation.steps // self.optimisation.interval)


def load_recipe(path: Path | str) -> Recipe:
    """Read a recipe.

    Raises:
        RequestError: the file is missing, no TOML, or has unknown, missing or mistyped entries.
    """
    path = Path(path)
    try:
        return from_json(Recipe, tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise RequestError(f"Recipe {path} cannot be read ({error.strerror}).", "See Training/recipes.") from error
    except (tomllib.TOMLDecodeError, TypeError, ValueError) as error:
        raise RequestError(f"Recipe {path} is wrong: {error}.", "Compare it with those in Training/recipes.") from error
