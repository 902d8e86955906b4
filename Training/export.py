"""From a training checkpoint to the one file that the engine loads, with its accuracy measured inside."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from BrainTumorSegLib.domain.errors import GeometryError, InputError
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.evaluation import Settings, compare_labels
from BrainTumorSegLib.evaluation.results import Measures
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.io.staging import atomic
from BrainTumorSegLib.models.checkpoint_file import Checkpoint, load_checkpoint, save_checkpoint
from BrainTumorSegLib.models.description import AccuracyRecord, Description, PostprocessingSpec, TrainingRecord

from .beginning import trained_before
from .datasets.case import UNKNOWN_LABEL, LabelledCase
from .datasets.split import Split
from .recipe import LEAKING_SLICES, Recipe
from .studies.calibration import gather, summary

# Case id → region → Dice.
Table = Mapping[str, Mapping[str, float]]


def describe_run(recipe: Recipe, split: Split, steps: int, before: Sequence[str] = ()) -> Description:
    """The description of a checkpoint, as yet without measured accuracy.

    ``before``: cases that trained the weights that the run began from. The network has seen them, too.
    """
    packages = ("torch", "monai", "lightning", "numpy")
    # Where the files lay on this machine is nobody's business.
    public = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, folder=""), init=Path(recipe.init).name)
    public = dataclasses.replace(public, encoder_weights=Path(recipe.encoder_weights).name)
    if seen := trained_before(split, before):
        said = f"{', '.join(seen)} trained the weights that it began from, so what is said of them is too good"
        public = dataclasses.replace(public, notes={**recipe.notes, "seen": said})
    return recipe.describe(
        TrainingRecord(
            data=recipe.data.name,
            training_cases=tuple(sorted({*split.training, *before})),
            validation_cases=split.validation,
            recipe=dataclasses.asdict(public),
            steps=steps,
            versions={name: importlib.metadata.version(name) for name in packages},
            commit=commit(),
        )
    )


def network_weights(training_checkpoint: Path) -> tuple[dict[str, torch.Tensor], int]:
    """Weights of the network (averaged ones, where the run kept an average) and the step they are from."""
    state = torch.load(training_checkpoint, map_location="cpu", weights_only=False)  # our own file
    prefix = "network."
    weights = {name[len(prefix) :]: t for name, t in state["state_dict"].items() if name.startswith(prefix)}
    return weights, int(state["global_step"])


def compare_known(prediction: np.ndarray, reference: np.ndarray, settings: Settings | None = None) -> Measures:
    """Region → measure → value of two label maps, over all voxels of which something is known; Dice by default.

    Voxels lose their places, so distances and lesions cannot be asked for.
    """
    known = reference != UNKNOWN_LABEL
    return compare_labels(prediction[known][None, None], reference[known][None, None], settings=settings)


def measure_dice(
    checkpoint: Checkpoint,
    cases: Sequence[LabelledCase],
    *,
    modalities: Sequence[str] = (),
    device: str = "auto",
    backend: str = "auto",
    precision: str = "auto",
) -> dict[str, dict[str, float]]:
    """Case id → region → Dice, on the images' own grid through the engine, as a user gets it.

    ``modalities`` are those that are given, and cases that lack one of them are left out; empty stands for all that a
    case has. Voxels of which nothing is known do not count.
    """
    table = {}
    for labelled in _with_bar(cases, f"Measuring {checkpoint.description.id} {' '.join(modalities)}".rstrip()):
        case, reference = labelled.load()
        if not set(modalities) <= set(case.images):  # what fewer sequences give is a figure of another set
            continue
        if modalities:
            given = {name: case.images[name] for name in modalities}
            # All else stays, above all that slices without a place in space are a stack: nothing is registered there.
            case = dataclasses.replace(case, images=given, reference="")
        result = segment_case(case, checkpoint, RunOptions(device=device, backend=backend, precision=precision))
        measures = compare_known(result.labels.array, reference.array)
        table[labelled.id] = {region: measures[region]["dice"] for region in result.regions}
    return table


def _with_bar(cases: Sequence[LabelledCase], title: str) -> Iterable[LabelledCase]:
    """The cases, with a progress bar on a terminal."""
    from tqdm import tqdm

    return tqdm(cases, desc=title, leave=False, disable=not sys.stderr.isatty())


def means(table: Table) -> dict[str, float]:
    """Region → mean over cases."""
    rows = list(table.values())
    return {region: round(float(np.mean([row[region] for row in rows])), 4) for region in rows[0]}


def defined(values: Mapping[str, float]) -> dict[str, float]:
    """Those figures that are numbers: where a network finds nothing there is nothing to be calibrated."""
    return {region: value for region, value in values.items() if math.isfinite(value)}


def format_tables(tables: Mapping[str, Table]) -> str:
    """Tables of the same cases side by side, under their titles, with the means below."""
    first = next(iter(tables.values()))
    regions = list(next(iter(first.values())))
    width = max(len(name) for name in (*first, "patient"))
    space = max(*(len(title) for title in tables), 8 * len(regions))
    lines = [" " * width + "".join(f"  {title:>{space}}" for title in tables)]
    lines.append(f"{'patient':<{width}}" + f"  {''.join(f'{region:>8}' for region in regions):>{space}}" * len(tables))
    rows = {case: [table[case] for table in tables.values()] for case in first}
    rows["mean"] = [means(table) for table in tables.values()]
    for case, parts in rows.items():
        numbers = ("".join(f"{part[region]:8.4f}" for region in regions) for part in parts)
        lines.append(f"{case:<{width}}" + "".join(f"  {text:>{space}}" for text in numbers))
    return "\n".join(lines)


def export(
    training_checkpoint: Path,
    recipe: Recipe,
    split: Split,
    measured: Sequence[LabelledCase],
    destination: Path,
    device: str = "auto",
    *,
    before: Sequence[str] = (),
) -> Checkpoint:
    """Write ``destination`` and return it as loaded from there, with its accuracy on the patients ``measured``.

    The accuracy is that of the very file written: rounded weights, engine, post-processing; once more without
    post-processing, so that what it does can be seen; and with every set of modalities that the model runs on.
    ``before``: cases that trained the weights that the run began from.
    """
    weights, steps = network_weights(training_checkpoint)
    description = describe_run(recipe, split, steps, before)
    with atomic(destination) as part:  # a measurement that fails leaves the file of an earlier run
        checkpoint = save_sound(description, weights, part)
        if measured:
            who = who_is(measured[0].id, recipe, split)
            records = measure_accuracy(checkpoint, f"{recipe.data.name}, {who}", measured, device)
            checkpoint = save_sound(dataclasses.replace(description, accuracy=tuple(records)), weights, part)
        else:
            print("There are no validation patients." if not split.measured else "Accuracy was not measured.")
    return dataclasses.replace(checkpoint, path=destination)


def who_is(case: str, recipe: Recipe, split: Split) -> str:
    """The part of the patients that a case is of, in words for the card."""
    if case in split.test:
        return "test images"
    if case not in split.monitoring:
        return "validation patients"
    if recipe.data.fold_of == LEAKING_SLICES:
        return "held-out slices of patients that also train, which says nothing about new patients"
    return "held-out fold of the training patients"


def measure_accuracy(
    checkpoint: Checkpoint, data: str, measured: Sequence[LabelledCase], device: str = "auto"
) -> list[AccuracyRecord]:
    """The accuracy of a checkpoint's file, printed on the way; ``data`` says of which patients."""
    description = checkpoint.description
    names = [labelled.id for labelled in measured]
    shown = _with_bar(measured, f"Measuring {description.id}")
    evidence = dict(zip(names, gather(checkpoint, shown, device=device), strict=True))
    bare = dataclasses.replace(description, postprocessing=PostprocessingSpec())
    tables = {
        "Dice": {name: {region: e.measured for region, e in one.items()} for name, one in evidence.items()},
        "Dice without post-processing": measure_dice(
            dataclasses.replace(checkpoint, description=bare), measured, device=device
        ),
    }
    step = description.training.steps
    print(f"Accuracy on {len(measured)} patients ({data}), state of step {step}:\n{format_tables(tables)}", flush=True)
    whole = AccuracyRecord(data, len(measured), "Dice", "brats2021", {})
    records = [dataclasses.replace(whole, measure=name, values=means(table)) for name, table in tables.items()]
    for subset in description.modality_subsets[1:]:
        if table := _measure_subset(checkpoint, measured, subset, device):
            few = dataclasses.replace(whole, cases=len(table))
            records.append(dataclasses.replace(few, values=means(table), modalities=subset))
    figures = {name: defined(values) for name, values in summary(list(evidence.values())).items()}
    left_out = dataclasses.replace(whole, convention="left out")
    return records + [dataclasses.replace(left_out, measure=name, values=v) for name, v in figures.items() if v]


