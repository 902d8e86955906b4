"""What is done where memory runs short: the same work in smaller and smaller parts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..domain.available_memory import available_memory
from ..domain.errors import DeviceShortageError, ShortageError
from ..domain.progress import Progress
from ..domain.shortage import is_shortage
from .backends import Backend
from .predictors import Predictor

if TYPE_CHECKING:
    from ..models.checkpoint_file import Checkpoint

# What says that memory ran out, also while a library is loaded.
OF_LIBRARIES = (MemoryError, RuntimeError, OSError, ImportError, SystemError)

# Images that a network keeps at a time, each of the window's size and as wide as what its first convolution gives, and
# the bytes of a value in them; in 8 bits some are there twice. Measured as the growth of resident memory at the first
# window, in fresh processes on a CPU with OpenVINO 2026.4 and PyTorch 2.13, at two sizes each: U-Net, SegResNet and
# DynUNet keep 4.6 to 7.1 such images in OpenVINO, and 3 to 7 in PyTorch, with up to 200 MB besides. Attention, and what
# is computed side by side, keep more.
_IMAGES = 6.5
_IMAGES_OF = {"attention_unet": 10.0, "u2net": 10.0, "resunet_a": 24.0, "resunet_plus_plus": 40.0, "swin_unetr": 36.0}
_BYTES, _BYTES_OF = 2.0, {"fp32": 4.0, "int8": 2.5}
# Whatever else is taken meanwhile: buffers of libraries, gaps between what they gave back, blended outputs.
_ELSE = 200e6


class Need(NamedTuple):
    """Bytes that a network takes while it runs.

    Attributes:
        always: whatever its images' size.
        voxel: for each voxel that goes through it.
    """

    always: float
    voxel: float


def need_of(checkpoint: Checkpoint, backend: Backend) -> Need | None:
    """What a network takes on a CPU, somewhat more rather than less; None where its weights do not tell."""
    d, shapes = checkpoint.description, checkpoint.shapes.values()
    channels = len(d.modalities) * (2 if d.network.arguments.get("availability") else 1)
    first = [s for s in shapes if len(s) == d.dimensions + 2 and s[1] == channels]
    # Single voxels are mostly seen by what comes later, where features happen to be as many as channels.
    width = min((s[0] for s in first if math.prod(s[2:]) > 1), default=0) or min((s[0] for s in first), default=0)
    if not width:
        return None
    size = _BYTES_OF.get(backend.precision, _BYTES)
    weights = sum(map(math.prod, shapes))  # laid out anew at the first run
    return Need(_ELSE + size * weights, size * _IMAGES_OF.get(d.network.family, _IMAGES) * width)


def predict(
    predictor: Predictor, backend: Backend, array: np.ndarray, progress: Progress, need: Need | None = None
) -> tuple[np.ndarray, list[str]]:
    """Outputs on the box, and a warning where less memory than wanted made them less accurate.

    On a CPU the parts are such as memory has room for, as far as can be told: many systems end a process that takes
    more, and say nothing to it. Where it runs out all the same, they get smaller.

    Args:
        predictor: how the network is run.
        backend: what computes it.
        array: ``(C, Z, Y, X)``.
        progress: hears of each part.
        need: what the network takes; None where that is not known.

    Raises:
        ShortageError: memory ran out even in the smallest parts.
        CancelledError: cancelled through ``progress``.
    """
    wanted = predictor
    predictor = _fitting(wanted, backend, array.shape[1:], need)
    warnings = [] if predictor is wanted else _short_of_memory(predictor, progress)
    while True:
        part = predictor.part

        def tick(done: int, total: int, part: str = part) -> None:
            progress.report("predict", done / total, f"Running the network, {part} {done + 1} of {total}")

        try:
            return predictor(backend, array, tick), warnings
        except OF_LIBRARIES as error:
            if not is_shortage(error):
                raise
            smaller = predictor.smaller()
            if smaller is None:
                kind = ShortageError if backend.device.startswith("cpu") else DeviceShortageError
                raise kind(
                    f"Memory ran out on {backend.device}, even in small parts.",
                    "Close other programs, or choose --device cpu.",
                ) from error
        predictor = smaller
        backend.free_memory()
        warnings = _short_of_memory(predictor, progress)


def _fitting(predictor: Predictor, backend: Backend, shape: tuple[int, ...], need: Need | None) -> Predictor:
    """The same in the largest parts that memory has room for, in the smallest where it has for none of them."""
    if need is None or not backend.device.startswith("cpu"):
        return predictor  # memory of other devices says itself when it runs out

    def fits(parts: Predictor) -> bool:
        return free is None or need.always + need.voxel * parts.voxels(shape) <= free

    free = available_memory()
    if not fits(predictor):
        backend.free_memory()  # what was kept of the run before, in a process that carries out several
        free = available_memory()
    fitting = predictor
    while not fits(fitting) and (smaller := fitting.smaller()):
        fitting = smaller
    # Images that are smaller than the smallest parts are run as they are.
    return fitting if fitting.voxels(shape) < predictor.voxels(shape) else predictor


def _short_of_memory(predictor: Predictor, progress: Progress) -> list[str]:
    """Report that these parts are smaller than wanted, and give the warning for the result, if it needs one."""
    progress.report("predict", 0.0, f"Memory ran short, going on in {predictor.parts()}")
    if not predictor.loses_context:
        return []
    # Slices do not see each other, windows do: in shorter ones the network knows less of what is around.
    return [f"Memory ran short, so the network ran in {predictor.parts()}; expect a less accurate result."]
