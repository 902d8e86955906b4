"""A three-dimensional image with its place in space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .errors import GeometryError
from .grid import Grid, axis_codes


@dataclass(frozen=True)
class Place:
    """What an image's files say of where it lies, to be carried over to results on its grid.

    NIfTI says it twice, and programs differ in which of the two forms they go by. In DICOM a result refers to the
    images that it was made from.

    Attributes:
        fields: names and values of a NIfTI header's fields, as they stand; empty where it came from elsewhere.
        warning: what is wrong with them, in words that follow the file's name; empty if nothing is.
        instances: the files of a DICOM series.
    """

    fields: Mapping[str, Any]
    warning: str = ""
    instances: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Volume:
    """An image on a regular grid.

    Attributes:
        array: voxels, shape ``(Z, Y, X)``; 4D files read on purpose have ``(C, Z, Y, X)``.
        affine: 4×4, maps voxel index ``(x, y, z, 1)`` to RAS millimetres.
        source: where it came from, for messages.
        place: where it came from NIfTI or DICOM, what its files say of the affine, to be carried over to results.
    """

    array: np.ndarray
    affine: np.ndarray
    source: str = field(default="image", compare=False)
    place: Place | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        affine = np.asarray(self.affine, dtype=np.float64)
        if affine.shape != (4, 4) or not np.all(np.isfinite(affine)):
            raise GeometryError(f"{self.source} has no usable affine.", "Export it again from its DICOM series.")
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if np.any(lengths < 1e-6) or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-3:
            raise GeometryError(
                f"{self.source} has a singular affine (its voxels have no volume).",
                "Export it again from its DICOM series.",
            )
        object.__setattr__(self, "affine", affine)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Spatial shape ``(Z, Y, X)``."""
        z, y, x = self.array.shape[-3:]
        return z, y, x

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in millimetres in array order ``(z, y, x)``."""
        return Grid.of(self).spacing

    @property
    def orientation(self) -> str:
        """Directions towards which ``x``, ``y``, ``z`` increase, such as ``LPS``."""
        return axis_codes(self.affine)

    @property
    def voxel_volume(self) -> float:
        """Volume of a voxel in cubic millimetres."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def with_array(self, array: np.ndarray) -> Volume:
        """The same place in space with other voxels."""
        return Volume(array, self.affine, self.source, self.place)


def bounding_box(mask: np.ndarray, margin: Sequence[int] | int = 0) -> tuple[slice, ...]:
    """Smallest box around the true voxels, widened by ``margin`` voxels, inside the array.

    An empty mask gives the whole array.
    """
    margins = (margin,) * mask.ndim if isinstance(margin, int) else tuple(margin)
    box = []
    for axis, extra in enumerate(margins):
        along = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if along.size == 0:
            return tuple(slice(0, size) for size in mask.shape)
        box.append(slice(max(int(along[0]) - extra, 0), min(int(along[-1]) + 1 + extra, mask.shape[axis])))
    return tuple(box)


def border_faces(array: np.ndarray) -> list[np.ndarray]:
    """The outermost slices of ``(Z, Y, X)``, two an axis."""
    return [array.take(end, axis) for axis in range(array.ndim) for end in (0, -1)]


def touching_border(mask: np.ndarray) -> np.ndarray:
    """The parts of a mask ``(Z, Y, X)``, connected by faces, that reach the array's border."""
    from scipy import ndimage

    pieces, count = ndimage.label(mask)
    reached = np.zeros(count + 1, dtype=bool)
    for face in border_faces(pieces):
        reached[face] = True
    reached[0] = False
    return np.asarray(reached[pieces])
