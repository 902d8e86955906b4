"""The way in, from a case to the network's array, and the way back onto the reference grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..domain.case import Case
from ..domain.errors import GeometryError, InputError
from ..domain.grid import Grid, check_overlap, same_grid
from ..domain.volume import Volume, bounding_box
from ..models.description import PreprocessingSpec
from .bias_field import evened
from .normalisation import normalise
from .resampling import onto

# The longest side of an image of a head or a part of it lies between these.
SMALLEST_EXTENT_MM, LARGEST_EXTENT_MM = 10.0, 1000.0


@dataclass(frozen=True)
class Prepared:
    """What a network takes, and what is needed to find the way back.

    Attributes:
        array: float32 ``(C, Z, Y, X)``, the brain's box on the network grid; a missing modality is 0.
        box: where that box lies on the network grid.
        grid: the whole network grid.
        reference: the grid that the result shall lie on.
        notes: what was done to the images, in words.
    """

    array: np.ndarray
    box: tuple[slice, ...]
    grid: Grid
    reference: Grid
    notes: tuple[str, ...]

    def restore(self, values: np.ndarray) -> np.ndarray:
        """Values on the box ``(Z, Y, X)`` → float32 on the reference grid, 0 outside."""
        whole = np.zeros(self.grid.shape, dtype=np.float32)
        whole[self.box] = values
        return onto(whole, self.grid, self.reference)


def network_grid(reference: Grid, spec: PreprocessingSpec) -> Grid:
    """The reference grid in the network's orientation and spacing (a spacing of 0 keeps the axis)."""
    oriented = reference.oriented(spec.orientation)
    wanted = tuple(new or old for new, old in zip(spec.spacing, oriented.spacing, strict=True))
    return oriented.with_spacing(wanted)


def prepare(case: Case, modalities: tuple[str, ...], spec: PreprocessingSpec) -> Prepared:
    """Even and normalise every image on its own grid, then bring it to the network grid in one interpolation.

    Raises:
        GeometryError: an image does not overlap the reference, or has no size of a head.
        InputError: nothing of the images lies on the reference grid.
    """
    _check_extent(case.reference_volume)
    reference = Grid.of(case.reference_volume)
    grid = network_grid(reference, spec)
    array = np.zeros((len(modalities), *grid.shape), dtype=np.float32)
    notes = []
    for channel, modality in enumerate(modalities):
        if modality not in case.images:
            notes.append(f"{modality} is missing")
            continue
        volume = case.images[modality]
        check_overlap(volume, case.reference_volume)
        if not same_grid(Grid.of(volume), reference):
            notes.append(f"{modality} was resampled onto the grid of {case.reference}")
        image = evened(volume.array, volume.spacing) if spec.bias_correction == "n4" else volume.array
        array[channel] = onto(normalise(image, spec.normalisation), Grid.of(volume), grid)
    if not array.any():
        raise InputError(
            f"The images of {case.id} are empty where {case.reference_volume.source} lies.",
            "Register them first, or choose the sequences of one session.",
        )
    if not np.allclose(grid.spacing, reference.spacing, rtol=0.01):
        notes.append(f"the network ran at {' × '.join(f'{mm:g}' for mm in grid.spacing[::-1])} mm")
    box = bounding_box(np.any(array, axis=0))
    return Prepared(np.ascontiguousarray(array[(slice(None), *box)]), box, grid, reference, tuple(notes))


def _check_extent(volume: Volume) -> None:
    """Refuse what cannot be a head: an affine in metres or micrometres asks for endless memory or leaves one voxel."""
    extent = [size * step for size, step in zip(volume.shape, volume.spacing, strict=True)]
    if max(extent) > LARGEST_EXTENT_MM or max(extent) < SMALLEST_EXTENT_MM:
        raise GeometryError(
            f"{volume.source} is {' × '.join(f'{mm:.4g}' for mm in extent[::-1])} mm in size, which is no head.",
            "Its voxel size is not in millimetres; export it again from its DICOM series.",
        )
