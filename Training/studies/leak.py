"""``python -m Training.studies.leak --data LGG_FOLDER -o DIR``: what a split that lets patients leak is worth.

One network is trained twice: its held-out fold is of patients, or of slices of the patients that train, as in published
systems that split slices at random. Both runs leave the validation patients alone, so there both can be measured, by
the figures of whole batches that such systems print, and patient by patient. A finished run is loaded, an interrupted
one goes on. ``leak.csv``, ``leak.md``, ``leak_masks.png`` and ``leak_curves.png`` appear in DIR together.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.io.staging import staged

from .. import train
from ..command import exit_code
from ..recipe import LEAKING_SLICES, PATIENTS
from .compare import Run, as_comparison, check_comparable, complete, each_run, load_networks, study_parser

if TYPE_CHECKING:
    from ..datasets.data_module import PatchData
    from .comparison_results import Network, Results

TABLE, TEXT, MASKS, CURVES = "leak.csv", "leak.md", "leak_masks.png", "leak_curves.png"
RECIPES = Path(__file__).parents[1] / "recipes"

# Where a run is measured, in words; the last one is of new patients, each as a whole.
TRAINED, HELD_OUT, NEW, WHOLE = "training batches", "held-out fold, batches", "new patients, batches", "new patients"
_SPLITS = {PATIENTS: "by patient", LEAKING_SLICES: "slices at random"}
_CURVES = ("step", "seconds", "learning_rate", "training_loss", "validation_loss", "validation_batch_dice",
           "validation_batch_iou", "validation_batch_accuracy")  # fmt: skip


@dataclass(frozen=True)
class Figures:
    """One row: what a run reaches somewhere.

    Attributes:
        id: of the recipe.
        split: what its fold is made of, in words.
        place: one of :data:`TRAINED`, :data:`HELD_OUT`, :data:`NEW` and :data:`WHOLE`.
        dice, iou: of batches, soft; of whole patients, the means over them.
        accuracy: share of pixels that are right.
        step: of the state that is measured.
        steps, seconds: of the whole training.
    """

    id: str
    split: str
    place: str
    dice: float
    iou: float
    accuracy: float
    step: int
    steps: int
    seconds: float


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = study_parser("leak", __doc__)
    p.add_argument(
        "recipes",
        type=Path,
        nargs="*",
        metavar="RECIPE",
        default=[RECIPES / "lgg_unet_dice.toml", RECIPES / "lgg_unet_dice_slices.toml"],
        help="split by patient and by slice (default: lgg_unet_dice and lgg_unet_dice_slices)",
    )
    return p


def requested(arguments: argparse.Namespace) -> list[Run]:
    """The two runs, that by patient first.

    Raises:
        RequestError: they are not two, differ in more than the split, or do not log what is compared.
    """
    runs = each_run(as_comparison(arguments, arguments.recipes, arguments.output))
    runs.sort(key=lambda run: run.recipe.data.fold_of == LEAKING_SLICES)
    if [run.recipe.data.fold_of for run in runs] != [PATIENTS, LEAKING_SLICES]:
        raise RequestError(
            "A fold of patients and one of slices are compared.", "Give two recipes that differ in data.fold_of."
        )
    alike = [dataclasses.replace(run.recipe.data, fold_of=PATIENTS) for run in runs]
    check_comparable([dataclasses.replace(run.recipe, data=d) for run, d in zip(runs, alike, strict=True)])
    for run in runs:
        if run.recipe.data.fold < 0 or not run.recipe.monitoring.batch_measures:
            raise RequestError(f"Recipe {run.recipe.id} logs no figures of batches on a fold.", "Set data.fold and"
                               " monitoring.batch_measures.")  # fmt: skip
    return runs


def logged(run: Run, network: Network) -> list[Figures]:
    """What a run reached on its own batches and on its fold, at the step whose state was exported.

    Raises:
        RequestError: its log has no such step.
    """
    step = network.checkpoint.description.training.steps
    row = next((row for row in network.log if row["step"] == step), None)
    if row is None:
        raise RequestError(f"The log in {run.folder} has no step {step}.", "It belongs to the run; train again.")
    return [
        _figures(run, network, place, *(row[f"{part}_batch_{name}"] for name in ("dice", "iou", "accuracy")))
        for part, place in (("training", TRAINED), ("validation", HELD_OUT))
    ]


def _figures(run: Run, network: Network, place: str, dice: float, iou: float, accuracy: float) -> Figures:
    last = network.log[-1]
    step, steps = network.checkpoint.description.training.steps, int(last["step"])
    split = _SPLITS[run.recipe.data.fold_of]
    return Figures(network.id, split, place, dice, iou, accuracy, step, steps, last["seconds"])


def on_new_patients(network: Network, data: PatchData) -> dict[str, float]:
    """The figures of batches over all slices of the validation patients, on the CPU."""
    import torch
    from torch.utils.data import DataLoader

    from ..batch_measures import NAMES, batch_measures
    from ..datasets.data_module import whole_slices

    slices = whole_slices(data.recipe, data.cached(data.split.validation))
    model = network.checkpoint.build().eval()
    found: list[dict[str, torch.Tensor]] = []
    with torch.inference_mode():
        for batch in DataLoader(slices, batch_size=data.recipe.sampling.batch):
            found.append(batch_measures(model(batch["image"]), batch["target"]))
    return {name: float(torch.stack([each[name] for each in found]).mean()) for name in NAMES}


def as_whole(run: Run, network: Network, results: Results) -> Figures:
    """Means over the patients; accuracy is left out, since nearly all voxels are air."""
    from .comparison_results import outermost

    patients = [each[outermost([network])] for each in results.measures[network.id].values()]
    dice, iou = (sum(each[name] for each in patients) / len(patients) for name in ("dice", "iou"))
    return _figures(run, network, WHOLE, dice, iou, float("nan"))


def run(arguments: argparse.Namespace) -> int:
    """Train or load both, measure, write.

    Raises:
        BrainTumorSegError: the request is wrong, or a training failed or was interrupted.
    """
    runs = requested(arguments)
    from .comparison_results import measure

    data = [train.load_data(run.recipe, run.arguments) for run in runs]
    validation = data[0].split.validation
    if not validation:
        raise RequestError("There are no validation patients, who are new to both.", "Name some in split.json.")
    for one, its_data in zip(runs, data, strict=True):
        complete([one], {one.recipe.id: its_data}, only_load=arguments.only_load)
    networks = load_networks(runs)
    results = measure(networks, [data[0].cases[name] for name in validation], device=arguments.device)
    rows: list[Figures] = []
    for one, network, its_data in zip(runs, networks, data, strict=True):
        found = on_new_patients(network, its_data)
        rows += [*logged(one, network), _figures(one, network, NEW, *found.values()), as_whole(one, network, results)]
    write(arguments.output, networks, results, rows, data)
    print((arguments.output / TEXT).read_text(encoding="utf-8"))
    return 0


def write(
    output: Path, networks: Sequence[Network], results: Results, rows: Sequence[Figures], data: Sequence[PatchData]
) -> None:
    """Table, page and pictures, all of them or none.

    Raises:
        OutputError: the folder cannot be written to.
    """
    from BrainTumorSegLib.evaluation.tables import markdown

    from .comparison_figures import draw_curves, draw_masks
    from .comparison_results import best_median_worst, outermost, write_csv

    names = [field.name for field in dataclasses.fields(Figures)]
    values = [[v if isinstance(v, str) else f"{v:.8g}" for v in dataclasses.astuple(row)] for row in rows]
    shown = [dataclasses.replace(n, log=tuple({k: r[k] for k in _CURVES if k in r} for r in n.log)) for n in networks]
    region = outermost(networks)
    with staged() as staging:
        write_csv([names, *values], staging.path(output / TABLE))
        text = f"# What the leak is worth\n\n{words(rows)}\n\n{markdown(lines(rows))}\n{notes(rows, data)}"
        staging.path(output / TEXT).write_text(text, encoding="utf-8")
        draw_masks(best_median_worst(results, region), networks, results, region, staging.path(output / MASKS))
        draw_curves(shown, staging.path(output / CURVES))


def lines(rows: Sequence[Figures]) -> list[list[str]]:
    """For people: rounded."""
    head = ["split", "measured on", "Dice", "IoU", "accuracy"]
    return [head, *([r.split, r.place, *(_rounded(r, n) for n in ("dice", "iou", "accuracy"))] for r in rows)]


def _rounded(row: Figures, name: str) -> str:
    value = getattr(row, name)
    return "–" if value != value else f"{value:.4f}"


def words(rows: Sequence[Figures]) -> str:
    """What the figures say."""
    said = []
    for split in dict.fromkeys(row.split for row in rows):
        at = {row.place: row.dice for row in rows if row.split == split}
        lost = at[HELD_OUT] - at[NEW]
        than = f"{abs(lost):.3f} {'less' if lost > 0 else 'more'}"
        said.append(
            f"Split {split}, the held-out fold promises a Dice of {at[HELD_OUT]:.3f}. On patients that the network has"
            f" never seen the same figure is {at[NEW]:.3f}, which is {than}, and the mean over whole patients"
            f" {at[WHOLE]:.3f}."
        )
    return "\n\n".join(said)


def notes(rows: Sequence[Figures], data: Sequence[PatchData]) -> str:
    """What there is to know of the figures, a sentence or two each."""
    split, recipe = data[0].split, data[0].recipe
    o = recipe.optimisation
    trained = "; ".join(f"{r.split}: {r.steps} steps, the state of step {r.step}, {r.seconds / 60:.0f} minutes"
                        for r in rows if r.place == WHOLE)  # fmt: skip
    said = [
        f"One network and budget ({o.steps} steps at most, {recipe.sampling.batch} slices a step, ended after"
        f" {o.patience} validations without a lower loss); {len(split.validation)} new patients train and choose"
        " nothing in both.",
        f"Held out is one of {recipe.data.folds} parts: {len(split.monitoring)} patients, or that share of the slices"
        f" of each of the {len(data[1].split.training)} that train.",
        "Batches: soft Dice and IoU over all pixels of a batch of whole slices from many patients, 1 added above and"
        " below, then the mean over the batches. New patients: Dice and IoU of each whole volume through the engine,"
        " then the mean; on them all slices count, where training patients may come with some of the empty ones left"
        " out.",
        f"Trained: {trained}.",
    ]
    return "".join(f"- {sentence}\n" for sentence in said)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return exit_code(lambda: run(parser().parse_args(argv)), "Start again to go on.")


if __name__ == "__main__":
    sys.exit(main())
