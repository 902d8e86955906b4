"""``python -m Training.studies.compare RECIPE… -o DIR``: networks on one split with one budget, a table and figures.

Each recipe has its run in ``DIR/<recipe id>``, as Training.train makes it: a finished run is loaded, an interrupted one
goes on, so a comparison may be spread over as many sittings as it needs. Then all networks are measured on the
same patients through the engine, and ``comparison.csv``, ``comparison.md``, ``comparison_masks.png`` and
``comparison_curves.png`` appear in DIR together; with ``--brats-table`` also ``comparison_brats.csv``.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from BrainTumorSegLib.domain.errors import CancelledError, RequestError
from BrainTumorSegLib.io.staging import staged
from BrainTumorSegLib.models.checkpoint_file import load_checkpoint, read_description

from .. import train
from ..beginning import check_same_run
from ..command import exit_code
from ..datasets.split import FOLD, TEST, VALIDATION
from ..recipe import Recipe, load_recipe, recorded

if TYPE_CHECKING:
    from ..datasets.data_module import PatchData
    from .comparison_results import Network, Results, Row

TABLE, TEXT, MASKS, CURVES = "comparison.csv", "comparison.md", "comparison_masks.png", "comparison_curves.png"
PAPER = "comparison_brats.csv"

# Entries of the data that are words about them.
_WORDS = ("name", "licence")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m Training.studies.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("recipes", type=Path, nargs="+", metavar="RECIPE", help="TOML files, see Training/recipes")
    p.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs and of the comparison")
    p.add_argument("--data", help="folder of the data set (default: data.folder of the recipes)")
    p.add_argument("--cache", default="cache", help="folder for preprocessed cases")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    p.add_argument("--init", metavar="MODEL", help="checkpoint, by id or file, that every recipe starts from")
    p.add_argument("--encoder-weights", metavar="FILE", help="weights that the encoder of every recipe starts from")
    p.add_argument("--steps", type=int, help="the budget: steps of every network, instead of the recipes' number")
    p.add_argument(
        "--fold", type=int, help="hold out this fold of the training patients, instead of the recipes' (-1: none)"
    )
    p.add_argument(
        "--measure",
        choices=(VALIDATION, FOLD, TEST),
        default=VALIDATION,
        help="patients to measure on: the validation patients; to choose between variants, the held-out fold; or the"
        " data's test folder",
    )
    p.add_argument(
        "--brats-table",
        action="store_true",
        help="also the table of BraTS papers: sensitivity, specificity, HD95 and Dice",
    )
    p.add_argument("--only-load", action="store_true", help="train nothing: every run must be finished")
    return p


def study_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """The command line of another study of this folder, without its recipes."""
    p = argparse.ArgumentParser(
        prog=f"python -m Training.studies.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("-o", "--output", type=Path, required=True, help="folder of the runs and of the study")
    p.add_argument("--data", required=True, help="folder of the data set")
    p.add_argument("--cache", default="cache", help="folder for preprocessed cases")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    p.add_argument("--steps", type=int, help="the most steps of each run, instead of the recipe's number")
    p.add_argument("--only-load", action="store_true", help="train nothing: every run must be finished")
    return p


def as_comparison(
    arguments: argparse.Namespace, recipes: Sequence[Path], output: Path, *more: str
) -> argparse.Namespace:
    """What :func:`each_run` takes, of the arguments of another study; ``more`` are options."""
    given = [f"--{name}={getattr(arguments, name)}" for name in ("data", "cache", "device")]
    given += [f"--steps={arguments.steps}"] if arguments.steps is not None else []
    return parser().parse_args([*given, f"--output={output}", *more, "--", *map(str, recipes)])


@dataclass(frozen=True)
class Run:
    """One recipe of the comparison.

    Attributes:
        recipe: as the command line adapts it.
        arguments: for Training.train.
        folder: of the run.
    """

    recipe: Recipe
    arguments: argparse.Namespace
    folder: Path

    @property
    def exported(self) -> Path:
        """The checkpoint; there once the run is finished."""
        return self.folder / f"{self.recipe.id}.safetensors"


def requested(arguments: argparse.Namespace) -> list[Run]:
    """A run for each recipe, comparable with each other.

    Raises:
        RequestError: a recipe is wrong, two have one id, or they cannot be compared.
    """
    runs = each_run(arguments)
    check_comparable([run.recipe for run in runs])
    return runs


def each_run(arguments: argparse.Namespace) -> list[Run]:
    """A run for each recipe.

    Raises:
        RequestError: a recipe is wrong, or two have one id.
    """
    runs = []
    names = ("data", "cache", "device", "steps", "fold", "init", "encoder_weights")
    options = {name: getattr(arguments, name) for name in names}
    given = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if value is not None]
    for path in arguments.recipes:
        own = train.parser().parse_args([*given, "--measure=none", "--", str(path)])
        recipe = train.adapt(load_recipe(path), own)
        own.output = arguments.output / recipe.id
        runs.append(Run(recipe, own, own.output))
    twice = [name for name, count in Counter(run.recipe.id for run in runs).items() if count > 1]
    if twice:
        raise RequestError(f"Several recipes have the id {twice[0]}.", "Give each an id of its own.")
    return runs


def check_comparable(recipes: Sequence[Recipe]) -> None:
    """Only networks on the same data with the same budget tell something about networks.

    Raises:
        RequestError: names every entry in which the recipes differ and must not, with its values.
    """
    tables = {recipe.id: _shared(recipe) for recipe in recipes}
    differing = []
    for entry in next(iter(tables.values())):
        values = {name: table[entry] for name, table in tables.items()}
        if any(value != values[recipes[0].id] for value in values.values()):
            differing.append(f"{entry} ({', '.join(f'{name}: {value}' for name, value in values.items())})")
    if differing:
        raise RequestError(
            f"The recipes cannot be compared, they differ in {'; '.join(differing)}.",
            "Make them agree; --data, --fold and --steps hold for all.",
        )


def _shared(recipe: Recipe) -> dict[str, Any]:
    """What all recipes of a comparison must have in common: data, split, preprocessing, targets, monitoring, steps."""
    data = {f"data.{name}": v for name, v in dataclasses.asdict(recipe.data).items() if name not in _WORDS}
    preprocessing = {f"preprocessing.{name}": v for name, v in dataclasses.asdict(recipe.preprocessing).items()}
    own = {"modalities": recipe.modalities, "optional_modalities": recipe.optional_modalities}
    targets = {"outputs": [list(output.labels) for output in recipe.outputs]}
    targets |= {f"monitoring.{name}": value for name, value in dataclasses.asdict(recipe.monitoring).items()}
    return data | preprocessing | own | targets | {"optimisation.steps": recipe.optimisation.steps}


def is_finished(run: Run, data: PatchData) -> bool:
    """Whether the run has its checkpoint; an interrupted one is looked at, too, before others are trained.

    Raises:
        RequestError: what is there is of another recipe, other patients, another budget or other first weights.
    """
    from ..callbacks.states import LAST

    try:
        if run.exported.is_file():
            record = read_description(run.exported).training
            check_same_run(data.recipe, dataclasses.asdict(recorded(record)), data.split, record)
            return True
        if (run.folder / LAST).is_file():
            state = train.read_state(run.folder / LAST, data.recipe, data)
            check_same_run(data.recipe, state["recipe"])
    except RequestError as error:
        raise RequestError(f"{run.folder}: {error}", error.remedy) from error
    return False


def complete(runs: Sequence[Run], data: Mapping[str, PatchData], *, only_load: bool) -> None:
    """Train what is not finished.

    Raises:
        BrainTumorSegError: a run cannot be used, trained, or is missing where nothing may be trained.
    """
    from ..callbacks.states import LAST

    finished = {run.recipe.id: is_finished(run, data[run.recipe.id]) for run in runs}
    left = [run for run in runs if not finished[run.recipe.id]]
    if only_load and left:
        names = ", ".join(str(run.folder) for run in left)
        raise RequestError(f"There is no finished run in {names}.", "Leave --only-load out to train.")
    if left:
        _check(left, data[runs[0].recipe.id])
    for number, run in enumerate(runs, 1):
        known = " is finished" if finished[run.recipe.id] else ""
        print(f"[{number}/{len(runs)}] {run.recipe.id}{known}", flush=True)
        if not known:
            run.arguments.resume = (run.folder / LAST).is_file()
            _train(run.arguments)


def _check(runs: Sequence[Run], data: PatchData) -> None:
    """Whatever would end the comparison after hours of training ends it now."""
    from ..datasets.data_module import PatchData
    from ..module import SegmentationModule

    for run in runs:
        SegmentationModule(run.recipe)
    split = data.split
    # A run looks at no patient that it does not use; the comparison measures on them at the end.
    everyone = dataclasses.replace(split, training=split.training + split.monitoring, monitoring=())
    PatchData(data.recipe, data.data, everyone, runs[0].arguments.cache).prepare_data()


def _train(arguments: argparse.Namespace) -> None:
    try:
        train.run(arguments)
    except CancelledError as error:
        raise CancelledError(str(error), "Start the comparison again to go on.") from error


def load_networks(runs: Sequence[Run]) -> list[Network]:
    """The networks as exported, called by their titles, or ids where titles repeat.

    Raises:
        RequestError: a checkpoint is damaged, or its run's log missing.
    """
    from ..callbacks.interval_log import LOG
    from .comparison_results import Network, read_log

    names = short_names([run.recipe for run in runs])
    files = [(run.exported, run.folder / LOG) for run in runs]
    return [Network(name, load_checkpoint(f), read_log(log)) for name, (f, log) in zip(names, files, strict=True)]


def short_names(recipes: Sequence[Recipe]) -> list[str]:
    """The titles without the ending (after a comma) that all of them share; ids where titles repeat."""
    parts = [recipe.title.split(", ") for recipe in recipes]
    if len({recipe.title for recipe in recipes}) < len(recipes):
        return [recipe.id for recipe in recipes]
    while len(parts) > 1 and min(map(len, parts)) > 1 and len({part[-1] for part in parts}) == 1:
        parts = [part[:-1] for part in parts]
    return [", ".join(part) for part in parts]


def run(arguments: argparse.Namespace) -> int:
    """Train or load, measure, write.

    Raises:
        BrainTumorSegError: the request is wrong, or a training failed or was interrupted.
    """
    runs = requested(arguments)
    from BrainTumorSegLib.evaluation.tables import aligned

    from .comparison_results import markdown_lines, measure, outermost, table

    data = {run.recipe.id: train.load_data(run.recipe, run.arguments) for run in runs}
    first = data[runs[0].recipe.id]
    measured = first.split.part(arguments.measure)
    if not measured:
        what = {FOLD: "patients of a held-out fold", TEST: "images in a test folder"}
        raise RequestError(
            f"There are no {what.get(arguments.measure, 'validation patients')} to compare on.",
            "Name some in split.json, or give --fold 0.",
        )
    complete(runs, data, only_load=arguments.only_load)
    networks = load_networks(runs)
    cases = [first.cases[name] for name in measured]
    print(f"Measuring {len(networks)} networks on {len(cases)} patients", flush=True)
    results = measure(networks, cases, device=arguments.device, surfaces=arguments.brats_table)
    rows = table(networks, results)
    write(arguments.output, networks, results, rows, describe(runs, first, results, outermost(networks)))
    print(aligned(markdown_lines(rows)))
    written = (TABLE, TEXT, MASKS, CURVES, *[PAPER] * arguments.brats_table)
    print(f"Wrote {', '.join(str(arguments.output / name) for name in written)}", flush=True)
    return 0


def write(
    output: Path, networks: Sequence[Network], results: Results, rows: Sequence[Row], notes: Sequence[str]
) -> None:
    """Table and figures, all of them or none.

    Raises:
        OutputError: the folder cannot be written to.
    """
    from .comparison_figures import draw_curves, draw_masks
    from .comparison_results import (
        best_median_worst,
        csv_lines,
        markdown_lines,
        outermost,
        paper_lines,
        write_csv,
        write_markdown,
    )

    region = outermost(networks)
    tables = [markdown_lines(rows)]
    with staged() as staging:
        if results.surfaces:
            write_csv(paper_lines(networks, results), staging.path(output / PAPER))
            tables.append(paper_lines(networks, results, rounded=True))
        write_csv(csv_lines(rows), staging.path(output / TABLE))
        write_markdown(tables, notes, staging.path(output / TEXT))
        draw_masks(best_median_worst(results, region), networks, results, region, staging.path(output / MASKS))
        draw_curves(networks, staging.path(output / CURVES))


def describe(runs: Sequence[Run], data: PatchData, results: Results, region: str) -> list[str]:
    """What there is to know of the figures, a sentence or two each."""
    from .comparison_results import BRATS_SETTINGS, SETTINGS

    split, recipe = data.split, runs[0].recipe
    measured = {example.patient for example in results.examples}
    part = "validation patients" if measured == set(split.validation) else "the held-out fold"
    part = "test images" if measured == set(split.test) else part
    fold = f"fold {recipe.data.fold} of {recipe.data.folds} ({len(split.monitoring)} patients)"
    state = f"the state with the lowest loss on {fold}" if split.monitoring else "the last state"
    seen = "" if split.monitoring else " Curves of validation are of patches of patients that train, too."
    batches = _by_value(
        runs, lambda r: f"{r.sampling.batch} patches of {' × '.join(map(str, r.sampling.patch))} a step"
    )
    losses = _by_value(runs, lambda r: r.optimisation.loss)
    return [
        f"Trained on {len(split.training)} patients, measured on {len(measured)} ({part}) through the engine, on the"
        f" images' own grid. Of each run {state} is taken.{seen}",
        f"{_budget(runs)}, {batches}.",
        f"Loss: {losses}.{' Curves of different losses differ in height.' if ';' in losses else ''}",
        "Dice, IoU, sensitivity and specificity are of all of a patient that is annotated, then averaged over the"
        " patients; sd divides by n, quartiles interpolate linearly.",
        *(BRATS_SETTINGS if results.surfaces else SETTINGS).words(),
        "Seconds a slice: from images to label map, preparation included, median over the patients; all networks in"
        f" one run, taking turns ({results.device}).",
        f"The masks are of the patients with the highest, middle and lowest mean Dice of {region} over the networks,"
        " each in the slice with most tumour in the reference, which is outlined in magenta.",
        *(f"{note}." for note in data.data.notes),
    ]


def _budget(runs: Sequence[Run]) -> str:
    """How long the networks were trained; where a run may end early, when."""

    def ends(r: Recipe) -> str:
        o = r.optimisation
        if not o.patience:
            return "run to the end"
        return f"ended when the loss on the fold had not fallen for {o.patience} validations of {o.interval} steps each"

    steps = runs[0].recipe.optimisation.steps
    if not any(run.recipe.optimisation.patience for run in runs):
        return f"Budget: {steps} steps for all"
    return f"Budget: at most {steps} steps for all; {_by_value(runs, ends)}"


def _by_value(runs: Sequence[Run], value: Callable[[Recipe], str]) -> str:
    """What holds for all recipes, or each value with the ids that it holds for."""
    found: dict[str, list[str]] = {}
    for each in runs:
        found.setdefault(value(each.recipe), []).append(each.recipe.id)
    return "; ".join(f"{text} ({', '.join(ids)})" if len(found) > 1 else text for text, ids in found.items())


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return exit_code(lambda: run(parser().parse_args(argv)), "Start again to go on.")


if __name__ == "__main__":
    sys.exit(main())
