"""Tiny nnU-Net models, trained and run by nnU-Net itself; needs nnunetv2 and nothing of this project.

``PYTHON -P nnunet_models.py train WORK BRATS`` prepares two data sets of five BraTS cases (regions; classes in the
Decathlon's order, with its channels), plans them, makes the plans small and trains 3d_fullres (two folds) and 2d (one).
Three more cases are cropped to what is around their tumours, in ``WORK/cropped``, and become the test images.
``PYTHON -P nnunet_models.py predict WORK NAME`` predicts the test images of a model with nnU-Net's own predictor: steps
of half a window, mirrorings, Gaussian weights. ``importers`` compares.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

TRAINING, TESTED = 5, 3
CROP = (80, 112, 80)  # voxels (x, y, z) around the tumour of a test patient: two windows in place of 36
REGIONS: dict[str, Any] = {
    "channel_names": {"0": "T1", "1": "T1ce", "2": "T2", "3": "FLAIR"},
    "labels": {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [1, 3], "enhancing tumor": [3]},
    "regions_class_order": [2, 1, 3],
    "file_ending": ".nii.gz",
    "numTraining": TRAINING,
}
CLASSES: dict[str, Any] = {
    "channel_names": {"0": "FLAIR", "1": "T1w", "2": "T1gd", "3": "T2w"},
    "labels": {"background": 0, "edema": 1, "non-enhancing tumor": 2, "enhancing tumour": 3},
    "file_ending": ".nii.gz",
    "numTraining": TRAINING,
}
# Name -> number, data set, configuration, folds, patch, features, iterations of a fold.
MODELS: dict[str, tuple[int, dict[str, Any], str, tuple[int, ...], list[int], list[int], int]] = {
    "regions-3d": (501, REGIONS, "3d_fullres", (0, 1), [80, 80, 80], [8, 16, 32, 64], 150),
    "classes-2d": (502, CLASSES, "2d", (0,), [128, 112], [8, 16, 32, 64, 64], 300),
}
FILES = {"T1": "t1", "T1ce": "t1ce", "T2": "t2", "FLAIR": "flair", "T1w": "t1", "T1gd": "t1ce", "T2w": "t2"}
DECATHLON = {0: 0, 1: 2, 2: 1, 4: 3, 3: 3}


def environment(work: Path) -> None:
    """Where nnU-Net keeps its things, and that it uses one process."""
    for name in ("raw", "preprocessed", "results"):
        (work / name).mkdir(parents=True, exist_ok=True)
        os.environ[f"nnUNet_{name}"] = str(work / name)
    os.environ |= {"nnUNet_n_proc_DA": "0", "nnUNet_def_n_proc": "1", "nnUNet_compile": "f"}


def prepare(work: Path, brats: Path, name: str) -> None:
    """The data set as nnU-Net wants it; the first cases train, the next are tested."""
    number, dataset, *_ = MODELS[name]
    cases = sorted(path for path in brats.iterdir() if path.name.startswith("BraTS2021"))[: TRAINING + TESTED]
    folder = work / "raw" / f"Dataset{number}_{name}"
    for place in ("imagesTr", "labelsTr", "imagesTs"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    for index, case in enumerate(cases):
        place = "imagesTr" if index < TRAINING else "imagesTs"
        source = case if index < TRAINING else cropped(case, work / "cropped" / case.name)
        for channel, title in dataset["channel_names"].items():
            link = folder / place / f"{case.name}_{int(channel):04d}.nii.gz"
            link.unlink(missing_ok=True)
            link.symlink_to(source / f"{case.name}_{FILES[title]}.nii.gz")
        if index < TRAINING:
            image = nibabel.load(case / f"{case.name}_seg.nii.gz")
            labels = np.asarray(image.dataobj).astype(np.uint8)
            table = DECATHLON if dataset is CLASSES else {0: 0, 1: 1, 2: 2, 4: 3, 3: 3}
            values = np.zeros(256, np.uint8)
            for value, label in table.items():
                values[value] = label
            out = nibabel.Nifti1Image(values[labels], image.affine)
            nibabel.save(out, folder / "labelsTr" / f"{case.name}.nii.gz")
    (folder / "dataset.json").write_text(json.dumps(dataset, indent=1))


def cropped(case: Path, folder: Path) -> Path:
    """What is around a case's tumour, in a folder of its own."""
    labels = np.asarray(nibabel.load(case / f"{case.name}_seg.nii.gz").dataobj)
    size = np.asarray(CROP)
    low = np.clip(np.argwhere(labels > 0).mean(axis=0).astype(int) - size // 2, 0, np.asarray(labels.shape) - size)
    folder.mkdir(parents=True, exist_ok=True)
    for file in case.glob("*.nii.gz"):
        part = tuple(slice(first, first + count) for first, count in zip(low, size, strict=True))
        nibabel.save(nibabel.load(file).slicer[part], folder / file.name)
    return folder


def shrink(plans: dict[str, Any], configuration: str, patch: list[int], features: list[int]) -> None:
    """Make a configuration small, in place."""
    stages, dimensions = len(features), len(patch)
    chosen = plans["configurations"][configuration]
    chosen["patch_size"], chosen["batch_size"] = patch, 2 if dimensions == 3 else 8
    chosen["architecture"]["arch_kwargs"] |= {
        "n_stages": stages,
        "features_per_stage": features,
        "kernel_sizes": [[3] * dimensions] * stages,
        "strides": [[1] * dimensions] + [[2] * dimensions] * (stages - 1),
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
    }


def train(work: Path, brats: Path, name: str) -> None:
    """Prepare, plan and train one model."""
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    number, _, configuration, folds, patch, features, iterations = MODELS[name]
    prepare(work, brats, name)
    command = ["nnUNetv2_plan_and_preprocess", "-d", str(number), "-c", configuration, "-np", "1", "-npfp", "1"]
    planning = os.environ | {"nnUNet_n_proc_DA": "1"}  # it makes as many threads
    subprocess.run([str(Path(sys.executable).parent / command[0]), *command[1:]], check=True, env=planning)
    folder = work / "preprocessed" / f"Dataset{number}_{name}"
    file = folder / "nnUNetPlans.json"
    plans = json.loads(file.read_text()) | {"continue_training": False}
    shrink(plans, configuration, patch, features)
    file.write_text(json.dumps(plans, indent=1))
    dataset = json.loads((folder / "dataset.json").read_text())
    for fold in folds:
        started = time.time()
        torch.manual_seed(fold)
        trainer = nnUNetTrainer(dict(plans), configuration, fold, dataset, torch.device("cpu"))
        trainer.num_epochs, trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = (
            3,
            iterations // 3,
            2,
        )
        trainer.run_training()
        print(f"{name} fold {fold}: {iterations} iterations in {time.time() - started:.0f} s", flush=True)


def predict(work: Path, name: str) -> None:
    """The test images, by nnU-Net's command."""
    number, _, configuration, folds, *_ = MODELS[name]
    command = ["nnUNetv2_predict", "-i", str(work / "raw" / f"Dataset{number}_{name}" / "imagesTs"), "-o"]
    command += [str(work / "predicted" / name), "-d", str(number), "-c", configuration, "-f", *map(str, folds)]
    command += ["-device", "cpu", "-npp", "1", "-nps", "1"]
    subprocess.run([str(Path(sys.executable).parent / command[0]), *command[1:]], check=True)


def main() -> None:
    """See the module."""
    action, work, *rest = sys.argv[1:]
    environment(Path(work))
    if action == "train":
        for name in rest[1:] or MODELS:
            train(Path(work), Path(rest[0]), name)
    else:
        for name in rest or MODELS:
            predict(Path(work), name)


if __name__ == "__main__":
    main()
