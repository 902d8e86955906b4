"""``python -m Training.train RECIPE.toml --data DIR``: train, resume, export.

On several processors: ``--devices N``, or ``torchrun --nproc-per-node N -m Training.train RECIPE.toml …`` (there
``--devices`` is left out). Every process draws ``batch`` patches a step, so the batch grows with their number.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from BrainTumorSegLib.domain.errors import CancelledError, RequestError
from BrainTumorSegLib.io.outputs import check_outputs

from .beginning import check_resumable, check_same_run, initialise
from .command import exit_code
from .datasets.split import FOLD, NONE, TEST, VALIDATION
from .recipe import LEAKING_SLICES, Recipe, load_recipe, recorded

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import Callback

    from .datasets.data_module import PatchData
    from .module import SegmentationModule

# What to do where nobody is in the part that is to be measured.
_NOBODY = {
    VALIDATION: "Name some in split.json, or leave --measure out.",
    FOLD: "Hold a fold out by --fold, or leave --measure out.",
    TEST: 'Name some as "test" in split.json, or leave --measure out.',
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m Training.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("recipe", type=Path, help="TOML file, see Training/recipes")
    p.add_argument("--data", type=Path, help="folder of the data set (default: data.folder of the recipe)")
    p.add_argument("-o", "--output", type=Path, help="folder of the run (default: runs/<recipe id>)")
    p.add_argument("--cache", type=Path, default=Path("cache"), help="folder for preprocessed cases")
    p.add_argument("--resume", action="store_true", help="go on from the run's last state")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    p.add_argument("--devices", type=int, default=1, help="processes, one a device")
    p.add_argument("--fold", type=int, help="hold out this fold of the training patients (-1: none)")
    p.add_argument("--patients", type=int, help="train on so many patients only, for a learning curve")
    p.add_argument("--steps", type=int, help="instead of the recipe's number of steps")
    p.add_argument("--init", metavar="MODEL", help="checkpoint, by id or file, that the run starts from")
    p.add_argument("--encoder-weights", type=Path, metavar="FILE", help="weights that the encoder starts from")
    p.add_argument("--fast-dev-run", action="store_true", help="two steps on few patients, to see that all works")
    p.add_argument(
        "--measure",
        choices=(VALIDATION, FOLD, TEST, NONE),
        help="patients that the exported accuracy is of (default: the held-out fold, or validation where none is)",
    )
    return p


def adapt(recipe: Recipe, arguments: argparse.Namespace) -> Recipe:
    """The recipe with what the command line changes."""
    optimisation, data = recipe.optimisation, recipe.data
    if arguments.steps is not None:
        interval = min(optimisation.interval, max(arguments.steps, 1))
        optimisation = dataclasses.replace(optimisation, steps=arguments.steps, interval=interval)
    if arguments.fast_dev_run:
        optimisation = dataclasses.replace(optimisation, steps=2, interval=1)
    if arguments.fold is not None:
        data = dataclasses.replace(data, fold=arguments.fold)
    if arguments.patients is not None:
        data = dataclasses.replace(data, training_patients=arguments.patients)
    if arguments.data is not None:
        data = dataclasses.replace(data, folder=str(arguments.data))
    weights = str(arguments.encoder_weights or recipe.encoder_weights)
    init = arguments.init or recipe.init
    return dataclasses.replace(recipe, optimisation=optimisation, data=data, init=init, encoder_weights=weights)


def run_folder(recipe: Recipe, arguments: argparse.Namespace) -> Path:
    """The folder of the run, with a state in it if and only if the run is resumed.

    Raises:
        RequestError: there is nothing to resume, or a run that would be overwritten.
    """
    from .callbacks.states import LAST

    folder: Path = arguments.output or Path("runs") / recipe.id
    if arguments.fast_dev_run:
        if arguments.resume:
            raise RequestError("--fast-dev-run cannot be resumed.", "Leave --resume out.")
        folder = folder / "fast-dev-run"
        if int(os.environ.get("LOCAL_RANK", 0)) == 0:
            shutil.rmtree(folder, ignore_errors=True)
    check_resumable(folder, folder / LAST, resume=arguments.resume)
    for leftover in folder.glob(".*.part-*"):  # of a run that was killed while it saved
        leftover.unlink(missing_ok=True)
    return folder


def load_data(recipe: Recipe, arguments: argparse.Namespace) -> PatchData:
    """Find the patients and their parts.

    Raises:
        RequestError: there are none, or none of those to be measured, or the split is wrong.
    """
    from .datasets.data_module import PatchData, parts
    from .datasets.kinds import find_data

    if not recipe.data.folder:
        raise RequestError("It is not said where the data lie.", "Give --data DIR, or data.folder in the recipe.")
    folder = Path(recipe.data.folder)
    d = recipe.data
    found = find_data(recipe, folder)
    found, split = parts(recipe, folder, found)
    if found.labels:  # the recipe that the checkpoint records says how they were read
        print(f"Label maps are read as {found.labels}{' (assumed)' * (d.labels == 'auto')}.", flush=True)
        d = dataclasses.replace(d, labels=found.labels)
    # The card has the notes too.
    recipe = dataclasses.replace(recipe, data=dataclasses.replace(d, name="; ".join([d.name, *found.notes])))
    if arguments.fast_dev_run:
        split = split.first(2)
    measured = split.part(arguments.measure) if arguments.measure else None
    if arguments.measure in _NOBODY and not measured:  # said when the run is over, it would have cost the run
        raise RequestError(f"There are no {arguments.measure} patients to measure on.", _NOBODY[arguments.measure])
    return PatchData(recipe, found, split, arguments.cache, measured)


def create_trainer(recipe: Recipe, folder: Path, arguments: argparse.Namespace, resumed_at: int | None) -> Trainer:
    """Lightning's trainer with its loggers and callbacks; an epoch is one validation interval."""
    from lightning.pytorch import Trainer
    from lightning.pytorch.loggers import TensorBoardLogger

    from BrainTumorSegLib.inference.backends.torch_backend import resolve_device
    from BrainTumorSegLib.networks.precision import resolve_precision

    from .callbacks.states import AtomicCheckpointIO

    o = recipe.optimisation
    target = resolve_device(arguments.device)
    precision: Any = o.precision
    if precision == "auto":
        precision = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[resolve_precision(target)]
    devices, nodes = _processes(arguments.devices)
    # TensorBoard hides the points that are made again.
    purge: dict[str, Any] = {} if resumed_at is None else {"purge_step": resumed_at + 1}
    return Trainer(
        accelerator={"cuda": "gpu"}.get(target.type, target.type),
        devices=devices if target.index is None else [target.index],
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        precision=precision,
        benchmark=True,  # patches are of one size
        max_epochs=recipe.epochs,
        gradient_clip_val=o.clip or None,
        callbacks=_callbacks(recipe, folder),
        plugins=[AtomicCheckpointIO()],
        logger=TensorBoardLogger(folder, "", "tensorboard", **purge),
        default_root_dir=folder,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_model_summary=False,
        enable_progress_bar=sys.stdout.isatty(),
    )


