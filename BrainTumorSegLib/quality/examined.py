"""What the checks look at."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from ..domain.volume import Volume

# Where the image ends, a whole brain is cut at most through its stem and the cerebellum: of 41 patients of BraTS 37 cm²
# or less lie in an image's outermost slice. A slab or a half shows more; a box inside the brain is filled on all sides.
_CUT_CM2, _CUT_SHARE = 60.0, 0.4


@dataclass(frozen=True)
class Examined:
    """Images on their way to a network.

    Attributes:
        reference: the reference image on its own grid, background 0.
        array: ``(C, Z, Y, X)``, normalised, on the network's grid, cropped to the brain; a missing sequence is 0.
        modalities: of the channels.
        spacing: of ``array``, ``(z, y, x)`` in mm.
        orientation: of ``array``, such as ``LPS``.
        brain: what the model was made for, ``extracted`` brains or the whole ``head``.
        partly: whether some sequence covers a part of the reference's brain only.
    """

    reference: Volume
    array: np.ndarray
    modalities: tuple[str, ...]
    spacing: tuple[float, float, float]
    orientation: str
    brain: str
    partly: bool = False

    @property
    def voxel_mm3(self) -> float:
        """Size of a voxel of ``array``."""
        return math.prod(self.spacing)

    @functools.cached_property
    def filled(self) -> np.ndarray:
        """Where the reference is not background."""
        return np.asarray(self.reference.array != 0)

    @property
    def filled_ml(self) -> float:
        """Volume of that."""
        return float(np.count_nonzero(self.filled)) * self.reference.voxel_volume / 1000

    @functools.cached_property
    def shows_part(self) -> bool:
        """Whether the image ends within the brain: a slab, a half, a box cut out of it."""
        for axis, step in enumerate(self.reference.spacing):
            pixel_cm2 = self.reference.voxel_volume / step / 100
            for end in (0, -1):
                face = self.filled.take(end, axis)
                if np.count_nonzero(face) * pixel_cm2 > _CUT_CM2 or float(face.mean()) > _CUT_SHARE:
                    return True
        return False
