"""Tiny data sets and recipes for the tests of training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from BrainTumorSegLib.io.registry import write_volume
from BrainTumorSegLib.models.checkpoint_file import Checkpoint, load_checkpoint
from Testing import samples


def make_patient(seed: int) -> samples.Patient:
    """Patients whose tumours lie apart."""
    centre = np.random.default_rng(seed).uniform(0.42, 0.58, 3)
    return samples.make_patient(centre=tuple(centre), seed=seed)


def write_brats(folder: Path, count: int, *, validation: int = 1) -> Path:
    """``count`` patients as BraTS 2021 has them, and a split whose last ``validation`` patients validate."""
    names = [f"P{number:02d}" for number in range(count)]
    for seed, name in enumerate(names):
        samples.write_patient(folder, make_patient(seed), case_id=name)
    parts = {"train": names[: count - validation], "validation": names[count - validation :]}
    (folder / "split.json").write_text(json.dumps(parts), encoding="utf-8")
    return folder


def write_decathlon(folder: Path, count: int) -> Path:
    """``count`` patients as the Decathlon has them; in its labels 1 is ED, 2 NCR, 3 ET."""
    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for seed in range(count):
        patient, name = make_patient(seed), f"BRATS_{seed:03d}.nii.gz"
        samples.write_decathlon(folder / "imagesTr" / name, patient)
        labels = np.array([0, 2, 1, 3], np.uint8)[patient.labels.array]
        write_volume(patient.labels.with_array(labels), folder / "labelsTr" / name)
    return folder


# Dropout, so that the random generators matter; a held-out fold, so that something is monitored.
RECIPE = """
id = "tiny"
title = "Tiny network for tests"
dimensions = 3
outputs = [
    { name = "ET", labels = [3] },
    { name = "TC", labels = [1, 3] },
    { name = "WT", labels = [1, 2, 3] },
]
network = { family = "segresnet", arguments = { width = 8, blocks_down = [1, 1], blocks_up = [1], dropout = 0.1 } }
sampling = { patch = [16, 16, 16], batch = 1, workers = 1 }
tiling = { patch = [16, 16, 16], overlap = 0.25 }
augmentation = { affine = 0.5 }
# top

[data]
name = "made"
folds = 3
fold = 0

[optimisation]
steps = 12
interval = 4
learning_rate = 5e-3
ema = 0.8
precision = "32-true"
"""


# Changes of it: without worker processes and dropout, in few steps; and nothing learned.
SMALL = {
    "workers = 1": "workers = 0",
    "steps = 12": "steps = 4",
    "interval = 4": "interval = 2",
    "dropout = 0.1": "dropout = 0.0",
}
STILL = {"learning_rate = 5e-3": "learning_rate = 1e-30\nweight_decay = 0.0"}


def exported(run: Path) -> Checkpoint:
    """The checkpoint of a run of the tiny recipe."""
    return load_checkpoint(run / "tiny.safetensors")


def write_recipe(file: Path, changes: Mapping[str, str] | None = None) -> Path:
    """The tiny recipe with pieces of its text replaced."""
    text = RECIPE
    for old, new in (changes or {}).items():
        assert old in text, old
        text = text.replace(old, new)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file