def _callbacks(recipe: Recipe, folder: Path) -> list[Callback]:
    """What watches a run: logs, pictures, states to resume from, the average of the weights, early stopping."""
    from lightning.pytorch.callbacks import WeightAveraging

    from .callbacks.interrupts import RandomState, Stoppable
    from .callbacks.interval_log import IntervalLog
    from .callbacks.slice_images import SliceImages
    from .callbacks.states import EarlyStopping, Keeper
    from .module import MONITOR
    from .schedule import MovingAverage

    o = recipe.optimisation
    keeper = Keeper(folder, best=recipe.data.fold >= 0)
    found: list[Callback] = [IntervalLog(folder), SliceImages(folder, recipe), RandomState(), Stoppable(), keeper]
    if o.ema > 0:
        found.append(WeightAveraging(avg_fn=MovingAverage(o.ema)))
    if o.patience > 0:
        found.append(EarlyStopping(MONITOR, patience=o.patience))
    return found


def _processes(devices: int) -> tuple[int, int]:
    """Processes of this machine, and machines; torchrun says both itself."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return devices, 1
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    return here, int(os.environ["WORLD_SIZE"]) // here


def starting_point(recipe: Recipe, arguments: argparse.Namespace) -> str:
    """The checkpoint that ``init`` stands for; where it is another recipe's, that is run first, if it is not over.

    It is run like this one, in a folder beside this one's; what lies there must be of such a run.

    Raises:
        BrainTumorSegError: it cannot be run, or not in several processes, or what lies there is of another run.
    """
    if not recipe.init.endswith(".toml"):
        return recipe.init
    from .callbacks.states import LAST

    earlier = load_recipe(recipe.init)
    folder = (arguments.output or Path("runs") / recipe.id).parent / earlier.id
    result = folder / ("fast-dev-run" if arguments.fast_dev_run else "") / f"{earlier.id}.safetensors"
    changed = {"recipe": Path(recipe.init), "output": folder, "resume": False, "measure": NONE, "init": None}
    of_it = argparse.Namespace(**vars(arguments) | changed)
    if result.is_file():
        _check_earlier(result, adapt(earlier, of_it), of_it)
        return str(result)
    if earlier.id == recipe.id:
        raise RequestError(f"Recipe {recipe.id} begins with itself.", "Mend init.")
    if arguments.devices > 1 or "LOCAL_RANK" in os.environ:
        raise RequestError(
            f"{recipe.id} goes on from {earlier.id}, and {result} is not there.", f"Train {recipe.init} first."
        )
    print(f"First {earlier.id}, which {recipe.id} goes on from.", flush=True)
    of_it.resume = (folder / LAST).is_file() and not arguments.fast_dev_run
    run(of_it)
    return str(result)


def _check_earlier(result: Path, recipe: Recipe, arguments: argparse.Namespace) -> None:
    """Whether a checkpoint that is there is what its recipe would make now, held-out fold and patients included.

    Raises:
        RequestError: it is not: a state could be chosen on patients that it was trained on.
    """
    from BrainTumorSegLib.models.checkpoint_file import read_description

    data = load_data(recipe, arguments)
    try:
        record = read_description(result).training
        check_same_run(data.recipe, dataclasses.asdict(recorded(record)), data.split, record)
    except RequestError as error:
        raise RequestError(
            f"{result} cannot be gone on from: {error}",
            "Choose another -o folder to train it anew, or name this file in init to go on from it all the same.",
        ) from error


def read_state(file: Path, recipe: Recipe, data: PatchData) -> dict[str, Any]:
    """The state to resume from.

    Raises:
        RequestError: it is damaged, or of a run with another recipe or other patients.
    """
    import torch

    try:
        state = torch.load(file, map_location="cpu", weights_only=False)  # our own file
        recipe_then, split_then = state["recipe"], state["PatchData"]["split"]
    except Exception as error:  # unpickling raises anything
        raise RequestError(f"{file} is damaged or of another program ({error}).", "Begin a new run.") from error
    changed = recipe.changed_since(recipe_then)
    if changed:
        what = ", ".join(changed)
        raise RequestError(f"The run began with another {what}.", "Restore the recipe, or choose another -o.")
    split_now = dataclasses.asdict(data.split)
    if any(split_then[part] != split_now[part] for part in ("training", "monitoring", "validation")):
        raise RequestError("The run began with other patients.", "Restore data and split.json, or choose another -o.")
    return state


def is_over(state: dict[str, Any], recipe: Recipe) -> bool:
    """Whether all steps are done, or early stopping has ended the run."""
    patience = recipe.optimisation.patience
    waited = max((s.get("wait_count", 0) for s in state["callbacks"].values()), default=0)
    return state["global_step"] >= recipe.optimisation.steps or 0 < patience <= waited


def run(arguments: argparse.Namespace) -> int:
    """Train and export.

    Raises:
        BrainTumorSegError: the request is wrong, training diverged or was interrupted.
    """
    recipe = adapt(load_recipe(arguments.recipe), arguments)
    import torch
    from lightning.pytorch import seed_everything

    _quieten()  # importing Lightning sets its level anew

    from .callbacks.states import BEST, LAST
    from .export import export
    from .module import SegmentationModule
    from .pretrained import load_encoder, some

    folder = run_folder(recipe, arguments)
    destination = folder / f"{recipe.id}.safetensors"
    check_outputs([destination], [recipe.init] if recipe.init else [])
    data = load_data(recipe, arguments)
    recipe = data.recipe
    # Before the seed is set, since another recipe's run draws from it.
    source = recipe.init if arguments.resume else starting_point(recipe, arguments)
    seed_everything(recipe.seed, verbose=False)
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")
    module = SegmentationModule(recipe)
    state = read_state(folder / LAST, recipe, data) if arguments.resume else None
    if state is not None:
        data.before = tuple(state["PatchData"].get("before", ()))
    elif source:
        initialise(module, source, data)
    if recipe.encoder_weights and state is None:
        left_out = load_encoder(module.network, Path(recipe.encoder_weights))
        unused = f", without {some(left_out)}" if left_out else ""
        print(f"The encoder begins from {recipe.encoder_weights}{unused}.", flush=True)
    if "LOCAL_RANK" not in os.environ:  # so bad data end the run before other processes are started
        data.prepare_data()
    trainer = create_trainer(recipe, folder, arguments, state["global_step"] if state else None)
    if trainer.is_global_zero:
        print(_overview(data, state), flush=True)
    if state is None or not is_over(state, recipe):
        fit(trainer, module, data, folder / LAST, resume=state is not None)
        torch.backends.cudnn.benchmark = False  # the images that are measured are of many sizes
    if trainer.is_global_zero:
        chosen = folder / (BEST if recipe.data.fold >= 0 else LAST)
        measured = [data.cases[name] for name in data.measured]
        export(chosen, recipe, data.split, measured, destination, arguments.device, before=data.before)
        print(f"Wrote {destination}", flush=True)
    return 0


def fit(trainer: Trainer, module: SegmentationModule, data: PatchData, last: Path, *, resume: bool) -> None:
    """Train.

    Raises:
        CancelledError: interrupted; the last state is kept.
    """
    try:
        trainer.fit(module, datamodule=data, ckpt_path=last if resume else None, weights_only=False)
    except SystemExit as stop:  # how Lightning ends on Ctrl-C and SIGTERM
        if not trainer.interrupted:
            raise
        kept = f"Go on with --resume from {last}." if last.is_file() else "Nothing was kept yet."
        raise CancelledError(f"Interrupted at step {trainer.global_step}.", kept) from stop


def _overview(data: PatchData, state: dict[str, Any] | None) -> str:
    """What the run is about, in two lines, and what there is to know of the data."""
    split = data.split
    begin = f"Resuming at step {state['global_step']}" if state else "Training"
    r = data.recipe
    monitored = "of the held-out fold" if split.monitoring else "that also train, so they do not show accuracy"
    if r.data.fold_of == LEAKING_SLICES:
        monitored = "that also train, on other slices: not a figure of new patients"
    notes = "".join(f"Note: {note}.\n" for note in data.data.notes)
    shown = "all slices" if r.monitoring.whole_slices else "patches"
    return (
        f"{notes}{begin}: {len(split.training)} patients train, {len(split.validation)} validate at the end.\n"
        f"Validation loss and Dice below are on {shown} of {len(data.monitored)} patients {monitored}."
    )


def _quieten() -> None:
    """Silence what says nothing about this run."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for harmless in (
        "does not have many workers",  # as many as the recipe says
        r"isinstance\(treespec, LeafSpec\)",  # between Lightning and torch
        "all_gather is deprecated",  # so is this one
        "in eval mode at the start of training",  # as hold_statistics asks
    ):
        warnings.filterwarnings("ignore", message=f".*{harmless}.*")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return exit_code(lambda: run(parser().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
