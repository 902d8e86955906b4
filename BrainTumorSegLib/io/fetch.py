"""Files from the internet: whole, checked, or not at all."""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Iterator
from pathlib import Path

from ..domain.errors import ExecutionError
from ..domain.progress import Progress
from .staging import atomic

CHUNK = 1 << 16
LARGEST = 1 << 30  # bytes of any file: what has no end would fill the disk
TIMEOUT_SECONDS = 30.0


def download(
    address: str,
    destination: Path,
    sha256: str,
    progress: Progress | None = None,
    *,
    remedy: str = "Check the connection and try again.",
) -> Path:
    """Fetch a file unless it is there already; it appears only if its SHA-256 is right.

    Args:
        address: http, https or file.
        destination: where it shall lie; its folder is made.
        sha256: hexadecimal digest of the whole file.
        progress: hears of the share that has come (stage ``download``); its cancellation ends the download.
        remedy: what the user can do where it fails.

    Returns:
        ``destination``.

    Raises:
        ExecutionError: no internet, or what came is not that file.
        CancelledError: cancelled through ``progress``.
        OutputError: the file cannot be placed.
    """
    progress = progress or Progress()
    if destination.is_file() and file_sha256(destination) == sha256:
        progress.report("download", 1.0, f"{destination.name} is there")
        return destination
    message = f"Downloading {destination.name}"
    progress.report("download", 0.0, message)
    digest = hashlib.sha256()
    with atomic(destination) as part:
        with part.open("wb") as target:
            for piece, share in _received(address, remedy):
                target.write(piece)
                digest.update(piece)
                progress.report("download", share, message)
        if digest.hexdigest() != sha256:
            raise ExecutionError(f"{destination.name} arrived changed.", f"Try again. {remedy}")
    return destination


def _received(address: str, remedy: str) -> Iterator[tuple[bytes, float]]:
    """What comes, piece by piece, and the share that has come by then; 0 where the server does not say how much will.

    Raises:
        ExecutionError: the connection fails, breaks off or has no end.
    """
    import http.client
    import urllib.request

    done = total = 0
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer:
            total = _size(answer.headers.get("Content-Length"))
            while done <= LARGEST and (piece := answer.read(CHUNK)):
                done += len(piece)
                yield piece, min(done / total, 1.0) if total else 0.0
    except (http.client.HTTPException, OSError) as error:
        raise ExecutionError(f"{address} cannot be downloaded ({reason_of(error)}).", remedy) from error
    if done > LARGEST or done < total:
        what = f"it is larger than {LARGEST >> 20} MB" if done > LARGEST else "the connection broke off"
        raise ExecutionError(f"{address} cannot be downloaded ({what}).", remedy)


def reason_of(error: Exception) -> str:
    """What is wrong with the connection, in words of people."""
    import http.client
    import socket
    import ssl
    import urllib.error

    if isinstance(error, urllib.error.HTTPError):
        return f"the server says {error.code} {error.reason}"
    # An error of SSL has a reason, too: a word in capitals.
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, socket.gaierror):
        return "the name of the server is not found, as without internet"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"the server cannot prove who it is: {reason.verify_message}"
    if isinstance(reason, ssl.SSLError):
        return "the secure connection failed"
    if isinstance(reason, TimeoutError):
        return "the server does not answer"
    if isinstance(reason, ConnectionError | http.client.HTTPException):
        return "the connection broke off"
    said = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return textwrap.shorten(said, 200, placeholder=" …") or type(reason).__name__


def _size(said: str | None) -> int:
    """How many bytes the server says will come; 0 where it does not."""
    return int(said) if said and said.isascii() and said.isdigit() and len(said) < 16 else 0


def file_sha256(file: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
