"""A server on this machine with a model to download, and the list that names it."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Served:
    """What a server gives, and what it was asked."""

    content: bytes = b""
    etag: str = '"1"'
    breaks: list[int] = field(default_factory=list)  # bytes after which an answer breaks off
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    address: str = ""
    pause: float = 0.0  # seconds before each tenth of the content

    def entry(self, **changes: Any) -> dict[str, Any]:
        """What a list says of the content, as a tiny model of nnU-Net."""
        return {
            "id": "tiny",
            "title": "Tiny",
            "purpose": "Tests",
            "importer": "nnunet",
            "url": f"{self.address}/tiny.zip",
            "bytes": len(self.content),
            "sha256": hashlib.sha256(self.content).hexdigest(),
            "sha1": hashlib.sha1(self.content, usedforsecurity=False).hexdigest(),
            "channels": ["t1", "t1ce", "t2", "flair"],
            "labels": {"whole tumor": "WT", "tumor core": "TC", "enhancing tumor": "ET"},
            "licence": "CC-BY-4.0",
            "accuracy": "none",
            "accuracy_source": "nowhere",
            "source": "this test",
        } | changes

    def write_list(self, file: Path, **changes: Any) -> Path:
        """A list of that one model."""
        file.write_text(json.dumps({"schema": 1, "models": [self.entry(**changes)]}))
        return file


@contextmanager
def serving() -> Iterator[Served]:
    """A server that can begin in the middle."""
    state = Served()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append((self.path, wanted))
            first = 0
            if wanted and self.headers.get("If-Range") == state.etag:
                first = int(wanted.removeprefix("bytes=").rstrip("-"))
                if first >= len(state.content):
                    return self.send_error(416)
                self.send_response(206)
            else:
                self.send_response(200)
            body = state.content[first:]
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", state.etag)
            self.end_headers()
            self._give(body[: state.breaks.pop(0)] if state.breaks else body)

        def _give(self, body: bytes) -> None:
            step = max(len(state.content) // 10, 1) if state.pause else max(len(body), 1)
            with suppress(OSError):
                for start in range(0, len(body), step):
                    time.sleep(state.pause)
                    self.wfile.write(body[start : start + step])

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        state.address = f"http://127.0.0.1:{running.server_port}"
        yield state
        running.shutdown()
