"""``python -m Training.train RECIPE.toml --data DIR``: train, resume, export."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import Callback, EarlyStopping, EMAWeightAveraging, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from BrainTumorSegLib.catalogue import resolve
from BrainTumorSegLib.checkpoint import load_checkpoint
from BrainTumorSegLib.errors import BrainTumorSegError, CheckpointError, RequestError
from BrainTumorSegLib.inference.device import resolve_device, resolve_precision

from .callbacks import Curves, RandomState
from .data import BratsData
from .export import export
from .module import MONITOR, SegmentationModule
from .recipe import Recipe, load_recipe


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m Training.train", description=__doc__)
    p.add_argument("recipe", type=Path, help="TOML file, see Training/recipes")
    p.add_argument("--data", type=Path, required=True, help="folder of the data set")
    p.add_argument("-o", "--output", type=Path, help="folder of the run (default: runs/<recipe id>)")
    p.add_argument("--cache", type=Path, default=Path("cache"), help="folder for preprocessed cases")
    p.add_argument("--resume", action="store_true", help="go on from the run's last state")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    p.add_argument("--devices", type=int, default=1, help="processes, one a device")
    p.add_argument("--fold", type=int, help="hold out this fold of the training patients")
    p.add_argument("--steps", type=int, help="instead of the recipe's number of steps")
    p.add_argument("--fast-dev-run", action="store_true", help="two steps and an export, to see that all works")
    p.add_argument("--no-measure", action="store_true", help="export without measuring accuracy")
    return p


def adapt(recipe: Recipe, arguments: argparse.Namespace) -> Recipe:
    """The recipe with what the command line changes."""
    optimisation, data = recipe.optimisation, recipe.data
    if arguments.steps:
        interval = min(optimisation.interval, arguments.steps)
        optimisation = dataclasses.replace(optimisation, steps=arguments.steps, interval=interval)
    if arguments.fast_dev_run:
        optimisation = dataclasses.replace(optimisation, steps=2, interval=1)
    if arguments.fold is not None:
        data = dataclasses.replace(data, fold=arguments.fold)
    return dataclasses.replace(recipe, optimisation=optimisation, data=data)


def create_trainer(recipe: Recipe, folder: Path, device: str, devices: int) -> tuple[Trainer, ModelCheckpoint]:
    """Lightning's trainer with its loggers and callbacks; an epoch is one validation interval."""
    o = recipe.optimisation
    target = resolve_device(device)
    precision: Any = o.precision
    if precision == "auto":
        chosen = resolve_precision(target)
        precision = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[chosen]
    keeper = ModelCheckpoint(folder, "best", monitor=MONITOR, save_last=True, enable_version_counter=False)
    callbacks: list[Callback] = [keeper, LearningRateMonitor("step"), RandomState(), Curves(folder)]
    if o.ema > 0:
        callbacks.append(EMAWeightAveraging(decay=o.ema))
    if o.patience > 0:
        callbacks.append(EarlyStopping(MONITOR, patience=o.patience))
    return Trainer(
        accelerator={"cuda": "gpu"}.get(target.type, target.type),
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision=precision,
        max_epochs=recipe.epochs,
        max_steps=o.steps,
        gradient_clip_val=o.clip or None,
        callbacks=callbacks,
        logger=[CSVLogger(folder, "", ""), TensorBoardLogger(folder, "", "tensorboard")],
        default_root_dir=folder,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        log_every_n_steps=min(10, o.interval),
    ), keeper  # fmt: skip


def initialise(module: SegmentationModule, source: str) -> None:
    """Start from the weights of a checkpoint.

    Raises:
        CheckpointError: it is of another network.
    """
    weights = {name: tensor.float() for name, tensor in load_checkpoint(resolve(source)).weights.items()}
    try:
        module.network.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(f"The weights of {source} do not fit the recipe's network.", "Mend init or network.") from error


def run(arguments: argparse.Namespace) -> int:
    """Train and export."""
    recipe = adapt(load_recipe(arguments.recipe), arguments)
    folder: Path = arguments.output or Path("runs") / recipe.id
    last = folder / "last.ckpt"
    if arguments.resume and not last.is_file():
        raise RequestError(f"There is nothing to resume in {folder}.", "Leave --resume out to begin.")
    if not arguments.resume and last.is_file():
        raise RequestError(f"{folder} holds a run already.", "Add --resume to go on, or choose another -o folder.")
    data = BratsData(recipe, arguments.data, arguments.cache)
    seed_everything(recipe.seed, verbose=False)
    torch.set_float32_matmul_precision("high")
    module = SegmentationModule(recipe)
    if recipe.init and not arguments.resume:
        initialise(module, recipe.init)
    trainer, keeper = create_trainer(recipe, folder, arguments.device, arguments.devices)
    trainer.fit(module, datamodule=data, ckpt_path=last if arguments.resume else None, weights_only=False)
    if trainer.interrupted:
        return 130
    if trainer.is_global_zero:
        state = Path(keeper.best_model_path) if recipe.data.fold >= 0 else last
        destination = folder / f"{recipe.id}.safetensors"
        measure = not (arguments.no_measure or arguments.fast_dev_run)
        export(state, recipe, data.split, data.cases, destination, device=arguments.device, measure=measure)
        print(f"Wrote {destination}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    try:
        return run(parser().parse_args(argv))
    except BrainTumorSegError as error:
        print(f"error: {error.sentence()}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
