"""One file from the internet, whole, checked and as it shall be, or not at all."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from pathlib import Path

from ..domain.errors import ExecutionError
from ..domain.progress import Progress
from .staging import atomic

_BLOCK = 1 << 18


def has_digest(file: Path, sha256: str) -> bool:
    """Whether a file is there and is the one that is meant."""
    return file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == sha256


def download(address: str, file: Path, sha256: str, progress: Progress | None = None) -> None:
    """Fetch a file, unless it is there already.

    Args:
        address: where from.
        file: where to.
        sha256: what its bytes must add up to.
        progress: told how far it is; ends it when cancelled.

    Raises:
        ExecutionError: no internet, or another file came.
        CancelledError: cancelled through ``progress``.
    """
    progress = progress or Progress()
    if has_digest(file, sha256):
        return
    state, done = hashlib.sha256(), 0
    with atomic(file) as part:
        try:
            with urllib.request.urlopen(address, timeout=30) as answer, part.open("wb") as target:
                size = int(answer.headers.get("Content-Length") or 0)
                while block := answer.read(_BLOCK):
                    target.write(block)
                    state.update(block)
                    done += len(block)
                    progress.report("download", done / size if size else 0.0, f"Downloading {file.name}")
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            raise ExecutionError(
                f"{address} cannot be downloaded ({reason}).", "Is there internet? Try again."
            ) from error
        if state.hexdigest() != sha256:
            raise ExecutionError(f"{file.name} arrived changed.", "Try again later.")
