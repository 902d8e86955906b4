"""Raw scans made from a prepared case: skull and scalp around the brain, a head that moves between the sequences.

What a scanner's images have and a challenge's do not: a head around the brain, another pose and another grid in every
sequence, thick slices, uneven coils, noise in the air. Every motion is known, so that what finds it can be measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..domain.case import Case
from ..domain.grid import Grid
from ..domain.modalities import FLAIR, T1, T1CE, T2
from ..domain.volume import Volume, bounding_box

# Brightness of what lies around the brain, as multiples of the brain's median: fluid, bone, marrow, fat, muscle.
_AROUND: Mapping[str, Sequence[float]] = {
    T1: (0.45, 0.12, 0.9, 1.7, 0.8),
    T1CE: (0.45, 0.12, 1.0, 1.7, 0.9),
    T2: (1.9, 0.10, 0.6, 1.2, 0.45),
    FLAIR: (0.25, 0.10, 0.5, 1.1, 0.6),
}
_FLUID, _BONE, _MARROW, _FAT, _MUSCLE, _AIR = range(6)
# Thickness of the layers from the brain outwards, mm, and how far it varies.
_LAYERS = ((_FLUID, 2.5), (_BONE, 2.0), (_MARROW, 2.5), (_BONE, 2.0), (_FAT, 5.0), (_MUSCLE, 1.5))
_VARIATION = 0.35
_PART_VOXELS = 1.5  # a thick slice is the mean of thinner ones of this size
_BELOW_MM, _AROUND_MM = 50.0, 26.0  # what the head takes below and around the brain


@dataclass(frozen=True)
class Protocol:
    """How a sequence is acquired.

    Attributes:
        spacing: distance of slices, rows and columns in mm.
        plane: the direction across the slices, an anatomical axis: ``z`` (axial), ``y`` (coronal) or ``x`` (sagittal).
        field_of_view: in plane, mm.
        slab: across the slices, mm; shorter than the head cuts the vertex off.
        dtype: of the voxels.
    """

    spacing: tuple[float, float] = (5.0, 0.9)
    plane: str = "z"
    field_of_view: float = 230.0
    slab: float = 160.0
    dtype: str = "int16"


@dataclass(frozen=True)
class Scanned:
    """Raw scans and the truth about them.

    Attributes:
        case: the images, each on its own grid.
        motions: modality → 4×4, RAS mm in the prepared case → RAS mm in that scan.
        brain: the brain in the prepared case.
    """

    case: Case
    motions: Mapping[str, np.ndarray]
    brain: Volume


def scan(
    case: Case,
    protocols: Mapping[str, Protocol],
    motions: Mapping[str, np.ndarray] | None = None,
    *,
    skull: bool | Iterable[str] = True,
    seed: int = 0,
) -> Scanned:
    """Raw scans of the head of a prepared case.

    Args:
        case: skull-stripped images on one grid along LPS, of 1 to 2 mm, background 0.
        protocols: modality → how it is acquired, for those that shall be.
        motions: modality → rigid 4×4 in RAS mm by which the head lies otherwise in that scan; by default it does not.
        skull: whether there is a head around the brain, or in which sequences; else the background is 0.
        seed: of the head, the coils and the noise.
    """
    rng = np.random.default_rng(seed)
    brain = _brain(case)
    tissues, box = _surroundings(rng, brain)
    with_skull = set(protocols) if skull is True else set(skull or ())
    found = {name: np.eye(4) for name in protocols} | dict(motions or {})
    images = {}
    for name, protocol in protocols.items():
        source = case.images[name]
        values = np.pad(source.array.astype(np.float32), _padding(brain))[box]
        if name in with_skull:
            values = _with_head(rng, values, tissues, _AROUND[name])
        affine = source.affine.copy()
        affine[:3, 3] += (
            affine[:3, :3] @ (np.array([part.start for part in box]) - [low for low, _ in _padding(brain)])[::-1]
        )
        images[name] = _acquire(rng, Volume(values, affine, name), protocol, found[name], name in with_skull)
    return Scanned(Case(case.id, images, case.reference if case.reference in images else ""), found, brain)


def _brain(case: Case) -> Volume:
    """What is not background in the reference, without holes."""
    volume = case.reference_volume
    return volume.with_array(ndimage.binary_fill_holes(volume.array != 0))


def _padding(brain: Volume) -> list[tuple[int, int]]:
    """Voxels before and behind each axis that make room for the head."""
    z, y, x = brain.spacing
    return [(round(_BELOW_MM / z), round(_AROUND_MM / z)), (round(_AROUND_MM / y),) * 2, (round(_AROUND_MM / x),) * 2]


def _surroundings(rng: np.random.Generator, brain: Volume) -> tuple[np.ndarray, tuple[slice, ...]]:
    """What lies in each voxel around the brain (6 in it), and the box of the padded image that the head takes."""
    mask = np.pad(brain.array, _padding(brain))
    box = bounding_box(mask, [low for low, _ in _padding(brain)])
    mask = mask[box]
    distance = ndimage.distance_transform_edt(~mask, sampling=brain.spacing).astype(np.float32)
    distance *= 1 + _VARIATION * _smooth(rng, mask.shape, 25)
    tissues = np.full(mask.shape, _AIR, dtype=np.uint8)
    tissues[_neck(mask, brain.spacing)] = _MUSCLE
    outer = sum(thickness for _, thickness in _LAYERS)
    for tissue, thickness in reversed(_LAYERS):
        tissues[distance <= outer] = tissue
        outer -= thickness
    tissues[mask] = 6
    return tissues, box


def _neck(mask: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """A neck and a face of muscle below the brain."""
    low = int(np.flatnonzero(mask.any(axis=(1, 2)))[0])
    _, y, x = ndimage.center_of_mass(mask)
    rows, columns = np.indices(mask.shape[1:])
    back, left = (rows - y) * spacing[1], (columns - x) * spacing[2]
    neck = np.hypot(back - 20, left) < 52
    face = ((back + 45) / 48) ** 2 + (left / 55) ** 2 < 1
    found = np.zeros(mask.shape, dtype=bool)
    found[: low + round(40 / spacing[0])] = neck | face
    return found


def _smooth(rng: np.random.Generator, shape: Sequence[int], mm: float) -> np.ndarray:
    """Smooth noise, mostly between -1 and 1."""
    coarse = rng.standard_normal([int(size / mm) + 3 for size in shape])
    factors = [size / n for size, n in zip(shape, coarse.shape, strict=True)]
    return np.clip(ndimage.zoom(coarse, factors, order=1)[tuple(slice(0, n) for n in shape)] / 2, -1, 1)


def _with_head(
    rng: np.random.Generator, values: np.ndarray, tissues: np.ndarray, around: Sequence[float]
) -> np.ndarray:
    """The brain with its surroundings."""
    middle = float(np.median(values[values > 0]))
    table = np.array([*around, 0.0, 0.0], dtype=np.float32) * middle
    head = table[tissues] * (1 + 0.15 * rng.standard_normal(tissues.shape, dtype=np.float32))
    head[tissues == 6] = values[tissues == 6]
    return ndimage.gaussian_filter(head, 0.5)


def _acquire(rng: np.random.Generator, head: Volume, protocol: Protocol, motion: np.ndarray, noisy: bool) -> Volume:
    """One scan: slices as thick as their distance, uneven coils, Rician noise."""
    grid = _grid(head, protocol, motion)
    inner = np.linalg.inv(motion @ head.affine) @ grid.affine  # voxel of the scan → voxel of the head, x y z
    parts = [max(1, round(float(np.linalg.norm(inner[:3, axis])) / _PART_VOXELS)) for axis in (2, 1, 0)]
    total = np.zeros(grid.shape, dtype=np.float32)
    for shift in np.ndindex(*parts):
        offset = [(n + 0.5) / count - 0.5 for n, count in zip(shift, parts, strict=True)]
        total += _sampled(head.array, inner, grid.shape, offset)
    image = total / np.prod(parts)
    bright = float(np.percentile(head.array[head.array > 0], 50))
    image *= np.exp(0.25 * _smooth(rng, image.shape, max(image.shape) / 2.5))
    if noisy:
        real, imaginary = 0.02 * bright * rng.standard_normal((2, *image.shape), dtype=np.float32)
        image = np.hypot(image + real, imaginary)
    else:
        image[image < 0.05 * bright] = 0
    scale = 800 / bright if np.issubdtype(np.dtype(protocol.dtype), np.integer) else 1.0
    return Volume(np.rint(image * scale).astype(protocol.dtype), grid.affine, head.source)


def _sampled(array: np.ndarray, inner: np.ndarray, shape: Sequence[int], offset: Sequence[float]) -> np.ndarray:
    """Linear interpolation at every voxel of a grid, moved by ``offset`` voxels along ``z, y, x``."""
    matrix = inner[:3, :3][::-1, ::-1]
    start = inner[:3, 3][::-1] + matrix @ np.asarray(offset)
    return ndimage.affine_transform(array, matrix, start, tuple(shape), np.float32, order=1)


def _grid(head: Volume, protocol: Protocol, motion: np.ndarray) -> Grid:
    """The grid of a scan: LPS, centred on the upper part of the head wherever it lies."""
    across, inside = protocol.spacing
    through = "xyz".index(protocol.plane)
    steps = np.array([across if axis == through else inside for axis in range(3)])
    extent = np.array([protocol.slab if axis == through else protocol.field_of_view for axis in range(3)])
    size = np.maximum(np.round(extent / steps), 1).astype(int)
    top = Grid.of(head).corners()
    centre = (top.max(axis=0) + top.min(axis=0)) / 2
    centre[2] += _BELOW_MM / 2 - 10
    centre = motion[:3, :3] @ centre + motion[:3, 3]
    affine = np.diag([-steps[0], -steps[1], steps[2], 1.0])
    affine[:3, 3] = centre - affine[:3, :3] @ ((size - 1) / 2)
    return Grid((int(size[2]), int(size[1]), int(size[0])), affine)
