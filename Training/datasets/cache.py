"""Cases preprocessed once: the engine's own preprocessing, kept as arrays that map into memory."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from BrainTumorSegLib.domain.errors import InputError, RequestError
from BrainTumorSegLib.domain.grid import Grid
from BrainTumorSegLib.io.staging import staged
from BrainTumorSegLib.models.description import PreprocessingSpec
from BrainTumorSegLib.preprocessing import prepare
from BrainTumorSegLib.preprocessing.resampling import onto

from .case import LabelledCase

# Part of the folder's name; raise it when what is stored changes.
_FORMAT = 2


@dataclass(frozen=True)
class CachedCase:
    """Arrays of a case: ``image`` ``(C, Z, Y, X)`` float and ``labels`` ``(Z, Y, X)`` uint8, on the brain's box."""

    id: str
    folder: Path

    def image(self) -> np.ndarray:
        """The images, mapped from disk."""
        return np.load(self.folder / "image.npy", mmap_mode="r")

    def labels(self) -> np.ndarray:
        """The label map, mapped from disk."""
        return np.load(self.folder / "labels.npy", mmap_mode="r")


class CaseCache:
    """A folder of preprocessed cases; each preprocessing has a folder of its own.

    A case is done again when one of its files has another name, size or time than when it was done. The note of
    these is put in place after the arrays, so a case that was interrupted counts as not done. Cases must have the
    ``required`` modalities (all, where that is not said); the others are zero where they are missing.
    """

    def __init__(
        self,
        folder: Path,
        modalities: tuple[str, ...],
        spec: PreprocessingSpec,
        required: tuple[str, ...] | None = None,
    ) -> None:
        settings = json.dumps([_FORMAT, list(modalities), asdict(spec)], sort_keys=True)
        self.folder = folder / hashlib.sha256(settings.encode()).hexdigest()[:12]
        self.modalities, self.spec = modalities, spec
        self.required = modalities if required is None else required

    def get(self, case: LabelledCase) -> CachedCase:
        """The preprocessed case, made now where it is not there yet or its files have changed.

        Raises:
            InputError: names all that is wrong with the case.
        """
        cached = CachedCase(case.id, self.folder / case.id)
        note = cached.folder / "source.json"
        source = _fingerprint(case)
        if _read(note) == source:
            return cached
        images, labels = case.load(self.required)
        prepared = prepare(images, self.modalities, self.spec)
        moved = onto(labels.array, Grid.of(labels), prepared.grid, nearest=True)[prepared.box]
        # z-scores end at 5, where fp16 has steps of 0.004; other intensities may be of any size.
        kind = np.float16 if self.spec.normalisation.startswith("zscore") else np.float32
        with staged() as staging:
            np.save(staging.path(cached.folder / "image.npy"), prepared.array.astype(kind))
            np.save(staging.path(cached.folder / "labels.npy"), np.ascontiguousarray(moved))
            staging.path(note).write_text(source, encoding="utf-8")
        return cached

    def check(self, case: LabelledCase) -> None:
        """Read a case that nothing is stored of, once: it is measured when the run is over.

        Raises:
            InputError: names all that is wrong with the case.
        """
        note = self.folder / case.id / "checked.json"
        source = _fingerprint(case)
        if _read(note) != source:
            case.load(self.required)
            with staged() as staging:
                staging.path(note).write_text(source, encoding="utf-8")

    def fill(
        self, cases: Sequence[LabelledCase], checked: Sequence[LabelledCase] = (), known: Sequence[str] = ()
    ) -> None:
        """Preprocess ``cases`` and check the others, so that a run does not meet bad data after hours.

        Raises:
            InputError: names all that is wrong with all of them, and the problems ``known`` before.
        """
        from tqdm import tqdm

        problems: list[str] = []
        steps = [(self.get, case) for case in cases] + [(self.check, case) for case in checked]
        for step, case in tqdm(steps, desc="Preprocessing", leave=False, disable=not sys.stderr.isatty()):
            try:
                step(case)
            except RequestError as error:
                problems.append(f"{case.id}: {str(error).rstrip('.')}")
        heading = f"{len(problems)} of {len(steps)} patients cannot be used" if problems else "The data cannot be used"
        if problems or known:
            listed = "; ".join([*problems, *known])  # on one line, as all errors are
            raise InputError(f"{heading}: {listed}.", "Mend their files, or leave them out by split.json.")


def _fingerprint(case: LabelledCase) -> str:
    """Names, sizes and times of a case's files, and how its labels are read."""
    return json.dumps([case.reading, *stamps(case.files())])


def stamps(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, size and time of files: where one of them differs, it is another file."""
    found = [(path, path.stat()) for path in files]
    return [(path.name, stat.st_size, stat.st_mtime_ns) for path, stat in found]


def _read(note: Path) -> str:
    return note.read_text(encoding="utf-8") if note.is_file() else ""
