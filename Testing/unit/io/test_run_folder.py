"""Temporary folders: gone with their run, also where it was killed, and kept while it lives."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from BrainTumorSegLib.io import run_folder
from BrainTumorSegLib.io.run_folder import PREFIX, RunFolder, sweep
from Testing.forging import forge
from Testing.offline import python_path
from Testing.samples import describe_model

ROOT = Path(__file__).resolve().parents[3]
# Programs that stop in the middle of what they use a temporary folder for.
WAITING = "print('there', flush=True); sys.stdin.read()"
OWNERS = {
    "a run": f"import sys\nfrom BrainTumorSegLib.io.run_folder import run_folder\nwith run_folder() as f: {WAITING}",
    "models add": (
        "import sys\nfrom BrainTumorSegLib.models import catalogue\n"
        f"def wait(*_): {WAITING}\n"
        "catalogue.checkpoint_of = wait\ncatalogue.add('x')"
    ),
    "brain extraction": (
        "import sys\nimport numpy as np\nfrom BrainTumorSegLib.domain.volume import Volume\n"
        "from BrainTumorSegLib.domain.progress import Progress\n"
        "from BrainTumorSegLib.preprocessing.brain_extraction import hd_bet, synthstrip\n"
        f"def wait(*_): {WAITING}\n"
        "hd_bet.run_tool = synthstrip.run_tool = wait\n"
        "method = {'h': hd_bet.HdBet, 's': synthstrip.SynthStrip}[sys.argv[1]]()\n"
        "method.find(Volume(np.ones((3, 4, 5), np.int16), np.eye(4), 'head'), Progress())"
    ),
    "DICOM": (
        "import sys\nimport SimpleITK as sitk\nfrom pydicom import Dataset\n"
        "from pydicom.dataset import FileMetaDataset\n"
        "from BrainTumorSegLib.io.dicom import series\n"
        f"def wait(*_, **__): {WAITING}\n"
        "sitk.ReadImage = wait\n"
        "d = Dataset()\nd.file_meta = FileMetaDataset()\n"
        "d.SOPClassUID, d.SOPInstanceUID = '1.2.840.10008.5.1.4.1.1.4', '1.2.3'\n"
        "d.file_meta.TransferSyntaxUID = '1.2.840.10008.1.2.1'\n"
        "d.Rows = d.Columns = 2\nd.BitsAllocated = 16\nd.PixelData = bytes(8)\nd['PixelData'].VR = 'OW'\n"
        "series._unpacked(d)"
    ),
}
CASES = [("a run", ""), ("models add", ""), ("brain extraction", "h"), ("brain extraction", "s"), ("DICOM", "")]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder, of this test alone."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setenv("PYTHONPATH", python_path(ROOT))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    run_folder._sweep_once.cache_clear()
    return folder


@contextmanager
def running(code: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has come to where it waits."""
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"there\n"
        try:
            yield process
        finally:
            process.kill()


def again() -> None:
    """What the next process does."""
    run_folder._sweep_once.cache_clear()
    sweep()


@pytest.mark.parametrize(("owner", "argument"), CASES)
def test_the_next_run_removes_what_a_killed_one_left(temporary: Path, owner: str, argument: str) -> None:
    with running(OWNERS[owner], argument) as process:
        (left,) = temporary.iterdir()
        assert left.name.startswith(PREFIX)
        again()
        assert list(temporary.iterdir()) == [left]  # it lives
        process.kill()
        process.wait()
        assert list(temporary.iterdir()) == [left]
        again()
    assert not list(temporary.iterdir())


def test_any_command_is_a_next_run(temporary: Path) -> None:
    with running(OWNERS["a run"]) as dead, running(OWNERS["a run"]):
        dead.kill()
        dead.wait()
        assert len(list(temporary.iterdir())) == 2
        subprocess.run([sys.executable, "-m", "BrainTumorSegLib.cli", "models"], check=True, capture_output=True)
        assert len(list(temporary.iterdir())) == 1


def test_a_folder_goes_with_its_run_and_is_empty_at_first(temporary: Path) -> None:
    held = RunFolder.make()
    assert not list(held.path.iterdir())
    (held.path / "deep").mkdir()
    (held.path / "deep" / "file").write_text("x")
    again()
    assert held.path.is_dir()
    held.remove()
    held.remove()
    with pytest.raises(ZeroDivisionError), run_folder.run_folder() as path:
        (path / "file").write_text("x")
        raise ZeroDivisionError
    assert not list(temporary.iterdir())


def test_what_is_not_ours_stays(temporary: Path, tmp_path: Path) -> None:
    """Of such names: links, files, folders without a mark, and marks of no run."""
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").write_text("x")
    (temporary / f"{PREFIX}link").symlink_to(tmp_path / "precious")
    (temporary / f"{PREFIX}file").write_text("x")
    for name in ("full", "new", "old", "forged"):
        (temporary / f"{PREFIX}{name}").mkdir()
    (temporary / f"{PREFIX}full" / "thesis").write_text("x")
    if hasattr(os, "mkfifo"):
        os.mkfifo(temporary / f"{PREFIX}forged" / ".bts-00000000-1-00000000.run")
    for name in ("full", "old"):
        os.utime(temporary / f"{PREFIX}{name}", (time.time() - 9999,) * 2)
    again()
    names = {path.name.removeprefix(PREFIX) for path in temporary.iterdir()}
    assert names == {"link", "file", "full", "new", "forged"}  # an old empty one was left before it had a mark
    assert (tmp_path / "precious" / "file").is_file() and (temporary / f"{PREFIX}full" / "thesis").is_file()


def test_no_place_is_an_error_of_the_system(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "gone"))
    with pytest.raises(FileNotFoundError):
        RunFolder.make()


def test_models_add_leaves_nothing(temporary: Path, tmp_path: Path) -> None:
    from BrainTumorSegLib.models.catalogue import add

    assert add(forge(tmp_path / "m.safetensors", dataclasses.asdict(describe_model()))).path.is_file()
    assert not list(temporary.iterdir())
