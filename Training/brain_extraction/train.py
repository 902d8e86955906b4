"""``python -m Training.brain_extraction.train --data DIR --masks DIR``: train the included brain extraction, export it.

``--data`` holds the folders ``lgg``, ``heads`` and ``brats``; ``--masks`` the masks of the first two, which
``python -m Training.brain_extraction.teacher`` makes with HD-BET.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.io.staging import atomic
from BrainTumorSegLib.models.checkpoint_file import load_checkpoint
from BrainTumorSegLib.networks import create_network
from BrainTumorSegLib.networks.precision import autocast, resolve_precision
from BrainTumorSegLib.preprocessing.brain_extraction.included import THRESHOLD, brain_probability, one_piece

from ..beginning import check_resumable
from ..command import exit_code
from ..datasets.split import Split, read_split
from ..schedule import averaging_decay, learning_rate_factor
from .export import export
from .heads import Head, head_masks, keep, kept, lgg_heads, lgg_masks, place, stripped_brains, whole_heads
from .recipe import RECIPE, BrainRecipe, load_recipe
from .synthesis import sample, sample_without
from .widening import widened

LAST = "last.pt"
# Of the LGG training patients one in nine is held out to choose by; the 18 validation patients choose nothing.
_FOLDS = 9


@dataclass(frozen=True)
class Material:
    """Heads by source that train, and by source that monitor the run."""

    training: Mapping[str, Sequence[Head]]
    monitoring: Mapping[str, Sequence[Head]]
    split: Split


class Samples(Dataset[tuple[torch.Tensor, ...]]):
    """Sample ``i`` is a function of the seed and ``i`` alone."""

    def __init__(self, recipe: BrainRecipe, material: Material, numbers: range) -> None:
        self._recipe, self._material, self._numbers = recipe, material, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        """Image, brain and what is known, each ``(1, Z, Y, X)``."""
        torch.set_num_threads(1)
        r = self._recipe
        rng = np.random.default_rng([r.seed, self._numbers[index]])
        source = str(rng.choice([*r.shares], p=np.array([*r.shares.values()]) / sum(r.shares.values())))
        if source == "none":
            return sample_without(rng, r.patch)
        heads = self._material.training[source]
        return sample(rng, heads[int(rng.integers(len(heads)))], r.patch, r.wild, r.lesions)


def load_material(recipe: BrainRecipe, data: Path, masks: Path, cache: Path) -> Material:
    """Prepare what is not yet in the cache, and read it."""
    names = sorted(folder.name for folder in (data / "lgg" / "kaggle_3m").iterdir() if folder.is_dir())
    split = read_split(data / "lgg", names, folds=_FOLDS, fold=0)
    people = {folder.name for folder in (data / "heads").iterdir() if folder.is_dir()} - set(recipe.never)
    held_out = tuple(sorted(people & set(recipe.held_out_heads)))
    others = tuple(sorted(people - {*held_out}))
    brats = json.loads((data / "brats" / "split.json").read_text(encoding="utf-8"))["train"]
    brats = tuple(name for name in sorted(brats) if name.startswith(recipe.brats))
    sources: dict[str, tuple[Path, Iterator[Head]]] = {}  # where they are kept, and how they are made
    for name, chosen in (("lgg", split.training), ("lgg-held-out", split.monitoring)):
        folder = place(cache, name, chosen, lgg_masks(masks / "lgg", chosen))
        sources[name] = folder, lgg_heads(data / "lgg", masks / "lgg", chosen)
    for name, chosen in (("heads", others), ("heads-held-out", held_out)):
        folder = place(cache, name, chosen, head_masks(masks, chosen))
        sources[name] = folder, whole_heads(data / "heads", masks, chosen)
    sources["brats"] = place(cache, "brats", brats), stripped_brains(data / "brats", brats)
    found: dict[str, list[Head]] = {}
    for name, (folder, heads) in sources.items():
        keep(heads, folder)
        found[name] = kept(folder)
        print(f"{name}: {len(found[name])} heads of {len({head.person for head in found[name]})} people", flush=True)
    monitoring = {name: found.pop(f"{name}-held-out") for name in ("lgg", "heads")}
    return Material(found, monitoring, split)


def brain_loss(logits: torch.Tensor, brain: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Soft Dice and binary cross-entropy where the brain is known, equal weight; targets are shares of voxels."""
    logits = logits.float()
    entropy = (functional.binary_cross_entropy_with_logits(logits, brain, reduction="none") * known).sum() / known.sum()
    p, t = torch.sigmoid(logits) * known, brain * known
    return entropy + 1 - (2 * (p * t).sum() + 100) / ((p * p).sum() + (t * t).sum() + 100)


def dice(network: nn.Module, heads: Sequence[Head]) -> list[float]:
    """Dice of each image of some heads with its mask on the network's grid, where it is known."""
    found = []
    for head in heads:
        for image in head.images:
            mask = one_piece(brain_probability(network, image.astype(np.float32) / 255, 16)) >= THRESHOLD
            brain = (head.brain > 127) & head.known
            mask &= head.known
            found.append(2 * float((mask & brain).sum()) / max(float(mask.sum() + brain.sum()), 1))
    return found


