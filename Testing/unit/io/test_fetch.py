"""Downloads from a server on this machine: whole, checked, or not at all; and the sample patient."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from BrainTumorSegLib.domain.errors import CancelledError, ExecutionError
from BrainTumorSegLib.domain.progress import Progress
from BrainTumorSegLib.io import sample_patient
from BrainTumorSegLib.io.case_folder import read_case
from BrainTumorSegLib.io.fetch import CHUNK, download
from BrainTumorSegLib.io.sample_patient import SAMPLE, fetch_sample
from Testing import samples


@dataclass(frozen=True)
class Served:
    """A folder that stands for the internet."""

    folder: Path
    address: str


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    folder = tmp_path / "served"
    folder.mkdir()

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield Served(folder, f"http://127.0.0.1:{running.server_port}/")
        running.shutdown()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_arrives_and_its_progress_rises_to_the_end(served: Served, tmp_path: Path) -> None:
    content = bytes(range(256)) * (3 * CHUNK // 256)
    (served.folder / "f.bin").write_bytes(content)
    fractions: list[float] = []
    progress = Progress(lambda stage, fraction, message: fractions.append(fraction))
    file = download(served.address + "f.bin", tmp_path / "new" / "f.bin", sha256(content), progress)
    assert file.read_bytes() == content
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] == 1 and len(fractions) > 3
    (served.folder / "f.bin").unlink()  # what is there is not asked for again
    assert download(served.address + "f.bin", file, sha256(content)).read_bytes() == content


def test_a_file_that_arrives_changed_or_not_at_all_leaves_what_was_there(served: Served, tmp_path: Path) -> None:
    (served.folder / "f.bin").write_bytes(b"other")
    (tmp_path / "f.bin").write_bytes(b"old")
    for name, word in (("f.bin", "arrived changed"), ("none.bin", "cannot be downloaded")):
        with pytest.raises(ExecutionError, match=word):
            download(served.address + name, tmp_path / "f.bin", sha256(b"right"))
        assert (tmp_path / "f.bin").read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"served", "f.bin"}


def test_a_cancelled_download_leaves_nothing(served: Served, tmp_path: Path) -> None:
    content = bytes(8 * CHUNK)
    (served.folder / "f.bin").write_bytes(content)
    progress = Progress()

    def listen(stage: str, fraction: float, message: str) -> None:
        if fraction > 0.3:
            progress.cancelled.set()

    progress.listener = listen
    with pytest.raises(CancelledError):
        download(served.address + "f.bin", tmp_path / "out" / "f.bin", sha256(content), progress)
    assert not (tmp_path / "out").exists()


def test_the_sample_is_downloaded_once_and_read_as_a_case(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = samples.write_patient(tmp_path / "made", style="brats2023", case_id=SAMPLE, labels=False)
    digests = {}
    for file in folder.iterdir():
        (served.folder / file.name).write_bytes(file.read_bytes())
        digests[file.name] = sha256(file.read_bytes())
    assert set(digests) == set(sample_patient.SAMPLE_FILES)
    monkeypatch.setattr(sample_patient, "SAMPLE_ADDRESS", served.address)
    monkeypatch.setattr(sample_patient, "SAMPLE_FILES", digests)
    monkeypatch.setenv("BRAINTUMORSEG_HOME", str(tmp_path / "home"))
    case = read_case(fetch_sample())
    assert case.id == SAMPLE and case.modalities == ("t1", "t1ce", "t2", "flair")
    for file in served.folder.iterdir():
        file.unlink()
    assert len(list(fetch_sample(Progress()).iterdir())) == 4
