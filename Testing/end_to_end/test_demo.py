"""``braintumorseg demo``: the synthetic patient with the models that come along, and the download of the real one."""

from __future__ import annotations

import functools
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest

import BrainTumorSegLib
from BrainTumorSegLib.domain.errors import ExecutionError
from BrainTumorSegLib.io import sample_patient
from BrainTumorSegLib.io.case_folder import read_case
from BrainTumorSegLib.models.catalogue import load_model
from BrainTumorSegLib.phantom import make_phantom

from .making import Cli, write_case

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
    checkpoint = load_model("brats-segresnet")
    rows = []
    for seed in SEEDS:
        phantom = make_phantom(seed)
        measures = BrainTumorSegLib.evaluate(BrainTumorSegLib.segment(phantom.case, checkpoint), phantom.labels)
        rows.append([measures[region]["dice"] for region in ("WT", "TC", "ET")])
        print(seed, rows[-1])
    whole, core, enhancing = np.mean(rows, axis=0)
    assert whole >= 0.8 and core >= 0.7 and enhancing >= 0.5


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that stands for the place where the sample lies, served on this machine."""
    names = {"t1": "t1n", "t1ce": "t1c", "t2": "t2w", "flair": "t2f"}
    folder = write_case(tmp_path / sample_patient.SAMPLE, "{case}-{name}.nii.gz", names)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        digests = {
            name: hashlib.sha256((folder / f"{sample_patient.SAMPLE}-{name}.nii.gz").read_bytes()).hexdigest()
            for name in sample_patient.SAMPLE_SHA256
        }
        monkeypatch.setattr(sample_patient, "SAMPLE_ADDRESS", f"http://127.0.0.1:{running.server_port}/")
        monkeypatch.setattr(sample_patient, "SAMPLE_SHA256", digests)
        monkeypatch.setenv("BRAINTUMORSEG_HOME", str(tmp_path / "home"))
        yield folder
        running.shutdown()


def test_the_sample_is_downloaded_once_and_checked(server: Path, tmp_path: Path) -> None:
    case = read_case(sample_patient.fetch_sample())
    assert case.id == sample_patient.SAMPLE and case.modalities == ("t1", "t1ce", "t2", "flair")
    for file in server.iterdir():
        file.unlink()  # the second time nothing is asked for
    assert read_case(sample_patient.fetch_sample()).modalities == case.modalities


def test_a_sample_that_arrives_changed_or_not_at_all(server: Path, tmp_path: Path) -> None:
    first = server / f"{sample_patient.SAMPLE}-t1c.nii.gz"
    content = first.read_bytes()
    first.write_bytes(content + b"more")
    with pytest.raises(ExecutionError, match="arrived changed"):
        sample_patient.fetch_sample()
    first.unlink()
    with pytest.raises(ExecutionError, match="cannot be downloaded"):
        sample_patient.fetch_sample()
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
