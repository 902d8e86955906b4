"""Networks as OpenVINO reads them: converted from PyTorch once, compared with it, and kept in the user's cache folder.

Each has a folder there, named after its weights and what converted them. It is written under another name and renamed,
so that it is whole or not there, whoever else converts the same network at that moment; what does not agree with its
own digests is made anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...domain.errors import DeviceError, RequestError
from ...domain.shortage import is_shortage
from ...io.user_folder import user_folder
from .openvino_runtime import compiled, core, logits, openvino, reason

if TYPE_CHECKING:
    from torch import nn

    from ...models.checkpoint_file import Checkpoint
    from ...models.description import Description

# Networks that are kept; of more, the one that was not used for the longest time goes.
KEPT = 24
# Of logits in fp32, on the tile that both run, as a share of the largest: what is above is no rounding. In 8 bits what
# lies between two steps may be rounded to either.
TOLERANCE, TOLERANCE_8_BIT = 1e-3, 0.05
# Half a written folder of a process that was killed is older than any conversion lasts.
_ABANDONED_SECONDS = 3600
_ELSE = "Choose --backend torch."
_NETWORK, _WEIGHTS, _RECORD = "network.xml", "network.bin", "record.json"
# To be raised when what is written changes.
_FORM = 2
# Folder -> why this machine cannot run the network that would lie there. For this process alone, which need not convert
# it for each patient: another machine, or this one after an update, may be able to.
_not_here: dict[Path, str] = {}


@dataclass(frozen=True)
class Conversion:
    """A converted network, kept in a folder or in memory alone.

    Attributes:
        divisor: spatial sizes must be divisible by it.
        eight_bit: whether it computes in 8 bits where it may.
    """

    divisor: int
    eight_bit: bool = False
    folder: Path | None = None
    _model: Any = None

    def model(self) -> Any:
        """The network, to be compiled."""
        return core().read_model(self.folder / _NETWORK) if self.folder else self._model


def kept(checkpoint: Checkpoint, eight_bit: bool = False) -> Conversion | None:
    """What was converted before; None where nothing was, or where it was damaged since.

    Raises:
        DeviceError: OpenVINO could not convert it then, or it gave another result; or this machine cannot run it.
    """
    folder = _folder_of(checkpoint, eight_bit)
    if folder in _not_here:
        raise DeviceError(_not_here[folder], _ELSE)
    if folder is None or not folder.is_dir():
        return None
    try:
        record = json.loads((folder / _RECORD).read_text("utf-8"))
        refused = str(record.get("refused", ""))
        sound = refused or all(_digest(folder / name) == record["sha256"][name] for name in (_NETWORK, _WEIGHTS))
        divisor = int(record["divisor"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        sound = False
    if not sound:
        _discard(folder)
        return None
    with suppress(OSError):
        os.utime(folder)  # for who asks which was used last
    if refused:
        raise DeviceError(refused, _ELSE)
    return Conversion(divisor, eight_bit, folder)


def convert(checkpoint: Checkpoint, eight_bit: bool = False) -> Conversion:
    """Convert a network, compare it with PyTorch's on a tile, and keep it where it has a name and there is a place.

    Args:
        eight_bit: have those convolutions compute in 8 bits that may.

    Raises:
        CheckpointError: the network cannot be built.
        DeviceError: OpenVINO cannot convert it, or gives another result than PyTorch, which is kept, too; or it cannot
            run it on this machine.
    """
    d = checkpoint.description
    network = checkpoint.build()
    if eight_bit:
        from ...networks.eight_bit import in_eight_bits

        network = in_eight_bits(network, d.network.eight_bit)
    divisor = d.network.divisor
    folder = _folder_of(checkpoint, eight_bit)
    try:
        model, refused = _compared(network, d, TOLERANCE_8_BIT if eight_bit else TOLERANCE)
    except DeviceError as error:
        if folder is not None:
            _not_here[folder] = str(error)
        raise
    if refused:
        if folder is not None:
            _keep({"model": d.id, "divisor": divisor, "refused": refused}, None, folder)
        raise DeviceError(refused, _ELSE)
    if folder is not None and _keep({"model": d.id, "divisor": divisor}, model, folder):
        return Conversion(divisor, eight_bit, folder)
    return Conversion(divisor, eight_bit, None, model)


def _compared(network: nn.Module, d: Description, tolerance: float) -> tuple[Any, str]:
    """The converted network, and why it is none to be used: empty where it gives what PyTorch gives.

    Raises:
        DeviceError: it cannot run on this machine.
    """
    tile, other = trial_tiles(d)
    try:
        model = converted(network, tile)
    except (RuntimeError, TypeError, ValueError) as error:
        if is_shortage(error):
            raise
        return None, f"OpenVINO cannot convert {d.id} ({reason(error)})."
    try:
        apart = distance(network, model, other)
    except (RuntimeError, TypeError, ValueError) as error:
        if is_shortage(error):
            raise
        raise DeviceError(f"OpenVINO cannot run {d.id} ({reason(error)}).", _ELSE) from error
    off = f"off by {apart:.2g} of the largest logit"
    return model, "" if apart <= tolerance else f"OpenVINO gives another result than PyTorch for {d.id} ({off})."


def trial_tiles(d: Description) -> tuple[np.ndarray, np.ndarray]:
    """What a network is converted with, and what it is compared on, both float32 ``(1, C, …)``.

    The latter has another shape, in 2D, too, since that of the former must not have become a part of the network.
    """
    size, channels = d.network.trial_size, len(d.modalities)
    sizes = [size * 2, size, size + d.network.divisor]
    return noise_tile(channels, [size] * d.dimensions), noise_tile(channels, sizes[-d.dimensions :])


def noise_tile(channels: int, sizes: Sequence[int]) -> np.ndarray:
    """Noise with a bright ball in it, float32 ``(1, C, …)``."""
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in sizes), indexing="ij")
    ball = sum(axis**2 for axis in axes) < 0.25
    noise = np.random.default_rng(0).normal(size=(1, channels, *sizes))
    return (noise + 2 * ball).astype(np.float32)


def converted(network: nn.Module, tile: np.ndarray) -> Any:
    """The network as OpenVINO has it, for images of any size; not compared."""
    import torch

    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated, and warns of each shape that it reads
        # Not checked by running it twice more: it is compared on another tile afterwards.
        model = openvino().convert_model(torch.jit.trace(network, torch.from_numpy(tile), check_trace=False))
    _, channels, *sizes = tile.shape
    model.reshape([-1, channels, *[-1] * len(sizes)])
    return model


def distance(network: nn.Module, model: Any, tile: np.ndarray) -> float:
    """Largest difference of the logits in fp32, as a share of the largest of them."""
    import torch

    tile[:, -1] = 0  # a sequence that is missing
    with torch.inference_mode():
        expected = network(torch.from_numpy(tile)).float().numpy()
    found = logits(compiled(model, "fp32"), tile)
    if found.shape != expected.shape:
        return np.inf
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), np.finfo(np.float32).tiny))


def _keep(record: dict[str, Any], model: Any, folder: Path) -> bool:
    """Write a folder whole; False where the disk is full or may not be written to: converted again next time."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
        try:
            if model is not None:
                openvino().save_model(model, part / _NETWORK, compress_to_fp16=False)
                record = {**record, "sha256": {each: _digest(part / each) for each in (_NETWORK, _WEIGHTS)}}
            (part / _RECORD).write_text(json.dumps(record), "utf-8")
            with suppress(OSError):  # somebody else was first: theirs is the same, if it is there
                part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        _prune(folder.parent)
    except (OSError, RuntimeError) as error:  # OpenVINO raises the latter
        if is_shortage(error):
            raise
        return False
    return folder.is_dir()


def _prune(place: Path) -> None:
    """Remove what was not used for the longest time, and what killed processes left."""
    entries = [path for path in place.iterdir() if path.is_dir()]
    whole = [path for path in entries if not path.name.startswith(".")]
    for path in sorted(whole, key=_age)[KEPT:]:
        _discard(path)
    for path in entries:
        if path.name.startswith(".") and _age(path) > _ABANDONED_SECONDS:
            _discard(path)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:  # somebody else removed it
        return 0.0


def _discard(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _folder_of(checkpoint: Checkpoint, eight_bit: bool) -> Path | None:
    """Where its conversion lies; None for weights without a name, or where the user has no folder."""
    if not checkpoint.identity:
        return None
    d = checkpoint.description
    what: list[Any] = [
        _FORM,
        openvino().__version__,
        checkpoint.identity,
        d.dimensions,
        len(d.modalities),
        len(d.outputs),
    ]
    what += [d.network.family, d.network.arguments, d.network.eight_bit if eight_bit else {}]
    text = json.dumps(what, sort_keys=True)
    with suppress(RequestError):
        return user_folder() / "cache" / "openvino" / hashlib.sha256(text.encode()).hexdigest()[:32]
    return None


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