def _measure_subset(
    checkpoint: Checkpoint, measured: Sequence[LabelledCase], subset: tuple[str, ...], device: str
) -> Table:
    """Case id → region → Dice of those patients that have these modalities, printed; empty where there is no figure."""
    name = " ".join(subset)
    try:
        table = measure_dice(checkpoint, measured, modalities=subset, device=device)
    except (GeometryError, InputError) as error:  # two sequences alone may show too little of one head
        print(f"{name}: not measured, since not all patients can be segmented: {error}", flush=True)
        return {}
    if not table:
        print(f"{name}: not measured, since no patient has all of them", flush=True)
        return {}
    values = "".join(f"  {region} {value:.4f}" for region, value in means(table).items())
    who = f"  ({len(table)} of {len(measured)} patients: {', '.join(table)})" if len(table) < len(measured) else ""
    print(f"{name:<20}{values}{who}", flush=True)
    return table


def save_sound(description: Description, weights: Mapping[str, torch.Tensor], destination: Path) -> Checkpoint:
    """Write a checkpoint and give it as loaded from there; a file that does not load never replaces one that does.

    Raises:
        CheckpointError: what was written does not load; what was there before is there still.
    """
    with atomic(destination) as part:
        save_checkpoint(description, weights, part)
        loaded = load_checkpoint(part)
        loaded.check()
    return dataclasses.replace(loaded, path=destination)


def commit() -> str:
    """Commit of this clone, empty outside one."""
    try:
        answer = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""
