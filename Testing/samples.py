"""Small synthetic patients and checkpoints that all tests share.

The patient is an ellipsoid of brain with a tumour of three nested balls, and its intensities are such that
each region stands out in one sequence. The oracle is a real U-Net whose weights are set by hand so that it
reads those regions off voxel by voxel: what it gives is known exactly, wherever it is run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.labels import write_labels
from BrainTumorSegLib.domain.modalities import MODALITIES
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import write_volume
from BrainTumorSegLib.models.checkpoint_file import Checkpoint, save_checkpoint
from BrainTumorSegLib.models.description import (
    AccuracyRecord,
    Description,
    NetworkSpec,
    OutputSpec,
    PreprocessingSpec,
    TilingSpec,
    TrainingRecord,
)

SHAPE = (20, 28, 24)  # (z, y, x)

# Voxel index (x, y, z) -> RAS mm of a BraTS image: 1 mm, LPS, an origin off zero.
AFFINE = np.array([[-1.0, 0, 0, 12.0], [0, -1.0, 0, 15.5], [0, 0, 1.0, -7.25], [0, 0, 0, 1]])

# Intensity of brain, NCR (1), ED (2), ET (3); outside the brain 0.
TISSUE: dict[str, tuple[float, float, float, float]] = {
    "t1": (500, 300, 400, 450),
    "t1ce": (400, 400, 400, 1500),
    "t2": (300, 1200, 300, 1200),
    "flair": (300, 900, 900, 900),
}

# File names: modality -> suffix after the case.
STYLES: dict[str, dict[str, str]] = {
    "brats2021": {"t1": "_t1", "t1ce": "_t1ce", "t2": "_t2", "flair": "_flair", "seg": "_seg"},
    "brats2023": {"t1": "-t1n", "t1ce": "-t1c", "t2": "-t2w", "flair": "-t2f", "seg": "-seg"},
}

OUTPUTS: dict[str, tuple[OutputSpec, ...]] = {
    "regions": (OutputSpec("ET", (3,)), OutputSpec("TC", (1, 3)), OutputSpec("WT", (1, 2, 3))),
    "classes": (OutputSpec("NCR", (1,)), OutputSpec("ED", (2,)), OutputSpec("ET", (3,))),
    "whole": (OutputSpec("WT", (1, 2, 3)),),
}


@dataclass(frozen=True)
class Patient:
    """Four sequences and the truth, labels as BraTS 2023."""

    images: dict[str, Volume]
    labels: Volume

    def case(self, modalities: Sequence[str] = MODALITIES, case_id: str = "patient") -> Case:
        return Case(case_id, {name: self.images[name] for name in modalities})


def make_patient(
    shape: tuple[int, int, int] = SHAPE,
    affine: np.ndarray = AFFINE,
    *,
    centre: Sequence[float] = (0.5, 0.55, 0.4),
    radii: tuple[float, float, float] = (2.5, 4.0, 5.5),
    seed: int = 0,
) -> Patient:
    """A patient on a grid of ``shape`` (z, y, x); ``radii`` in voxels of NCR, TC and WT around ``centre`` (0 to 1)."""
    size = np.asarray(shape)
    index = np.moveaxis(np.indices(shape, dtype=np.float64), 0, -1)
    brain = (((index - (size - 1) / 2) / (0.46 * size)) ** 2).sum(-1) < 1
    distance = np.linalg.norm(index - np.asarray(centre) * (size - 1), axis=-1)
    labels = np.zeros(shape, dtype=np.uint8)
    for radius, label in zip(reversed(radii), (2, 3, 1), strict=True):
        labels[(distance < radius) & brain] = label
    noise = np.random.default_rng(seed)
    images = {}
    for name, values in TISSUE.items():
        image = np.choose(labels, values) + noise.normal(0, 8, shape)
        images[name] = Volume(np.where(brain, np.round(image), 0).astype(np.int16), affine, name)
    return Patient(images, Volume(labels, affine, "truth"))


def write_patient(
    folder: Path,
    patient: Patient | None = None,
    *,
    style: str = "brats2021",
    case_id: str | None = None,
    modalities: Sequence[str] = MODALITIES,
    labels: bool = True,
    suffix: str = ".nii.gz",
) -> Path:
    """A case folder as BraTS 2021 or 2023 ships it; returns ``folder/case_id``."""
    patient = patient or make_patient()
    case_id = case_id or ("BraTS2021_00001" if style == "brats2021" else "BraTS-GLI-00001-000")
    place = folder / case_id
    place.mkdir(parents=True)
    for name in modalities:
        write_volume(patient.images[name], place / f"{case_id}{STYLES[style][name]}{suffix}")
    if labels:
        values = write_labels(patient.labels.array, style)
        write_volume(patient.labels.with_array(values), place / f"{case_id}{STYLES[style]['seg']}{suffix}")
    return place


def write_decathlon(path: Path, patient: Patient | None = None) -> Path:
    """The patient as one Decathlon file: (x, y, z, channel), channels FLAIR, T1w, T1gd, T2w."""
    patient = patient or make_patient()
    channels = np.stack([patient.images[name].array.transpose() for name in ("flair", "t1", "t1ce", "t2")], axis=-1)
    nibabel.save(nibabel.Nifti1Image(channels, patient.labels.affine), path)
    return path


def describe_model(
    dimensions: int = 3,
    *,
    outputs: str | tuple[OutputSpec, ...] = "regions",
    modalities: tuple[str, ...] = MODALITIES,
    **changes: Any,
) -> Description:
    """A complete description of a one-level U-Net of width 8; ``changes`` replace its fields."""
    chosen = OUTPUTS[outputs] if isinstance(outputs, str) else outputs
    values: dict[str, Any] = {
        "id": f"tiny-{dimensions}d",
        "title": f"Tiny {dimensions}D U-Net",
        "version": "1.0",
        "dimensions": dimensions,
        "network": NetworkSpec("unet", {"width": 8, "levels": 1}),
        "modalities": modalities,
        "outputs": chosen,
        "preprocessing": PreprocessingSpec(spacing=(1.0, 1.0, 1.0) if dimensions == 3 else (0.0, 1.0, 1.0)),
        "tiling": TilingSpec((32, 32, 32) if dimensions == 3 else (0, 0), 0.5),
        "training": TrainingRecord(data="synthetic", training_cases=("a", "b"), validation_cases=("c",), steps=0),
        "accuracy": (AccuracyRecord("synthetic", 1, "dice", "brats2023", {"WT": 1.0}),),
        "data_licence": "CC0-1.0",
        "weights_licence": "Apache-2.0",
    }
    return Description(**{**values, **changes})


def oracle_weights(description: Description) -> dict[str, Any]:
    """Weights that make the one-level U-Net a function of each voxel alone, see :func:`_readout`."""
    import torch

    from BrainTumorSegLib.networks import create_network

    network = create_network(
        "unet",
        dimensions=description.dimensions,
        in_channels=len(description.modalities),
        out_channels=len(description.outputs),
        arguments=description.network.arguments,
    ).eval()
    weights = {name: torch.zeros(tensor.shape, dtype=tensor.dtype) for name, tensor in network.state_dict().items()}
    middle = (1,) * description.dimensions
    count = len(description.modalities)
    for name in weights:
        if name.endswith("running_var") or (name.endswith("weight") and weights[name].ndim == 1):
            weights[name] += 1  # batch normalisation that changes nothing
    for channel in range(count):  # ReLU cuts, so each input goes through twice: as it is and negated
        weights["encoders.0.0.weight"][(2 * channel, channel, *middle)] = 1
        weights["encoders.0.0.weight"][(2 * channel + 1, channel, *middle)] = -1
    for channel in range(2 * count):
        weights["encoders.0.3.weight"][(channel, channel, *middle)] = 1
        weights["decoders.0.0.weight"][(channel, 8 + channel, *middle)] = 1  # the skip lies behind the 8 from below
        weights["decoders.0.3.weight"][(channel, channel, *middle)] = 1
    for index, output in enumerate(description.outputs):
        for modality, factor in _readout(output).items():
            if modality in description.modalities:
                channel = 2 * description.modalities.index(modality)
                weights["head.weight"][index, channel] = factor
                weights["head.weight"][index, channel + 1] = -factor
        weights["head.bias"][index] = -8.0
    return weights


def _readout(output: OutputSpec) -> Mapping[str, float]:
    """Output → factor of each z-scored sequence; the logit is their sum - 8, so 1 standard deviation decides."""
    return {
        (3,): {"t1ce": 8.0},
        (1, 3): {"t2": 8.0},
        (1, 2, 3): {"flair": 8.0},
        (2,): {"flair": 8.0, "t2": -8.0},
        (1,): {"t2": 8.0, "t1ce": -8.0},
    }[output.labels]


def make_oracle(dimensions: int = 3, **changes: Any) -> Checkpoint:
    """A checkpoint that finds the tumour of :func:`make_patient` exactly; arguments as :func:`describe_model`."""
    description = describe_model(dimensions, **changes)
    return Checkpoint(description, oracle_weights(description))


def write_oracle(path: Path, dimensions: int = 3, **changes: Any) -> Path:
    """The same as a file."""
    checkpoint = make_oracle(dimensions, **changes)
    return save_checkpoint(checkpoint.description, checkpoint.weights, path)


def with_field(description: Description, path: str, value: Any) -> dict[str, Any]:
    """The description as plain values with one field (``a.b``) replaced."""
    values = dataclasses.asdict(description)
    place = values
    *parents, name = path.split(".")
    for parent in parents:
        place = place[parent]
    place[name] = value
    return values
