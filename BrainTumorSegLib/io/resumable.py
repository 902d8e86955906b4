"""Large files from the internet: a download that breaks off goes on where it was, also another day."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..domain.errors import ExecutionError
from ..domain.progress import Progress
from .fetch import CHUNK, TIMEOUT_SECONDS, reason_of

if TYPE_CHECKING:
    from http.client import HTTPResponse

ATTEMPTS = 4
_UNCHANGED, _PARTIAL, _BEYOND = ".etag", 206, 416


def fetch_resumed(
    address: str, part: Path, progress: Progress, *, largest: int, remedy: str = "Check the connection and try again."
) -> Path:
    """Fetch a whole file into ``part``, beginning after what lies there; the environment's proxies are used.

    What has come stays there when it fails or is cancelled, for the next time. A server that has changed the file
    since, or cannot begin in the middle, sends all of it again.

    Args:
        address: http or https.
        part: a file of its own in a folder that exists.
        progress: hears of the share that has come (stage ``download``); its cancellation ends the download.
        largest: bytes that the file may have.
        remedy: what the user can do where it fails.

    Raises:
        ExecutionError: the connection fails, breaks off more often than it is tried, or the file is too large.
        CancelledError: cancelled through ``progress``.
    """
    for attempt in range(ATTEMPTS):
        before = _size(part)
        try:
            if _fetch(address, part, progress, largest):
                _tag(part).unlink(missing_ok=True)
                return part
            problem: Exception = ConnectionError("the connection broke off")
        except ExecutionError:
            raise
        except Exception as error:
            if not _of_the_connection(error):
                raise
            problem = error
        if attempt + 1 == ATTEMPTS or (_size(part) == before and _is_answer(problem)):
            raise ExecutionError(f"{address} cannot be downloaded ({reason_of(problem)}).", remedy) from problem
    raise AssertionError("the last attempt returns or raises")


def _fetch(address: str, part: Path, progress: Progress, largest: int) -> bool:
    """One attempt; whether the file is whole."""
    import urllib.error
    import urllib.request

    done, headers = _size(part), {}
    with suppress(OSError, UnicodeDecodeError):
        tag = _tag(part).read_text("ascii")
        headers = {"Range": f"bytes={done}-", "If-Range": tag} if done and tag else {}
    request = urllib.request.Request(address, headers=headers)
    try:
        # An opener of its own: the one that urllib keeps knows the proxies of when it was made.
        answer: HTTPResponse = urllib.request.build_opener().open(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == _BEYOND and headers:  # all of it is there, or it is another file by now
            part.unlink(missing_ok=True)
            return _fetch(address, part, progress, largest)
        raise
    with answer:
        if answer.status != _PARTIAL:
            done = 0
        expected = done + _number(answer.headers.get("Content-Length"))
        if expected > largest:
            raise ExecutionError(
                f"{address} is larger than {largest >> 20} MB.", "Download it yourself and add the file."
            )
        # Without a sign of the file's state it cannot be gone on with.
        _tag(part).write_text(answer.headers.get("ETag") or answer.headers.get("Last-Modified") or "", "ascii")
        with part.open("ab" if done else "wb") as target:
            while piece := answer.read(CHUNK):
                done += len(piece)
                if done > largest:
                    raise ExecutionError(f"{address} has no end.", "Download it yourself and add the file.")
                target.write(piece)
                progress.report("download", done / expected if expected >= done else 0.0, f"Downloading {part.stem}")
        return not answer.headers.get("Content-Length") or done >= expected


def digests(file: Path) -> tuple[str, str]:
    """Hexadecimal SHA-256 and SHA-1 of a file."""
    sha256, sha1 = hashlib.sha256(), hashlib.sha1(usedforsecurity=False)
    with file.open("rb") as content:
        while piece := content.read(1 << 20):
            sha256.update(piece)
            sha1.update(piece)
    return sha256.hexdigest(), sha1.hexdigest()


def _of_the_connection(error: Exception) -> bool:
    import http.client

    return isinstance(error, http.client.HTTPException | OSError)


def _is_answer(error: Any) -> bool:
    """Whether a server said no, which it will say again."""
    return isinstance(getattr(error, "code", None), int)


def _tag(part: Path) -> Path:
    return part.with_name(part.name + _UNCHANGED)


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return 0


def _number(said: str | None) -> int:
    return int(said) if said and said.isascii() and said.isdigit() and len(said) < 16 else 0
