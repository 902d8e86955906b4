"""From a training checkpoint to the one file that the engine loads, with its accuracy measured inside."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import subprocess
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from BrainTumorSegLib.checkpoint import (
    AccuracyRecord,
    Checkpoint,
    Description,
    PostprocessingSpec,
    TrainingRecord,
    load_checkpoint,
    save_checkpoint,
)
from BrainTumorSegLib.inference.engine import segment_case
from BrainTumorSegLib.metrics import dice
from BrainTumorSegLib.labels import to_regions

from .datasets.brats import LabelledCase, Split
from .recipe import Recipe


def describe_run(recipe: Recipe, split: Split, steps: int) -> Description:
    """The description of a checkpoint, as yet without measured accuracy."""
    packages = ("torch", "monai", "lightning", "numpy")
    return Description(
        id=recipe.id,
        title=recipe.title,
        version=recipe.version,
        dimensions=recipe.dimensions,
        network=recipe.network,
        modalities=recipe.modalities,
        outputs=recipe.outputs,
        preprocessing=recipe.preprocessing,
        tiling=recipe.tiling,
        postprocessing=recipe.postprocessing,
        training=TrainingRecord(
            data=recipe.data.name,
            training_cases=split.training,
            validation_cases=split.validation,
            recipe=dataclasses.asdict(recipe),
            steps=steps,
            versions={name: importlib.metadata.version(name) for name in packages},
            commit=_commit(),
        ),
        data_licence=recipe.data.licence,
        weights_licence=recipe.weights_licence,
    )


def network_weights(training_checkpoint: Path) -> tuple[dict[str, torch.Tensor], int]:
    """Weights of the network (averaged ones, where the run kept an average) and the step they are from."""
    state = torch.load(training_checkpoint, map_location="cpu", weights_only=False)  # our own file
    prefix = "network."
    weights = {name[len(prefix) :]: t for name, t in state["state_dict"].items() if name.startswith(prefix)}
    return weights, int(state["global_step"])


def measure_dice(
    checkpoint: Checkpoint, cases: list[LabelledCase], *, device: str = "auto"
) -> dict[str, dict[str, float]]:
    """Case id → region → Dice, on the images' own grid through the engine, as a user gets it."""
    from tqdm import tqdm

    table = {}
    for labelled in tqdm(cases, desc=f"Measuring {checkpoint.description.id}", leave=False):
        case, reference = labelled.load()
        result = segment_case(case, checkpoint, device=device)
        truth = to_regions(reference.array)
        table[labelled.id] = {region: dice(result.mask(region), truth[region]) for region in result.regions}
    return table


def means(table: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Region → mean over cases."""
    rows = list(table.values())
    return {region: round(float(np.mean([row[region] for row in rows])), 4) for region in rows[0]}


def export(
    training_checkpoint: Path,
    recipe: Recipe,
    split: Split,
    cases: Mapping[str, LabelledCase],
    destination: Path,
    *,
    device: str = "auto",
    measure: bool = True,
) -> Checkpoint:
    """Write ``destination`` and return it as loaded from there.

    The accuracy is that of the very file written: fp16 weights, engine, post-processing; once more without
    post-processing, so that what it does can be seen.
    """
    weights, steps = network_weights(training_checkpoint)
    description = describe_run(recipe, split, steps)
    checkpoint = load_checkpoint(save_checkpoint(description, weights, destination))
    chosen = [cases[name] for name in (split.monitoring or split.validation)]
    if not measure or not chosen:
        return checkpoint
    part = "held-out fold of the training patients" if split.monitoring else "validation patients"
    bare = dataclasses.replace(description, postprocessing=PostprocessingSpec())
    records = []
    for measured, name in ((checkpoint, "Dice"), (dataclasses.replace(checkpoint, description=bare), "Dice without post-processing")):
        table = measure_dice(measured, chosen, device=device)
        for case, row in table.items():
            print(name, case, " ".join(f"{region} {value:.4f}" for region, value in row.items()), flush=True)
        records.append(AccuracyRecord(f"{recipe.data.name}, {part}", len(chosen), name, "brats2021", means(table)))
        print(name, "mean", records[-1].values, flush=True)
    description = dataclasses.replace(description, accuracy=tuple(records))
    return load_checkpoint(save_checkpoint(description, weights, destination))


def _commit() -> str:
    """Commit of this clone, empty outside one."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
