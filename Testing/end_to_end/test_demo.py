"""``braintumorseg demo``: the synthetic patient with the models that are included."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

import BrainTumorSegLib
from BrainTumorSegLib.domain.labels import ET
from BrainTumorSegLib.domain.options import DEFAULT_MODEL
from BrainTumorSegLib.models.catalogue import load_model
from BrainTumorSegLib.phantom import make_phantom

from .making import Cli

SEEDS = (0, 1, 2, 3, 4)


def test_demo_writes_a_result_that_can_be_looked_at(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "demo-out"
    done = cli("demo", "-o", out, "--progress", "json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])["result"]
    assert result["measurements"]["WT"]["volume_ml"] > result["measurements"]["ET"]["volume_ml"] > 0
    assert {path.name for path in out.iterdir()} == {
        "segmentation.nii.gz", "segmentation.json", "montage.png", "report.html", "images",
    }  # fmt: skip
    labels = nibabel.load(out / "segmentation.nii.gz")
    image = nibabel.load(out / "images" / "t1ce.nii.gz")
    assert labels.shape == image.shape == (240, 240, 155)
    assert np.array_equal(labels.affine, image.affine)
    assert (out / "montage.png").read_bytes().startswith(b"\x89PNG")
    assert "not for clinical use" in (out / "report.html").read_text(encoding="utf-8")


def test_demo_that_cannot_write(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = cli("demo", "-o", tmp_path / "file", "--progress", "none")
    assert done.returncode == 2 and "is a file" in done.stderr


@pytest.mark.slow
def test_the_shipped_model_finds_the_synthetic_tumours() -> None:
    checkpoint = load_model(DEFAULT_MODEL)
    rows = []
    for seed in SEEDS:
        phantom = make_phantom(seed)
        measures = BrainTumorSegLib.evaluate(BrainTumorSegLib.segment(phantom.case, checkpoint), phantom.labels)
        rows.append([measures[region]["dice"] for region in ("WT", "TC", "ET")])
        print(seed, rows[-1])
    whole, core, enhancing = np.mean(rows, axis=0)
    assert whole >= 0.8 and core >= 0.7 and enhancing >= 0.5


@pytest.mark.slow
def test_a_synthetic_tumour_that_does_not_enhance_gets_no_enhancement() -> None:
    result = BrainTumorSegLib.segment(make_phantom(0, enhancing=False).case, load_model(DEFAULT_MODEL))
    assert (result.labels.array > 0).any() and not (result.labels.array == ET).any()
    assert any("No enhancement was found" in warning for warning in result.warnings)
