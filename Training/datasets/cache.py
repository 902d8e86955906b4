"""Cases preprocessed once: the engine's own preprocessing, kept as arrays that map into memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from BrainTumorSegLib.checkpoint import PreprocessingSpec
from BrainTumorSegLib.files import staged
from BrainTumorSegLib.preprocessing import Grid, onto, prepare

from .brats import LabelledCase

_FORMAT = 1


@dataclass(frozen=True)
class CachedCase:
    """Arrays of a case: ``image`` float16 ``(C, Z, Y, X)`` and ``labels`` uint8 ``(Z, Y, X)``, on the brain's box."""

    id: str
    image_file: Path
    label_file: Path

    def image(self) -> np.ndarray:
        """The images, mapped from disk."""
        return np.load(self.image_file, mmap_mode="r")

    def labels(self) -> np.ndarray:
        """The label map, mapped from disk."""
        return np.load(self.label_file, mmap_mode="r")


class CaseCache:
    """A folder of preprocessed cases; each preprocessing has a folder of its own."""

    def __init__(self, folder: Path, modalities: tuple[str, ...], spec: PreprocessingSpec) -> None:
        settings = json.dumps([_FORMAT, list(modalities), asdict(spec)], sort_keys=True)
        self.folder = folder / hashlib.sha256(settings.encode()).hexdigest()[:12]
        self.modalities, self.spec = modalities, spec

    def get(self, case: LabelledCase) -> CachedCase:
        """The preprocessed case, made now where it is not there yet or its files are newer."""
        cached = CachedCase(case.id, self.folder / f"{case.id}.image.npy", self.folder / f"{case.id}.labels.npy")
        if cached.image_file.is_file() and cached.label_file.is_file():
            if cached.label_file.stat().st_mtime >= case.segmentation.stat().st_mtime:
                return cached
        images, labels = case.load()
        prepared = prepare(images, self.modalities, self.spec)
        moved = onto(labels.array, Grid.of(labels), prepared.grid, nearest=True)[prepared.box]
        with staged() as staging:
            np.save(staging.path(cached.image_file), prepared.array.astype(np.float16))
            np.save(staging.path(cached.label_file), moved)
        return cached

    def get_all(self, cases: Iterable[LabelledCase]) -> list[CachedCase]:
        """All of them, with a progress bar."""
        from tqdm import tqdm

        return [self.get(case) for case in tqdm(list(cases), desc="Preprocessing", leave=False)]
