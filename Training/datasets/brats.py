"""BraTS in all its layouts, and the Decathlon's Task01_BrainTumour.

BraTS 2018 and 2019: ``HGG|LGG/<case>/<case>_t1.nii.gz``; 2020 and 2021 without the grade folder; 2023:
``<case>/<case>-t1n.nii.gz``. Decathlon: ``imagesTr/<case>.nii.gz`` with four channels, ``labelsTr/<case>.nii.gz``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from BrainTumorSegLib.case import Case, find_images
from BrainTumorSegLib.errors import InputError, RequestError
from BrainTumorSegLib.labels import read_labels
from BrainTumorSegLib.modalities import is_image, stem
from BrainTumorSegLib.volume import Volume, read_volume


@dataclass(frozen=True)
class LabelledCase:
    """A case with its expert segmentation: paths only."""

    id: str
    images: Path
    segmentation: Path
    convention: str = "auto"

    def load(self) -> tuple[Case, Volume]:
        """The images and the label map in the convention of the library."""
        case = Case.from_path(self.images)
        stored = read_volume(self.segmentation)
        if stored.shape != case.reference_volume.shape:
            raise InputError(
                f"{self.segmentation} has shape {stored.shape}, its images {case.reference_volume.shape}.",
                "Give the segmentation that belongs to the images.",
            )
        return case, stored.with_array(read_labels(stored.array, self.convention, str(self.segmentation)))


def find_cases(folder: Path) -> dict[str, LabelledCase]:
    """Case id → labelled case, in any of the layouts.

    Raises:
        RequestError: the folder holds none.
    """
    cases = _decathlon(folder) if (folder / "imagesTr").is_dir() else _brats(folder)
    if not cases:
        raise RequestError(
            f"{folder} holds no labelled case.",
            "It must hold <case>/<case>_seg.nii.gz with its sequences, or imagesTr and labelsTr.",
        )
    return cases


def _brats(folder: Path) -> dict[str, LabelledCase]:
    found = {}
    for path in sorted(folder.glob("**/*seg.nii*")):
        if is_image(path) and stem(path)[-4:] in ("_seg", "-seg"):
            case = path.parent
            find_images(case)  # raises now rather than hours into the run
            found[case.name] = LabelledCase(case.name, case, path)
    return found


def _decathlon(folder: Path) -> dict[str, LabelledCase]:
    found = {}
    for path in sorted((folder / "imagesTr").glob("[!.]*.nii*")):
        label = folder / "labelsTr" / path.name
        if label.is_file():
            found[stem(path)] = LabelledCase(stem(path), path, label, "decathlon")
    return found


@dataclass(frozen=True)
class Split:
    """Case ids by their part in a run."""

    training: tuple[str, ...]
    monitoring: tuple[str, ...]
    validation: tuple[str, ...]


def read_split(folder: Path, cases: Sequence[str], *, folds: int, fold: int, seed: int) -> Split:
    """The split of ``split.json`` beside the data, else a seeded fifth for validation.

    Training patients are cut once more when a fold is asked for, so that variants are never chosen by the
    validation patients.

    Raises:
        RequestError: split.json names cases that are not there, or one in both parts.
    """
    file = folder / "split.json"
    if file.is_file():
        parts = json.loads(file.read_text(encoding="utf-8"))
        training, validation = list(parts["train"]), list(parts["validation"])
        both = sorted(set(training) & set(validation))
        missing = sorted((set(training) | set(validation)) - set(cases))
        if both or missing:
            what = f"names {both[0]} for training and validation" if both else f"names {missing[0]}, which is not there"
            raise RequestError(f"{file} {what}.", "Mend the split.")
    else:
        order = list(np.random.default_rng(seed).permutation(sorted(cases)))
        count = max(len(order) // 5, 1)
        validation, training = [str(c) for c in order[:count]], [str(c) for c in order[count:]]
    if fold < 0:
        return Split(tuple(sorted(training)), (), tuple(sorted(validation)))
    order = [str(c) for c in np.random.default_rng(seed).permutation(sorted(training))]
    held_out = sorted(order[fold::folds])
    return Split(tuple(sorted(set(training) - set(held_out))), tuple(held_out), tuple(sorted(validation)))
