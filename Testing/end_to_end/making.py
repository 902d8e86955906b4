"""Small cases and models for the command line: files on disk, random weights."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import torch

from BrainTumorSegLib.models.checkpoint_file import save_checkpoint
from BrainTumorSegLib.models.description import Description, NetworkSpec, OutputSpec, PreprocessingSpec, TilingSpec
from BrainTumorSegLib.networks import create_network

AFFINE = np.array([[-1.0, 0, 0, 10], [0, -1.0, 0, 20], [0, 0, 1.5, -30], [0, 0, 0, 1]])
SHAPE_XYZ = (26, 30, 20)
REGION_OUTPUTS = (OutputSpec("ET", (3,)), OutputSpec("TC", (1, 3)), OutputSpec("WT", (1, 2, 3)))
TISSUE_OUTPUTS = (OutputSpec("ED", (2,)), OutputSpec("ET", (3,)), OutputSpec("NCR", (1,)))

Cli = Callable[..., subprocess.CompletedProcess[str]]


def make_model(path: Path, *, dimensions: int = 3, tiling: TilingSpec | None = None, **changes: object) -> Path:
    """A sound checkpoint with random weights, seeded."""
    torch.manual_seed(0)
    outputs = REGION_OUTPUTS if dimensions == 3 else TISSUE_OUTPUTS
    network = NetworkSpec("unet", {"width": 2, "levels": 1})
    values: dict[str, object] = {
        "id": path.stem,
        "title": "A network that learnt nothing",
        "version": "1",
        "dimensions": dimensions,
        "network": network,
        "modalities": ("t1", "t1ce", "t2", "flair"),
        "outputs": outputs,
        "preprocessing": PreprocessingSpec(spacing=(1.5, 1.0, 1.0) if dimensions == 3 else (0.0, 1.0, 1.0)),
        "tiling": tiling or (TilingSpec((16, 16, 16)) if dimensions == 3 else TilingSpec((0, 0), 0.0)),
        **changes,
    }
    built = create_network(
        network.family, dimensions=dimensions, in_channels=4, out_channels=3, arguments=network.arguments
    )
    return save_checkpoint(Description(**values), built.state_dict(), path)  # type: ignore[arg-type]


def make_images(seed: int = 0, shape_xyz: tuple[int, ...] = SHAPE_XYZ) -> dict[str, np.ndarray]:
    """Four sequences of noise inside a box, zero outside, indexed ``(x, y, z)`` as nibabel has it."""
    generator = np.random.default_rng(seed)
    images = {}
    for name in ("t1", "t1ce", "t2", "flair"):
        images[name] = np.zeros(shape_xyz, dtype=np.int16)
        inside = tuple(slice(3, size - 2) for size in shape_xyz)
        images[name][inside] = generator.integers(50, 900, images[name][inside].shape)
    return images


# Of the cohort that tests segment.
CASES = tuple(f"P{number}" for number in range(4))


def write_case(folder: Path, spelling: str = "{case}_{name}.nii.gz", names: dict[str, str] | None = None) -> Path:
    """A case folder; ``names`` translates modalities to the file names' words."""
    folder.mkdir(parents=True, exist_ok=True)
    for modality, array in make_images().items():
        name = (names or {}).get(modality, modality)
        nibabel.save(nibabel.Nifti1Image(array, AFFINE), folder / spelling.format(case=folder.name, name=name))
    return folder
