"""The Lightning data module: cases found, split, preprocessed once, patches drawn from them."""

from __future__ import annotations

from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from BrainTumorSegLib.errors import RequestError

from .augmentation import Augmentation
from .datasets.brats import LabelledCase, Split, find_cases, read_split
from .datasets.cache import CachedCase, CaseCache
from .datasets.patches import PatchDataset, RunningNumbers, Sample
from .recipe import Recipe

# Patches a case that the run is monitored on: enough to see a trend, few enough to cost little.
_MONITORED_PATCHES = 2
_MONITORED_CASES = 8


class BratsData(LightningDataModule):
    """Patches of BraTS-like cases as a recipe asks for them."""

    def __init__(self, recipe: Recipe, folder: Path, cache: Path) -> None:
        super().__init__()
        if recipe.data.kind != "brats":
            raise RequestError(f"Unknown data kind {recipe.data.kind!r}.", "Choose brats.")
        self.recipe, self.folder = recipe, folder
        self.cases: dict[str, LabelledCase] = find_cases(folder)
        self.split: Split = read_split(
            folder, list(self.cases), folds=recipe.data.folds, fold=recipe.data.fold, seed=recipe.seed
        )
        self._cache = CaseCache(cache, recipe.modalities, recipe.preprocessing)
        self._training: list[CachedCase] = []
        self._monitoring: list[CachedCase] = []

    def prepare_data(self) -> None:
        """Fill the cache, on one process."""
        self._cache.get_all(self.cases[name] for name in self.split.training + self.split.monitoring)

    def setup(self, stage: str) -> None:
        """Open the cached cases. Without a held-out fold some training cases are monitored instead."""
        self._training = [self._cache.get(self.cases[name]) for name in self.split.training]
        names = self.split.monitoring or self.split.training
        self._monitoring = [self._cache.get(self.cases[name]) for name in names[:_MONITORED_CASES]]

    def train_dataloader(self) -> DataLoader[Sample]:
        """``interval`` batches, another stretch of running numbers each epoch."""
        r = self.recipe
        per_epoch = r.optimisation.interval * r.sampling.batch
        augmentation = Augmentation(r.augmentation, r.dimensions)
        dataset = self._patches(self._training, augmentation, r.epochs * per_epoch, r.sampling.foreground)
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        return DataLoader(
            dataset,
            batch_size=r.sampling.batch,
            sampler=RunningNumbers(per_epoch, rank, world),
            num_workers=r.sampling.workers,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader[Sample]:
        """The same patches without augmentation each time, all of them on tumour."""
        dataset = self._patches(self._monitoring, None, _MONITORED_PATCHES * len(self._monitoring), 1.0)
        return DataLoader(dataset, batch_size=self.recipe.sampling.batch, num_workers=0)

    def _patches(
        self, cases: list[CachedCase], augmentation: Augmentation | None, length: int, foreground: float
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
        )
