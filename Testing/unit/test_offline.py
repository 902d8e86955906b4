"""No test reaches another machine, nor does a process that a test starts: the guard of :mod:`Testing.offline`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from BrainTumorSegLib import engine_process
from Testing.offline.sitecustomize import NetworkError

# Addresses that are kept for examples: nobody answers there.
ELSEWHERE, ELSEWHERE_6 = "192.0.2.1", "2001:db8::1"
TRIES: dict[str, Callable[[], object]] = {
    "socket.connect to 192.0.2.1": lambda: socket.socket().connect((ELSEWHERE, 80)),
    "socket.connect to 2001:db8::1": lambda: socket.socket(socket.AF_INET6).connect((ELSEWHERE_6, 80)),
    "socket.sendto to 192.0.2.1": lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"?", (ELSEWHERE, 53)),
    "socket.getaddrinfo of 'example.org'": lambda: urllib.request.urlopen("https://example.org", timeout=1),
    "socket.gethostbyname of 'example.org'": lambda: socket.gethostbyname("example.org"),
}


@pytest.mark.parametrize("tried", TRIES)
def test_the_test_process_reaches_nobody(tried: str, network_record: Path) -> None:
    with pytest.raises(NetworkError, match=tried):
        TRIES[tried]()
    assert network_record.read_text() == f"{tried}\n"
    network_record.unlink()


@pytest.mark.parametrize("of_the_runner", [False, True])
def test_nor_does_a_child_that_swallows_the_error(
    of_the_runner: bool, network_record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the panel starts the engine, too: with its own path, without the current folder."""
    monkeypatch.chdir(tmp_path)
    code = f"import socket\ntry: socket.socket().connect(({ELSEWHERE!r}, 80))\nexcept Exception as e: print(repr(e))"
    done = subprocess.run(
        [sys.executable, *(["-P"] if of_the_runner else []), "-c", code],
        env=engine_process.environment() if of_the_runner else None,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("NetworkError"), done.stderr
    assert network_record.read_text() == f"socket.connect to {ELSEWHERE}\n"
    network_record.unlink()


def test_no_process_is_started_without_it(network_record: Path) -> None:
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with pytest.raises(NetworkError, match="PYTHONPATH"):
        subprocess.run([sys.executable, "-c", ""], env=bare, check=False)
    network_record.unlink()


def test_this_machine_is_within_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as there:
        there.sendall(b"x")
        accepted, _ = server.accept()
        assert accepted.recv(1) == b"x"
        accepted.close()
    one, other = socket.socketpair()
    one.close()
    other.close()


def test_a_download_asks_for_another_machine(network_record: Path, tmp_path: Path) -> None:
    """What the one command that downloads would do: here it would be seen."""
    from BrainTumorSegLib.io.sample_patient import fetch_sample

    with pytest.raises(NetworkError):
        fetch_sample()
    assert "github.com" in network_record.read_text()
    network_record.unlink()