class Run:
    """The state of a run: network, its average, optimiser and the number of steps."""

    def __init__(self, recipe: BrainRecipe) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        spec = recipe.network
        self.network = create_network(
            spec.family, dimensions=3, in_channels=1, out_channels=1, arguments=spec.arguments
        )
        for parameter in self.network.parameters():  # twice as fast
            if parameter.ndim == 5:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last_3d)
        self.average = copy.deepcopy(self.network).eval()
        o = recipe.optimisation
        self.optimiser = torch.optim.AdamW(self.network.parameters(), o.learning_rate, weight_decay=o.weight_decay)
        self.step = 0
        self.precision = resolve_precision(torch.device("cpu"))

    def learn(self, image: torch.Tensor, brain: torch.Tensor, known: torch.Tensor) -> float:
        """One step; returns its loss."""
        o = self.recipe.optimisation
        for group in self.optimiser.param_groups:
            group["lr"] = o.learning_rate * learning_rate_factor(self.step, o)
        with autocast(torch.device("cpu"), self.precision):
            logits = self.network(image.contiguous(memory_format=torch.channels_last_3d))
        loss = brain_loss(logits, brain, known)
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), o.clip)
        self.optimiser.step()
        self.step += 1
        decay = averaging_decay(self.step, o.ema)
        with torch.no_grad():
            for kept_weight, weight in zip(self.average.parameters(), self.network.parameters(), strict=True):
                kept_weight.lerp_(weight, 1 - decay)
        return float(loss.detach())

    def begin_from(self, file: Path) -> None:
        """Take the weights of a checkpoint of the same form, which may be narrower.

        Raises:
            CheckpointError: it cannot be read, or its network is another one.
        """
        weights = widened(load_checkpoint(file).build().state_dict(), self.network.state_dict())
        self.network.load_state_dict(weights)
        self.average.load_state_dict(weights)

    def save(self, file: Path) -> None:
        """Keep all of it."""
        state = {name: getattr(self, name).state_dict() for name in ("network", "average", "optimiser")}
        with atomic(file) as part:
            torch.save({**state, "step": self.step, "recipe": dataclasses.asdict(self.recipe)}, part)

    def load(self, file: Path) -> None:
        """Go on from there.

        Raises:
            RequestError: the state is damaged, or of a run with another recipe; more steps are no other recipe.
        """
        try:
            state = torch.load(file, weights_only=True)
            changed = self.recipe.changed_since(state["recipe"])
        except Exception as error:  # unpickling raises anything
            raise RequestError(f"{file} is damaged or of another program ({error}).", "Begin a new run.") from error
        if changed:
            what = ", ".join(changed)
            raise RequestError(f"The run began with another {what}.", "Restore the recipe, or choose another -o.")
        for name in ("network", "average", "optimiser"):
            getattr(self, name).load_state_dict(state[name])
        self.step = state["step"]


def fit(run: Run, material: Material, folder: Path) -> None:
    """Train to the end, saying how it goes after each interval."""
    o = run.recipe.optimisation
    numbers = range(run.step, o.steps)
    loader = DataLoader(Samples(run.recipe, material, numbers), batch_size=1, num_workers=1, prefetch_factor=4)
    losses: list[float] = []
    began = time.monotonic()
    for batch in loader:
        losses.append(run.learn(*batch))
        if run.step % o.interval and run.step < o.steps:
            continue
        run.save(folder / LAST)
        told = "  ".join(
            f"{source} {np.mean(values):.4f} (worst {min(values):.4f})"
            for source, heads in material.monitoring.items()
            if (values := dice(run.average, heads))
        )
        pace = (time.monotonic() - began) / (run.step - numbers[0])
        line = f"step {run.step}/{o.steps}  loss {np.mean(losses):.4f}  Dice of held out {told}  {pace:.2f} s a step"
        print(line, flush=True)
        losses = []


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m Training.brain_extraction.train", description=__doc__)
    p.add_argument("recipe", type=Path, nargs="?", default=RECIPE, help="TOML file (default: that of this folder)")
    p.add_argument("--data", type=Path, required=True, help="folder with lgg, heads and brats")
    p.add_argument("--masks", type=Path, required=True, help="folder with the masks of lgg and heads")
    p.add_argument("-o", "--output", type=Path, default=Path("runs/brain-unet"), help="folder of the run")
    p.add_argument("--cache", type=Path, default=Path("cache/brain"), help="folder for prepared heads")
    p.add_argument("--init", type=Path, metavar="FILE", help="checkpoint to begin from, of as many filters or fewer")
    p.add_argument("--resume", action="store_true", help="go on from the run's last state")
    return p


def train(arguments: argparse.Namespace) -> int:
    """Train and export.

    Raises:
        BrainTumorSegError: the recipe is wrong, there is nothing to resume, or a run that would be overwritten.
    """
    recipe = load_recipe(arguments.recipe)
    check_resumable(arguments.output, arguments.output / LAST, resume=arguments.resume)
    arguments.output.mkdir(parents=True, exist_ok=True)
    material = load_material(recipe, arguments.data, arguments.masks, arguments.cache)
    run = Run(recipe)
    if arguments.resume:
        run.load(arguments.output / LAST)
    elif arguments.init:
        run.begin_from(arguments.init)
    if run.step < recipe.optimisation.steps:
        fit(run, material, arguments.output)
    destination = arguments.output / f"{recipe.id}.safetensors"
    people = [head.person for heads in material.training.values() for head in heads]
    figures = {source: dice(run.average, heads) for source, heads in material.monitoring.items()}
    export(recipe, run.average.state_dict(), run.step, sorted({*people}), material.split, figures, destination)
    print(f"Wrote {destination}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(lambda: train(parser().parse_args())))
