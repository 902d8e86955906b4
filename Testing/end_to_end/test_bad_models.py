"""One bad file in the models folder, whatever it is, stops no command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from Testing.forging import forge
from Testing.samples import describe_model, make_oracle, with_field

from .making import write_case

if sys.platform == "win32":
    pytest.skip("pipes and such names are not to be had", allow_module_level=True)


def run(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "BrainTumorSegLib.cli", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)


@pytest.fixture
def bad_home(environment: dict[str, str], tmp_path: Path) -> dict[str, str]:
    folder = tmp_path / "home" / "models"
    folder.mkdir(parents=True)
    os.mkfifo(folder / "pipe.safetensors")
    forge(folder / "red.safetensors", with_field(describe_model(), "title", "\x1b[2J\x1b[31mred"))
    forge(folder / "deep.safetensors", "[" * 100_000)
    (folder / "\x1b]0;title\x07.safetensors").write_bytes(b"none")
    return {**environment, "BRAINTUMORSEG_HOME": str(tmp_path / "home")}


def test_models_and_segment_go_on(bad_home: dict[str, str], model: Path, tmp_path: Path) -> None:
    listed = run(bad_home, "models")
    assert listed.returncode == 0 and b"brats-segresnet" in listed.stdout
    assert listed.stderr.count(b"warning:") == 4 and b"pipe" in listed.stderr
    assert not {0x1B, 0x07} & {*listed.stdout, *listed.stderr}
    done = run(bad_home, "segment", write_case(tmp_path / "case"), "-o", tmp_path / "seg.nii.gz", "--model", model)
    assert done.returncode == 0 and (tmp_path / "seg.nii.gz").is_file(), done.stderr


def test_bad_models_are_refused_with_exit_2(bad_home: dict[str, str], tmp_path: Path) -> None:
    for file in sorted((tmp_path / "home" / "models").iterdir()):
        for arguments in (("models", "add", file), ("models", "info", file)):
            done = run(bad_home, *arguments)
            assert done.returncode == 2 and done.stderr.splitlines()[-1].startswith(b"error: "), done.stderr
            assert not {0x1B, 0x07} & {*done.stdout, *done.stderr} and b"Traceback" not in done.stderr


def test_without_a_home(environment: dict[str, str], tmp_path: Path) -> None:
    """A loop of links, which cannot be looked into by anyone."""
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    done = run({**environment, "BRAINTUMORSEG_HOME": str(tmp_path / "loop")}, "models")
    assert done.returncode == 0 and b"brats-segresnet" in done.stdout and b"cannot be read" in done.stderr


def test_weights_that_give_no_numbers_fail_with_exit_1(environment: dict[str, str], tmp_path: Path) -> None:
    weights = dict(make_oracle().weights)
    for name in weights:
        if name.endswith("running_var"):
            weights[name] = torch.full_like(weights[name], -1.0)  # finite, and its root is not
    bad = forge(tmp_path / "bad.safetensors", with_field(describe_model(), "id", "bad"), weights)
    done = run(environment, "segment", write_case(tmp_path / "case"), "-o", tmp_path / "o" / "s.nii.gz", "--model", bad)
    assert done.returncode == 1 and b"NaN" in done.stderr and b"bad" in done.stderr, done.stderr
    assert not (tmp_path / "o").exists()
