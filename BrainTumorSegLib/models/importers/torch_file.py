"""Weights as PyTorch saves them: only tensors, numbers and texts are read, and no object is made of anything else."""

from __future__ import annotations

import re
import stat
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...domain.errors import CheckpointError
from ...domain.shortage import is_shortage

if TYPE_CHECKING:
    import torch

LARGEST_FILE = 6 << 30
LARGEST_PICKLE, MOST_ENTRIES = 64 << 20, 100_000
MOST_TENSORS, LONGEST_NAME = 20_000, 400
_REMEDY = "Download it again; a file that its own program reads may still hold more than weights."


def read_torch_file(path: Path) -> Any:
    """The values of a file of ``torch.save``, with ``weights_only``; numbers of numpy are made Python's.

    Raises:
        CheckpointError: it is no such file, of the old form without an archive, too large, or holds anything but
            tensors, numbers, texts, lists and tables of them; nothing of it is run.
    """
    import torch

    _check_archive(path)
    try:
        with torch.serialization.safe_globals(_numbers_of_numpy()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a file makes of the reader
        if is_shortage(error):
            raise
        raise CheckpointError(f"{path} holds more than weights, or is damaged ({_reason(error)}).", _REMEDY) from error


def state_dict(values: Any, source: str) -> dict[str, torch.Tensor]:
    """Names and tensors, whose every size is that of what the file holds.

    Raises:
        CheckpointError: it is something else, a tensor claims more than is stored, or a value is not finite.
    """
    import torch

    if not isinstance(values, Mapping) or not 0 < len(values) <= MOST_TENSORS:
        raise CheckpointError(f"{source} holds no table of weights.", _REMEDY)
    found = {}
    for name, tensor in values.items():
        if not isinstance(name, str) or not name.isprintable() or len(name) > LONGEST_NAME:
            raise CheckpointError(f"{source} holds a weight whose name is none.", _REMEDY)
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided or tensor.is_quantized:
            raise CheckpointError(f"{source} holds {name[:80]!r}, which is no plain tensor.", _REMEDY)
        stored = tensor.untyped_storage().nbytes()
        if tensor.device.type != "cpu" or tensor.numel() * tensor.element_size() > stored:
            raise CheckpointError(f"{source} holds {name[:80]!r}, which claims to be larger than it is.", _REMEDY)
        if tensor.is_complex() or (tensor.is_floating_point() and not torch.isfinite(tensor).all()):
            raise CheckpointError(f"{source} holds {name[:80]!r}, which is not finite.", "Training diverged.")
        found[name] = tensor.detach().contiguous()
    return found


def _check_archive(path: Path) -> None:
    """Refuse what would be slow or large before PyTorch looks at it.

    Raises:
        CheckpointError: it is none of PyTorch's archives.
    """
    try:
        facts = path.stat()
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > LARGEST_FILE:
            raise CheckpointError(f"{path} is no file, or larger than {LARGEST_FILE >> 30} GB.", _REMEDY)
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path} is no file of weights that PyTorch saved since 1.6, or is damaged.",
            "Save it again with a present PyTorch; files of the old form are pickles that can run code.",
        ) from error
    if any(entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 for entry in entries):
        raise CheckpointError(f"{path} is compressed, as PyTorch's files are not.", _REMEDY)
    pickles = [entry for entry in entries if entry.filename.endswith("data.pkl")]
    total = sum(entry.file_size for entry in entries)
    if (
        len(pickles) != 1
        or pickles[0].file_size > LARGEST_PICKLE
        or total > facts.st_size
        or len(entries) > MOST_ENTRIES
    ):
        raise CheckpointError(f"{path} is laid out as no file of PyTorch's weights is.", _REMEDY)


def _numbers_of_numpy() -> list[Any]:
    """What stands for a number of numpy in a pickle, each made a number of Python by :func:`_number`."""
    kinds = [type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")]
    places = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
    return [*((_number, place) for place in places), (np.dtype, "numpy.dtype"), *kinds]


def _number(kind: Any, content: Any = b"") -> Any:
    if not isinstance(kind, np.dtype) or kind.kind not in "fiub" or not isinstance(content, bytes | str):
        raise ValueError("a number of numpy is none")
    raw = content.encode("latin-1") if isinstance(content, str) else content
    if len(raw) != kind.itemsize:
        raise ValueError("a number of numpy is none")
    return np.frombuffer(raw, kind)[0].item()


def _reason(error: Exception) -> str:
    """What the file asked for; PyTorch's own words tell how to let it."""
    found = re.search(r"(?:GLOBAL|class|function) ([\w.]{1,100})", str(error))
    return f"it asks for {found[1]}" if found else type(error).__name__
