"""Downloads from a server on this machine: whole, checked, or not at all; and the sample patient."""

from __future__ import annotations

import errno
import functools
import hashlib
import http.client
import http.server
import socket
import ssl
import threading
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from BrainTumorSegLib.domain.errors import CancelledError, ExecutionError
from BrainTumorSegLib.domain.progress import Progress
from BrainTumorSegLib.io import fetch, sample_patient
from BrainTumorSegLib.io.case_folder import read_case
from BrainTumorSegLib.io.fetch import CHUNK, download
from BrainTumorSegLib.io.sample_patient import SAMPLE, fetch_sample
from Testing import samples


def certificate() -> ssl.SSLCertVerificationError:
    """As a server with a certificate of its own."""
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed (_ssl.c:1006)")
    error.reason, error.verify_message = "CERTIFICATE_VERIFY_FAILED", "self-signed certificate"
    return error


def bad_record() -> ssl.SSLError:
    """As it comes, bare, while a file is read."""
    error = ssl.SSLError(1, "[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC] decryption failed (_ssl.c:2580)")
    error.reason = "DECRYPTION_FAILED_OR_BAD_RECORD_MAC"
    return error


@contextmanager
def serving(content: bytes, length: str | None) -> Iterator[str]:
    """The address of a server that says one length and sends another."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            if length:
                self.send_header("Content-Length", length)
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/f"
        running.shutdown()


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


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (urllib.error.URLError(socket.gaierror(-2, "Name or service not known")), "name of the server is not found"),
        (socket.gaierror(-3, "Temporary failure in name resolution"), "name of the server is not found"),
        (urllib.error.URLError(certificate()), "prove who it is: self-signed"),
        (certificate(), "prove who it is: self-signed"),
        (bad_record(), "secure connection failed"),
        (urllib.error.URLError(bad_record()), "secure connection failed"),
        (urllib.error.URLError(OSError(errno.ENETUNREACH, "Network is unreachable")), "Network is unreachable"),
        (urllib.error.URLError(ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")), "broke off"),
        (urllib.error.URLError(TimeoutError("timed out")), "does not answer"),
        (TimeoutError("The read operation timed out"), "does not answer"),
        (http.client.IncompleteRead(b"", 10), "broke off"),
        (http.client.BadStatusLine("\x1b[2J" * 1000), "broke off"),
        (urllib.error.HTTPError("https://a", 404, "Not Found", http.client.HTTPMessage(), None), "404 Not Found"),
        (OSError("a\n" * 1000), "a a a"),
    ],
    ids=lambda value: repr(value)[:50],
)
def test_what_is_wrong_with_a_connection_is_said_in_words(
    error: Exception, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("urllib.request.urlopen", fail)
    with pytest.raises(ExecutionError, match=word) as caught:
        download("https://example.org/f", tmp_path / "f", "0" * 64)
    said = str(caught.value)
    assert len(said) < 400 and said.isprintable() and "[" not in said and "_" not in said and "Errno" not in said
    assert caught.value.exit_code == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("length", "sent", "word"), [("9", b"1234", "broke off"), ("nine", b"1234", "changed")])
def test_a_server_that_says_what_is_not_true(tmp_path: Path, length: str, sent: bytes, word: str) -> None:
    with serving(sent, length) as address, pytest.raises(ExecutionError, match=word):
        download(address, tmp_path / "f", sha256(b"x"))
    assert not list(tmp_path.iterdir())


def test_what_has_no_end_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "LARGEST", 3 * CHUNK)
    with serving(bytes(20 * CHUNK), None) as address, pytest.raises(ExecutionError, match="larger than"):
        download(address, tmp_path / "f", sha256(b"x"))
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_not_called_a_broken_connection(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    (served.folder / "f.bin").write_bytes(b"x")
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    with pytest.raises(OSError) as caught:
        download_onto_full_disk(served.address + "f.bin", monkeypatch)
    assert caught.value.errno == errno.ENOSPC


def download_onto_full_disk(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def full(_: Path) -> Iterator[Path]:
        yield Path("/dev/full")

    monkeypatch.setattr(fetch, "atomic", full)
    download(address, Path("f"), sha256(b"x"))
