"""The lesions of a result: connected pieces of the whole tumour and where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from BrainTumorSegLib.domain.volume import Volume


@dataclass(frozen=True)
class Lesion:
    """A connected piece (26 neighbours).

    Attributes:
        volume_ml: millilitres.
        centre: RAS millimetres of its voxel that is nearest to its centre of mass, so that it lies within.
    """

    volume_ml: float
    centre: tuple[float, float, float]


def find_lesions(labels: Volume) -> list[Lesion]:
    """The lesions of a label map, the largest first."""
    from scipy import ndimage

    pieces, count = ndimage.label(labels.array > 0, np.ones((3, 3, 3)))
    found = []
    for number, box in enumerate(ndimage.find_objects(pieces, count), start=1):
        voxels = np.argwhere(pieces[box] == number) + [side.start for side in box]
        nearest = voxels[np.linalg.norm(voxels - voxels.mean(axis=0), axis=1).argmin()]
        x, y, z = (labels.affine[:3, :3] @ nearest[::-1] + labels.affine[:3, 3]).tolist()
        found.append(Lesion(len(voxels) * labels.voxel_volume / 1000, (x, y, z)))
    return sorted(found, key=lambda lesion: lesion.volume_ml, reverse=True)
