"""What is done where memory runs short: the same work in smaller and smaller parts."""

from __future__ import annotations

import numpy as np

from ..domain.errors import DeviceShortageError, ShortageError
from ..domain.progress import Progress
from ..domain.shortage import is_shortage
from .backends import Backend
from .predictors import Predictor

# What says that memory ran out, also while a library is loaded.
_OF_LIBRARIES = (MemoryError, RuntimeError, OSError, ImportError, SystemError)


def predict(
    predictor: Predictor, backend: Backend, array: np.ndarray, progress: Progress
) -> tuple[np.ndarray, list[str]]:
    """Outputs on the box, and a warning where less memory than wanted made them less accurate.

    Raises:
        ShortageError: memory ran out even in the smallest parts.
        CancelledError: cancelled through ``progress``.
    """
    warnings: list[str] = []
    while True:
        part = predictor.part

        def tick(done: int, total: int, part: str = part) -> None:
            progress.report("predict", done / total, f"Running the network, {part} {done + 1} of {total}")

        try:
            return predictor(backend, array, tick), warnings
        except _OF_LIBRARIES as error:
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
        progress.report("predict", 0.0, f"Memory ran short, going on in {predictor.parts()}")
        # Slices do not see each other, windows do: in shorter ones the network knows less of what is around.
        if predictor.loses_context:
            warnings = [f"Memory ran short, so the network ran in {predictor.parts()}; expect a less accurate result."]
