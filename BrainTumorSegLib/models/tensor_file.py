"""What a ``.safetensors`` file says that it holds, compared with the bytes that are there before any is a weight.

A file is 8 bytes for the length of a header, the header (JSON: tensor name → type, shape, place; ``__metadata__``), and
the tensors, one after another without a gap.
"""

from __future__ import annotations

import hashlib
import json
import math
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..domain.errors import CheckpointError
from .description import AGAIN
from .limits import LARGEST_FILE, LONGEST_HEADER, is_plain

DESCRIPTION_KEY = "braintumorseg"
DIGEST_KEY = "sha256"

# Type of a tensor → bytes of a value. Narrower floats and complex numbers are in no network here.
_BYTES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "I8": 1, "I32": 4, "I64": 8, "U8": 1, "BOOL": 1}
_CHUNK = 1 << 20


@dataclass(frozen=True)
class StoredTensor:
    """A line of the tensor table: its type as safetensors names it, and its shape."""

    kind: str
    shape: tuple[int, ...]

    @property
    def is_float(self) -> bool:
        """Whether it holds numbers with a fraction."""
        return "F" in self.kind


@dataclass(frozen=True)
class TensorFile:
    """Header of a file, in which the table and the file's size agree.

    Attributes:
        description: text of the metadata that says what the weights are.
        digest: what the file says its digest is; empty where it says none.
        tensors: by name.
        body: where the tensors begin, in bytes.
    """

    description: str
    digest: str
    tensors: dict[str, StoredTensor]
    body: int
    _table: dict[str, Any]

    def digest_of(self, file: BinaryIO) -> str:
        """The digest as it should be: over description, table and every byte of the tensors, read piece by piece."""
        state = hashlib.sha256(self.description.encode())
        state.update(json.dumps(self._table, sort_keys=True).encode())
        file.seek(self.body)
        while piece := file.read(_CHUNK):
            state.update(piece)
        return state.hexdigest()


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A regular file to read: opening a pipe would wait, and a device has no end.

    Raises:
        CheckpointError: it is not there, is none, or cannot be read.
    """
    if "\0" in str(path):
        raise CheckpointError(f"{str(path)!r} is no name of a file.", "Check the path.")
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CheckpointError(f"{path} is no file.", "Check the path, or see: braintumorseg models.")
        with path.open("rb") as file:
            yield file
    except FileNotFoundError as error:
        raise CheckpointError(
            f"There is no checkpoint {path}.", "Check the path, or see: braintumorseg models."
        ) from error
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}).", "Check the path.") from error


def read_header(file: BinaryIO, source: str) -> TensorFile:
    """What a file says it holds; the tensors themselves are not read.

    Raises:
        CheckpointError: truncated, a pickle, foreign, or its table does not describe the bytes that are there.
    """
    total = file.seek(0, 2)
    file.seek(0)
    size = _header_size(file.read(9), total, source)
    file.seek(8)
    header = _header(file.read(size), source)
    metadata = header.pop("__metadata__")
    tensors = _tensors(header, total - 8 - size, source)
    return TensorFile(metadata[DESCRIPTION_KEY], str(metadata.get(DIGEST_KEY, "")), tensors, 8 + size, header)


def _header_size(start: bytes, total: int, source: str) -> int:
    """Length of the JSON header, from the first 9 bytes of a file of ``total`` bytes."""
    # The header begins with a brace; a length may by chance begin as a zip file or a pickle does.
    if start[8:] != b"{" and start.startswith((b"PK", b"\x80")):
        raise CheckpointError(
            f"{source} is a pickled PyTorch file, which can run code when it is loaded.",
            "Export it to .safetensors: see Training.",
        )
    size = int.from_bytes(start[:8], "little")
    if start[8:] != b"{" or size > total - 8:
        raise CheckpointError(f"{source} is truncated or no checkpoint.", AGAIN)
    if size > LONGEST_HEADER or total > LARGEST_FILE:
        raise CheckpointError(
            f"{source} is larger than a checkpoint may be ({LARGEST_FILE >> 30} GB, its description "
            f"{LONGEST_HEADER >> 20} MB).",
            "Use a smaller model, or fewer members.",
        )
    return size


def _header(text: bytes, source: str) -> dict[str, Any]:
    try:
        # In UTF-8 and with every name once, as the library that reads the tensors has it, too.
        header = json.loads(text.decode(), object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{source} is damaged or no checkpoint.", AGAIN) from error
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    if not isinstance(metadata, dict) or not isinstance(metadata.get(DESCRIPTION_KEY), str):
        raise CheckpointError(f"{source} holds weights but no description of them.", "Export it with Training.")
    if not is_plain(metadata[DESCRIPTION_KEY]):
        raise CheckpointError(f"{source} has a description with control characters.", AGAIN)
    return header


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a name is there twice")
    return values


def _tensors(table: Mapping[str, Any], size: int, source: str) -> dict[str, StoredTensor]:
    """The tensors of a table that fills the ``size`` bytes behind it without gap or overlap."""
    tensors, places = {}, []
    for name, entry in table.items():
        match entry:
            case {"dtype": str(kind), "shape": [*shape], "data_offsets": [int(begin), int(end)]} if (
                len(entry) == 3 and kind in _BYTES and all(type(n) is int and 0 <= n <= size for n in shape)
            ):
                if len(shape) > 8 or math.prod(shape) * _BYTES[kind] != end - begin:
                    raise CheckpointError(f"{source} is damaged: tensor {name[:80]!r} has another size.", AGAIN)
                tensors[name] = StoredTensor(kind, tuple(shape))
                places.append((begin, end))
            case _:
                raise CheckpointError(f"{source} is damaged: tensor {name[:80]!r} is of no known kind.", AGAIN)
    reached = 0
    for begin, end in sorted(places):
        if begin != reached:
            raise CheckpointError(f"{source} is damaged: its tensors have a gap or overlap.", AGAIN)
        reached = end
    if reached != size:
        raise CheckpointError(f"{source} is damaged: it has {size} bytes of weights in place of {reached}.", AGAIN)
    return tensors
