"""``braintumorseg preprocess`` and what ``segment`` makes of raw scans, as users start them."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from BrainTumorSegLib.io.registry import write_volume
from Testing.raw_scans import raw_scans, someone_elses_t2, true_brain, write_raw

from .making import Cli, make_model


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A folder of raw scans and the brain's mask."""
    return write_raw(tmp_path_factory.mktemp("raw"), raw_scans())


def test_raw_scans_become_files_like_those_of_brats(cli: Cli, raw: tuple[Path, Path], tmp_path: Path) -> None:
    folder, mask = raw
    done = cli("preprocess", folder, "-o", tmp_path / "out", "--brain-mask", mask, "--progress", "none")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    images = {"raw_t1ce.nii.gz", "raw_t2.nii.gz", "raw_brain_mask.nii.gz"}
    assert names == {*images, "raw_t2_to_t1ce.tfm", "raw_preprocessing.json"}
    files = {name: nibabel.load(tmp_path / "out" / name) for name in images}
    brain = np.asarray(files["raw_brain_mask.nii.gz"].dataobj) > 0
    for image in files.values():
        assert image.shape == brain.shape and nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
        np.testing.assert_allclose(image.header.get_zooms(), 1, atol=0.01)
    t2 = np.asarray(files["raw_t2.nii.gz"].dataobj)
    assert ((t2 != 0) & brain).sum() > 0.97 * brain.sum() and not t2[~brain].any()
    size = true_brain(raw_scans()).array.sum() * 8  # voxels of 2 mm
    assert brain.sum() == pytest.approx(size, rel=0.02)
    facts = json.loads((tmp_path / "out" / "raw_preprocessing.json").read_text("utf-8"))
    assert facts["alignment"]["moves"]["t2"]["quality"] > 0.27 and facts["reference"] == "t1ce"


def test_the_result_comes_on_every_grid(cli: Cli, raw: tuple[Path, Path], tmp_path: Path) -> None:
    folder, mask = raw
    model = make_model(tmp_path / "models" / "any.safetensors", optional_modalities=("t1", "t1ce", "t2", "flair"))
    arguments = ["--model", model, "--brain-mask", mask, "--native", "all", "--progress", "none"]
    done = cli("segment", folder, *arguments, "-o", tmp_path / "out" / "o.nii.gz")
    assert done.returncode == 0, done.stderr
    for result, image in (("o.nii.gz", "t1ce.nii.gz"), ("o_on_t2.nii.gz", "t2.nii.gz")):
        found, own = nibabel.load(tmp_path / "out" / result), nibabel.load(folder / image)
        assert found.shape == own.shape
        np.testing.assert_allclose(found.affine, own.affine, atol=1e-4)
    facts = json.loads((tmp_path / "out" / "o.json").read_text("utf-8"))["provenance"]["alignment"]
    assert facts["brain"]["method"] == "given" and list(facts["moves"]) == ["t2"]


def test_sequences_of_two_people_leave_nothing(cli: Cli, raw: tuple[Path, Path], tmp_path: Path) -> None:
    folder, mask = raw
    write_volume(someone_elses_t2(), tmp_path / "t2.nii.gz")
    given = ["--t1ce", folder / "t1ce.nii.gz", "--t2", tmp_path / "t2.nii.gz", "--brain-mask", mask]
    done = cli("preprocess", *given, "-o", tmp_path / "out", "--progress", "none")
    assert done.returncode == 2 and "cannot be registered" in done.stderr and "0." in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and not (tmp_path / "out").exists()
