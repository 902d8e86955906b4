"""From a trained network to the file that the engine includes."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from BrainTumorSegLib.models.checkpoint_file import Checkpoint
from BrainTumorSegLib.models.description import (
    ANY_SEQUENCE,
    BRAIN,
    AccuracyRecord,
    Description,
    OutputSpec,
    PreprocessingSpec,
    TilingSpec,
    TrainingRecord,
)
from BrainTumorSegLib.preprocessing.brain_extraction.included import ORIENTATION, SPACING_MM

from ..datasets.split import Split
from ..export import commit, save_sound
from .recipe import BrainRecipe


def export(
    recipe: BrainRecipe,
    weights: Mapping[str, torch.Tensor],
    steps: int,
    people: Sequence[str],
    split: Split,
    figures: Mapping[str, Sequence[float]],
    destination: Path,
) -> Checkpoint:
    """Write the checkpoint.

    Args:
        people: those who trained.
        split: of the LGG patients.
        figures: source → Dice of each held-out image with the teacher's mask, on the network's grid.
    """
    description = Description(
        id=recipe.id,
        title=recipe.title,
        version=recipe.version,
        dimensions=3,
        network=recipe.network,
        modalities=(ANY_SEQUENCE,),
        outputs=(OutputSpec("brain", (1,)),),
        preprocessing=PreprocessingSpec(ORIENTATION, (SPACING_MM,) * 3, "none", brain="head"),
        tiling=TilingSpec(recipe.patch),
        training=TrainingRecord(
            data=recipe.data,
            training_cases=tuple(people),
            validation_cases=split.validation,
            recipe=dataclasses.asdict(recipe),
            steps=steps,
            versions={name: importlib.metadata.version(name) for name in ("torch", "monai", "numpy")},
            commit=commit(),
        ),
        accuracy=tuple(
            AccuracyRecord(
                f"{source}, held out of training, against HD-BET", len(values), "Dice", "none is empty",
                {"brain": round(float(np.mean(values)), 4)},
            )
            for source, values in figures.items()
        ),
        data_licence=recipe.licence,
        weights_licence="Apache-2.0",
        storage=recipe.storage,
        task=BRAIN,
    )  # fmt: skip
    return save_sound(description, weights, destination)
