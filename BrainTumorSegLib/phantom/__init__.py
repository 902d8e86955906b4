"""A synthetic glioblastoma patient, for the offline demo and for the tests.

Three steps: where the tissues lie (``anatomy``, ``tumour``: closed formulas in millimetres, bent by smooth noise), what
their proton density, T1 and T2 are, and what a scanner makes of that (``physics``). No image and no network has a part
in it.

The field of view is 155 × 240 × 240 mm whatever the shape, as in BraTS; fewer voxels are larger ones, and a seed is the
same patient at every shape up to voxel size and noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..domain.case import Case
from ..domain.labels import ET, NCR
from ..domain.volume import Volume
from .anatomy import Anatomy, draw_anatomy
from .lattice import Lattice, affine_of, head_lattice
from .physics import ACQUISITIONS, acquire, relaxation_maps
from .tumour import Site, Tumour, draw_tumour

MINIMUM_SIZE = 24


@dataclass(frozen=True)
class Phantom:
    """A synthetic patient and its ground truth.

    Attributes:
        case: T1, T1ce, T2 and FLAIR, int16 ``(Z, Y, X)``, exactly 0 outside the brain and at least 1 inside.
        labels: uint8 on the same grid: 1 NCR, 2 ED, 3 ET.
    """

    case: Case
    labels: Volume


def make_phantom(seed: int = 0, shape: tuple[int, int, int] = (155, 240, 240), *, enhancing: bool = True) -> Phantom:
    """Make a patient; the same seed and shape give the same voxels.

    Args:
        seed: which patient, 0 or more.
        shape: voxels ``(Z, Y, X)`` over the field of view of 155 × 240 × 240 mm, so that the default has 1 mm.
        enhancing: whether the core's rim takes up contrast agent; without, the whole core is NCR.

    Raises:
        ValueError: the seed is negative, or an axis has too few voxels for a tumour's layers.
    """
    if min(shape) < MINIMUM_SIZE:
        raise ValueError(f"a phantom needs {MINIMUM_SIZE} voxels or more along each axis, got {tuple(shape)}")
    # One stream a step: what one step draws does not shift the next one's numbers.
    texture, scanner = (np.random.default_rng([seed, stream]) for stream in (2, 3))
    grid, box = head_lattice(shape)
    anatomy, tumour = draw_patient(seed, grid)
    maps = relaxation_maps(texture, grid, anatomy, tumour, enhancing=enhancing)
    labels = tumour.labels if enhancing else np.where(tumour.labels == ET, np.uint8(NCR), tumour.labels)
    affine = affine_of(shape)

    def place(values: np.ndarray) -> Volume:
        whole = np.zeros(shape, dtype=values.dtype)
        whole[box] = values
        return Volume(whole, affine, f"phantom {seed}")

    images = {name: place(acquire(scanner, grid, maps, anatomy.brain, how)) for name, how in ACQUISITIONS.items()}
    return Phantom(Case(f"phantom-{seed}", images), place(labels))


def draw_patient(seed: int, grid: Lattice) -> tuple[Anatomy, Tumour]:
    """Where a patient's tissues lie, before any image is made of them."""
    body, growth = (np.random.default_rng([seed, stream]) for stream in (0, 1))
    site = Site.draw(growth)
    anatomy = draw_anatomy(body, grid, site.displaced)
    return anatomy, draw_tumour(growth, grid, site, anatomy)
