"""Which patients train, which monitor the run, and which nothing is chosen by."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.domain.json_values import read_json

# Patients to measure on, as command lines name them.
VALIDATION, FOLD, TEST, NONE = "validation", "fold", "test", "none"

# Never the recipe's seed: a run with another one must have the same validation patients.
_SEED = 1


@dataclass(frozen=True)
class Split:
    """Case ids by their part in a run, disjoint.

    Attributes:
        training: patches are drawn from them.
        monitoring: the held-out fold of the training patients; empty where none is held out.
        validation: measured once, when the run is over.
        test: a third part, of split.json or in a folder of its own; measured only where that is asked for.
    """

    training: tuple[str, ...]
    monitoring: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...] = ()

    @property
    def measured(self) -> tuple[str, ...]:
        """Those that the exported accuracy is of: what the run has not seen and nothing else was chosen by."""
        return self.monitoring or self.validation

    def part(self, name: str) -> tuple[str, ...]:
        """Those called ``validation``, ``fold`` (held out), ``test`` or ``none``."""
        return {VALIDATION: self.validation, FOLD: self.monitoring, TEST: self.test, NONE: ()}[name]

    def first(self, count: int) -> Split:
        """At most ``count`` cases of each part."""
        return Split(self.training[:count], self.monitoring[:count], self.validation[:count], self.test[:count])


def read_split(
    folder: Path,
    cases: Sequence[str],
    *,
    folds: int,
    fold: int,
    given: Mapping[str, Sequence[str]] | None = None,
    validation_patients: int = 0,
    training_patients: int = 0,
) -> Split:
    """The split of ``split.json`` (``{"train": […], "validation": […]}``, perhaps ``"test"``) beside the data, else
    that ``given`` by its folders, else ``validation_patients`` at random (0: a fifth). Where split.json has no
    ``test``, it is those of the folder ``test`` whom split.json does not name.

    Training patients are cut once more when a fold is asked for, so that variants are never chosen by the
    validation patients. Of what is left at most ``training_patients`` train (0: all); more include those of fewer.

    Raises:
        RequestError: split.json is not such a file, names cases that are not there, or one in two parts; or no
            patient is left to train or monitor on.
    """
    file = folder / "split.json"
    test = list((given or {}).get(TEST, ()))
    if file.is_file():
        training, validation, named = _stored_split(file, cases)
        test = [name for name in test if name not in {*training, *validation}] if named is None else named
    elif given:
        training, validation = list(given["train"]), list(given["validation"])
    else:
        order = _shuffled(cases)
        count = validation_patients or max(len(order) // 5, 1)
        validation, training = order[:count], order[count:]
    held_out = _shuffled(training)[fold::folds] if fold >= 0 else []
    rest = [name for name in _shuffled(training) if name not in held_out]
    if not rest or (fold >= 0 and not held_out):
        raise RequestError(f"{len(cases)} patients in {folder} are too few to be split.", "Give more, or fewer folds.")
    rest = rest[: training_patients or None]
    return Split(tuple(sorted(rest)), tuple(sorted(held_out)), tuple(sorted(validation)), tuple(sorted(test)))


def _shuffled(names: Sequence[str]) -> list[str]:
    return [str(name) for name in np.random.default_rng(_SEED).permutation(sorted(names))]


def _stored_split(file: Path, cases: Sequence[str]) -> tuple[list[str], list[str], list[str] | None]:
    """Training, validation and test ids; None where the file says nothing of a test."""
    try:
        content: Any = read_json(file)
        training, validation = list(content["train"]), list(content["validation"])
        test = list(content[TEST]) if TEST in content else None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RequestError(
            f"{file} is no split ({type(error).__name__}: {error}).", 'Write {"train": [ids], "validation": [ids]}.'
        ) from error
    parts = {"training": training, VALIDATION: validation, TEST: test or []}
    problems = []
    for one, other in itertools.combinations(parts, 2):
        if both := sorted({*parts[one]} & {*parts[other]}):
            problems.append(f"for {one} and {other}: {', '.join(both)}")
    if missing := sorted({*itertools.chain(*parts.values())} - {*cases}):
        problems.append(f"not there: {', '.join(missing)}")
    if problems:
        raise RequestError(f"{file} names patients wrongly; {'; '.join(problems)}.", "Mend the split.")
    return training, validation, test
