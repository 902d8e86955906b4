"""Checkpoint files that say what a test wants, under the digest that belongs to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from Testing.samples import make_oracle


def right_digest(content: bytes) -> bytes:
    """The file with the digest that belongs to it, whatever it says."""
    size = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:size])
    metadata = header.pop("__metadata__")
    return assembled(metadata["braintumorseg"], header, content[size:])


def assembled(description: str, table: Mapping[str, Any], body: bytes) -> bytes:
    """A file of a description, a table of tensors and their bytes, with the digest of these."""
    state = hashlib.sha256(description.encode(errors="surrogatepass"))
    state.update(json.dumps(table, sort_keys=True).encode())
    state.update(body)
    metadata = {"braintumorseg": description, "sha256": state.hexdigest()}
    text = json.dumps({"__metadata__": metadata, **table}).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + body


def forge(path: Path, description: Any, weights: Mapping[str, Any] | None = None) -> Path:
    """A file with a right digest of a description (text or values), and of weights that fit the oracle's network."""
    from safetensors.torch import save

    text = description if isinstance(description, str) else json.dumps(description)
    tensors = dict(make_oracle().weights if weights is None else weights)
    path.write_bytes(right_digest(save(tensors, metadata={"braintumorseg": text})))
    return path
