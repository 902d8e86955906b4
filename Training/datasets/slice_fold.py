"""A fold of slices instead of patients: what systems do that split slices at random. Every patient leaks into it."""

from __future__ import annotations

import dataclasses
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.volume import Volume

from .case import UNKNOWN_LABEL, DataSet, LabelledCase
from .split import Split

# Never the recipe's seed: a run with another one must hold the same slices out.
_SEED = 1
_SUFFIX = " (held-out slices)"


@dataclass(frozen=True)
class SliceFold:
    """A patient of whom some slices are known: those of the fold, or the others.

    Attributes:
        case: the patient, whose images stay whole, so that all slices are normalised together.
        fold, folds: which of how many parts of its slices is held out.
        held_out: whether this is that part.
    """

    case: LabelledCase
    fold: int
    folds: int
    held_out: bool

    @property
    def id(self) -> str:
        """Of the patient; of its held-out slices another."""
        return f"{self.case.id}{_SUFFIX * self.held_out}"

    @property
    def reading(self) -> str:
        """The patient's, and which slices."""
        return f"{self.case.reading} slices {self.fold} of {self.folds} {'held out' if self.held_out else 'train'}"

    def files(self) -> list[Path]:
        """Of the patient."""
        return self.case.files()

    def load(self, modalities: tuple[str, ...] = ()) -> tuple[Case, Volume]:
        """Images, and labels that are unknown on the slices of the other part.

        Raises:
            InputError: names all that is wrong with the case.
        """
        case, labels = self.case.load(modalities)
        held_out = held_out_slices(self.case.id, len(labels.array), self.fold, self.folds)
        known = held_out if self.held_out else ~held_out
        return case, labels.with_array(np.where(known[:, None, None], labels.array, UNKNOWN_LABEL).astype(np.uint8))


def held_out_slices(patient: str, slices: int, fold: int, folds: int) -> np.ndarray:
    """Which of a patient's slices the fold is made of, boolean; drawn at random, of every patient the same share."""
    order = np.random.default_rng([_SEED, zlib.crc32(patient.encode())]).permutation(slices)
    mask = np.zeros(slices, dtype=bool)
    mask[order[fold::folds]] = True
    return mask


def hold_out_slices(data: DataSet, split: Split, fold: int, folds: int) -> tuple[DataSet, Split]:
    """The data with every training patient twice, once for its slices that train, once for those held out.

    Validation patients stay out of both.
    """
    pairs = {n: [SliceFold(data.cases[n], fold, folds, held) for held in (False, True)] for n in split.training}
    cases = {**data.cases, **{part.id: part for pair in pairs.values() for part in pair}}
    note = (
        f"PATIENTS LEAK: the held-out fold is 1 of {folds} slices of the very patients that train, drawn at random, so"
        " figures on it say nothing about new patients"
    )
    held_out = tuple(sorted(pair[1].id for pair in pairs.values()))
    return (
        dataclasses.replace(data, cases=cases, notes=(*data.notes, note)),
        dataclasses.replace(split, monitoring=held_out),
    )
