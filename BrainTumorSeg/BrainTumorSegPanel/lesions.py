"""The lesions of a result: connected pieces of the whole tumour and where they lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# So many are listed one by one: noise has thousands.
MOST = 20


@dataclass(frozen=True)
class Lesion:
    """A connected piece (26 neighbours).

    Attributes:
        volume_ml: millilitres.
        centre: RAS millimetres of its voxel that is nearest to its centre of mass, so that it lies within.
    """

    volume_ml: float
    centre: tuple[float, float, float]


@dataclass(frozen=True)
class Lesions:
    """Those of a result.

    Attributes:
        largest: at most :data:`MOST`, the largest first.
        others: how many there are besides.
        others_ml: what these have together.
    """

    largest: tuple[Lesion, ...] = ()
    others: int = 0
    others_ml: float = 0.0


def find_lesions(mask: np.ndarray, affine: np.ndarray) -> Lesions:
    """The lesions of a mask ``(Z, Y, X)`` of the whole tumour, at its ``affine``."""
    from scipy import ndimage

    pieces, count = ndimage.label(mask, np.ones((3, 3, 3)))
    sizes = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
    order = np.argsort(-sizes, kind="stable")
    boxes = ndimage.find_objects(pieces, count)
    voxel_ml = abs(np.linalg.det(affine[:3, :3])) / 1000
    found = []
    for index in order[:MOST]:
        box = boxes[index]
        voxels = np.argwhere(pieces[box] == index + 1) + [side.start for side in box]
        nearest = voxels[np.linalg.norm(voxels - voxels.mean(axis=0), axis=1).argmin()]
        x, y, z = (affine[:3, :3] @ nearest[::-1] + affine[:3, 3]).tolist()
        found.append(Lesion(len(voxels) * voxel_ml, (x, y, z)))
    others = sizes[order[MOST:]]
    return Lesions(tuple(found), len(others), float(others.sum()) * voxel_ml)
