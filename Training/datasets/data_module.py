"""The Lightning data module: cases preprocessed once, patches drawn from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from BrainTumorSegLib.models.description import Description

from ..augmentation import Augmentation
from ..recipe import LEAKING_SLICES, Recipe, recorded
from .cache import CachedCase, CaseCache
from .case import DataSet
from .kinds import find_data
from .patches import SEED, PatchDataset, RunningNumbers, Sample, augmented, hardly_enhances
from .slice_fold import hold_out_slices
from .slices import SliceDataset
from .split import Split, read_split

# Cases whose patches a run is monitored on: enough to see a trend, few enough to cost little.
_MONITORED_CASES = 8


def find_split(recipe: Recipe, folder: Path, data: DataSet) -> Split:
    """The parts of the patients that a recipe asks for.

    Raises:
        RequestError: split.json is wrong, or the patients are too few.
    """
    d = recipe.data
    return read_split(
        folder,
        list(data.cases),
        folds=d.folds,
        fold=-1 if d.fold_of == LEAKING_SLICES else d.fold,
        given=data.split,
        validation_patients=d.validation_patients,
        training_patients=d.training_patients,
    )


def recorded_split(description: Description, folder: Path, labels: str = "") -> tuple[DataSet, Split]:
    """The patients of a folder as a model's recipe finds and parts them, of an ensemble as its first member's does.

    Args:
        labels: label convention of the patients, by default the recipe's.

    Raises:
        RequestError: the model holds no recipe, the folder is of another kind, or its split.json is wrong.
    """
    first = (description.members or (description,))[0]
    recipe = recorded(first.training)
    if labels:
        recipe = dataclasses.replace(recipe, data=dataclasses.replace(recipe.data, labels=labels))
    found = find_data(recipe, folder)
    return found, find_split(recipe, folder, found)


def parts(recipe: Recipe, folder: Path, data: DataSet) -> tuple[DataSet, Split]:
    """The data, and their parts; where the fold is of slices, each training patient is there twice.

    Raises:
        RequestError: split.json is wrong, or the patients are too few.
    """
    split = find_split(recipe, folder, data)
    if recipe.data.fold_of == LEAKING_SLICES:
        return hold_out_slices(data, split, recipe.data.fold, recipe.data.folds)
    return data, split


class PatchData(LightningDataModule):
    """Patches of labelled cases as a recipe asks for them."""

    def __init__(
        self, recipe: Recipe, data: DataSet, split: Split, cache: Path, measured: Sequence[str] | None = None
    ) -> None:
        """``measured``: cases that the accuracy is of in the end; :attr:`Split.measured` without it."""
        super().__init__()
        self.measured = split.measured if measured is None else tuple(measured)
        self.recipe, self.data, self.cases, self.split = recipe, data, data.cases, split
        self.before: tuple[str, ...] = ()  # cases that the weights were trained on which the run begins from
        # Without a held-out fold some training patients are monitored: that shows a failing run, not accuracy.
        self.monitored = split.monitoring or split.training[:_MONITORED_CASES]
        if not recipe.monitoring.whole_slices:
            self.monitored = self.monitored[:_MONITORED_CASES]
        required = tuple(name for name in recipe.modalities if name not in recipe.optional_modalities)
        if recipe.data.fold_of == LEAKING_SLICES:  # the same patients with other labels than in other runs
            cache = cache / f"slices-{recipe.data.fold}-of-{recipe.data.folds}"
        self._cache = CaseCache(cache, recipe.modalities, recipe.preprocessing, required)
        self._training: list[CachedCase] = []
        self._monitoring: list[CachedCase] = []
        self._here: Augmentation | None = None

    def prepare_data(self) -> None:
        """Fill the cache; Lightning has one process of each machine do it."""
        names = {*self.split.training, *self.split.monitoring}
        rest = set(self.measured) - names
        used, checked = ([self.cases[name] for name in sorted(part)] for part in (names, rest))
        self._cache.fill(used, checked, self.data.problems)

    def setup(self, stage: str) -> None:
        """Open the cached cases."""
        often = self.recipe.sampling.unenhanced
        training = self.cached(self.split.training)
        self._training = [c for c in training for _ in range(often if often > 1 and hardly_enhances(c) else 1)]
        self._monitoring = self.cached(self.monitored)

    def cached(self, names: Sequence[str]) -> list[CachedCase]:
        """Cases preprocessed as the recipe says, now where they are not yet."""
        return [self._cache.get(self.cases[name]) for name in names]

    def train_dataloader(self) -> DataLoader[Sample]:
        """``interval`` batches a process, another stretch of running numbers each epoch."""
        r = self.recipe
        rank, world, step, device = 0, 1, 0, "cpu"
        if self.trainer:
            device = self.trainer.strategy.root_device.type
            rank, world, step = self.trainer.global_rank, self.trainer.world_size, self.trainer.global_step
        # The epoch is set here, since Lightning starts the workers of a resumed run before it calls set_epoch.
        epoch = step // r.optimisation.interval
        sampler = RunningNumbers(r.optimisation.interval * r.sampling.batch, rank, world, epoch)
        later = r.augmentation.on_device and device != "mps"  # MONAI resamples in float64, which Apple's GPUs lack
        augmentation = None if later else self._augmentation()
        length = r.epochs * len(sampler) * world
        return DataLoader(
            self._patches(
                self._training, augmentation, length, r.sampling.foreground, carved=r.sampling.carved, later=later
            ),
            batch_size=r.sampling.batch,
            sampler=sampler,
            num_workers=r.sampling.workers,
            persistent_workers=r.sampling.workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def on_after_batch_transfer(self, batch: Sample, dataloader_idx: int) -> Sample:
        """Augment what the workers only cut, where the network is."""
        if SEED not in batch:
            return batch
        if self._here is None:
            self._here = self._augmentation(batch["image"].device)
        return augmented(batch, self._here, self.recipe.outputs)

    def _augmentation(self, device: torch.device | None = None) -> Augmentation:
        r = self.recipe
        kept = r.augmentation.kept
        optional = {r.modalities.index(name): 0.25 if name in kept else 1.0 for name in r.optional_modalities} or None
        return Augmentation(r.augmentation, r.dimensions, optional, device)

    def val_dataloader(self) -> DataLoader[Sample]:
        """The same patches without augmentation each time, all of them on tumour, or all slices; in every process."""
        r = self.recipe
        dataset: Dataset[Sample]
        if r.monitoring.whole_slices:
            dataset = whole_slices(r, self._monitoring)
        else:
            dataset = self._patches(self._monitoring, None, r.monitoring.patches * len(self._monitoring), 1.0)
        return DataLoader(dataset, batch_size=r.sampling.batch, num_workers=0)

    def state_dict(self) -> dict[str, Any]:
        """The split, so that a resumed run does not train on what it validates on, and who trained before it."""
        return {"split": dataclasses.asdict(self.split), "before": self.before}

    def _patches(
        self,
        cases: Sequence[CachedCase],
        augmentation: Augmentation | None,
        length: int,
        foreground: float,
        carved: float = 0.0,
        later: bool = False,
    ) -> PatchDataset:
        r = self.recipe
        return PatchDataset(
            cases,
            r.sampling.patch,
            r.outputs,
            foreground=foreground,
            seed=r.seed,
            augmentation=augmentation,
            length=length,
            carved=carved,
            later=later,
        )


def whole_slices(recipe: Recipe, cases: Sequence[CachedCase]) -> SliceDataset:
    """Every known slice of these cases, in a frame that the recipe's network takes."""
    return SliceDataset(cases, recipe.outputs, recipe.sampling.patch, recipe.network.divisor)
