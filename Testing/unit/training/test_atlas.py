"""The average of training brains."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import read_volume, write_volume

AFFINE = np.diag([-1.0, -1, 1, 1])


def write_patient(folder: Path, name: str, scale: float, last: int, affine: np.ndarray = AFFINE) -> None:
    """A box of two grey values, 18 to 10, of which ``last`` voxels reach beyond that of others."""
    image = np.zeros((40, 40, 40), dtype=np.float32)
    image[8:32, 8:32, 8 : 32 + last] = 10 * scale
    image[8:14, 8:32, 8:32] = 18 * scale
    (folder / name).mkdir()
    write_volume(Volume(image, affine), folder / name / f"{name}_t1.nii.gz")


def run(folder: Path, *train: str) -> subprocess.CompletedProcess[str]:
    parts = {"train": train, "validation": ["missing"]}
    (folder / "split.json").write_text(json.dumps(parts), encoding="utf-8")
    command = [sys.executable, "-m", "Training.atlas", str(folder), "-o", str(folder / "atlas.nii.gz")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_atlas_is_the_mean_of_images_over_their_medians_where_most_have_brain(tmp_path: Path) -> None:
    for name, scale, last in (("a", 1, 0), ("b", 3, 0), ("c", 7, 4)):
        write_patient(tmp_path, name, scale, last)
    done = run(tmp_path, "a", "b", "c")
    assert done.returncode == 0 and "3 patients" in done.stdout
    found = read_volume(tmp_path / "atlas.nii.gz")
    assert found.array.dtype == np.uint8 and found.spacing == (2, 2, 2)
    assert float(np.median(found.array[found.array > 60])) == pytest.approx(120, abs=3)  # 1 is stored as 120
    assert int(found.array.max()) == pytest.approx(216, abs=3)
    index = np.argwhere(found.array > 60)[:, ::-1]
    places = index @ found.affine[:3, :3].T + found.affine[:3, 3]
    assert places.min(axis=0) == pytest.approx((-31, -31, 8), abs=1.1)  # four more voxels of one patient are left out
    assert places.max(axis=0) == pytest.approx((-8, -8, 31), abs=1.1)


def test_patients_in_other_places_make_no_atlas(tmp_path: Path) -> None:
    write_patient(tmp_path, "a", 1, 0)
    write_patient(tmp_path, "b", 1, 0, np.diag([-1.1, -1, 1, 1]))
    done = run(tmp_path, "a", "b")
    assert done.returncode == 2 and "b lies on another grid" in done.stderr
    assert not (tmp_path / "atlas.nii.gz").exists()
