"""Synthetic patients on the disk, so that benchmarks need no real one's images."""

from __future__ import annotations

import dataclasses
import multiprocessing
from collections.abc import Sequence
from pathlib import Path

WHOLE = (155, 240, 240)


def phantom_case(folder: Path, shape: tuple[int, int, int] = WHOLE, seed: int = 0) -> Path:
    """A case folder with the four sequences of a phantom."""
    phantom_cases([folder], shape, seed)
    return folder


def phantom_cases(folders: Sequence[Path], shape: tuple[int, int, int], seed: int = 0) -> None:
    """A case folder a seed, from ``seed`` on; voxels are of 1 mm, so that fewer of them are a smaller head.

    They are made in a process of their own, whose memory is not counted with what is measured afterwards.
    """
    maker = multiprocessing.get_context("spawn").Process(target=_write, args=(folders, shape, seed))
    maker.start()
    maker.join()
    if maker.exitcode != 0:
        raise SystemExit("no phantom could be made")


def _write(folders: Sequence[Path], shape: tuple[int, int, int], seed: int) -> None:
    from BrainTumorSegLib.io.registry import write_volume
    from BrainTumorSegLib.phantom import make_phantom
    from BrainTumorSegLib.phantom.lattice import affine_of

    for number, folder in enumerate(folders, start=seed):
        folder.mkdir()
        for modality, volume in make_phantom(number, shape).case.images.items():
            placed = dataclasses.replace(volume, affine=affine_of(WHOLE))
            write_volume(placed, folder / f"{folder.name}_{modality}.nii.gz")


def brain_millilitres(case: Path) -> float:
    """Volume of a phantom's brain: what is not 0."""
    import numpy as np

    from BrainTumorSegLib.io.registry import read_volume

    volume = read_volume(next(iter(sorted(case.glob("*_t1.nii.gz")))))
    return float(np.count_nonzero(volume.array) * volume.voxel_volume / 1000)
