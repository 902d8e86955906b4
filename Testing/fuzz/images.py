"""Damaged and hostile images for the campaign: sound small files of every format, changed in one of many ways."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import read_label_map, read_volume, write_volume
from Testing.fuzz.child import Sample


def make(seed: tuple[int, int], folder: Path) -> Sample:
    """See :class:`Testing.fuzz.child.Subject`."""
    rng = np.random.default_rng(seed)
    suffix = str(rng.choice([".nii", ".nii.gz", ".mha", ".nrrd"]))
    path = folder / f"t1{suffix}"
    write_volume(Volume(rng.integers(0, 4, (4, 5, 6)).astype(np.uint8), np.eye(4)), path)
    content = bytearray(path.read_bytes())
    content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)
    return Sample(path, f"{suffix} bit")


def read(path: Path) -> None:
    """See :class:`Testing.fuzz.child.Subject`."""
    read_volume(path)
    read_label_map(path)
