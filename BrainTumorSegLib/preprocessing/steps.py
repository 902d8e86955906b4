"""What steps of preprocessing have in common.

An *image step* works on each image on its own grid: a function that takes a volume, its modality and the model's
specification, and gives the volume and what it did. A *spatial step* moves voxels: it has an ``undo`` that brings a
result back. To add one, write its file and name it in :mod:`.pipeline`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..domain.volume import Volume
from ..models.description import PreprocessingSpec


@dataclass(frozen=True)
class Done:
    """What a step did to an image.

    Attributes:
        words: for the record.
        warning: a sentence, where a reader of the result must know.
    """

    words: str
    warning: str = ""


ImageStep = Callable[[Volume, str, PreprocessingSpec], tuple[Volume, Done | None]]


class SpatialStep(Protocol):
    """A change of grid."""

    def undo(self, values: np.ndarray) -> np.ndarray:
        """Values ``(Z, Y, X)`` after the step → on the grid before it."""
