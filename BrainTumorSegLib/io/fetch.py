"""Files from the internet: whole, checked, or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..domain.errors import ExecutionError
from ..domain.progress import Progress
from .staging import atomic

CHUNK = 1 << 16
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
    import http.client
    import ssl
    import urllib.error
    import urllib.request

    progress = progress or Progress()
    if destination.is_file() and file_sha256(destination) == sha256:
        progress.report("download", 1.0, f"{destination.name} is there")
        return destination
    message = f"Downloading {destination.name}"
    progress.report("download", 0.0, message)
    with atomic(destination) as part:
        digest, done = hashlib.sha256(), 0
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer:
                total = int(answer.headers.get("Content-Length") or 0)
                with part.open("wb") as target:
                    while chunk := answer.read(CHUNK):
                        target.write(chunk)
                        digest.update(chunk)
                        done += len(chunk)
                        progress.report("download", done / total if total else 0.0, message)
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
            raise ExecutionError(f"{address} cannot be downloaded ({_reason(error)}).", remedy) from error
        if digest.hexdigest() != sha256:
            raise ExecutionError(f"{destination.name} arrived changed.", f"Try again. {remedy}")
    return destination


def _reason(error: Exception) -> str:
    """What is wrong with the connection, in words of people."""
    import socket
    import ssl

    reason = getattr(error, "reason", error)
    if isinstance(reason, socket.gaierror):
        return "the name of the server is not found, as without internet"
    if isinstance(reason, ssl.SSLCertVerificationError):
        return f"the server cannot prove who it is: {reason.verify_message}"
    if isinstance(reason, ssl.SSLError):
        return "the secure connection failed"
    return " ".join(str(reason).split()) or type(error).__name__


def file_sha256(file: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
