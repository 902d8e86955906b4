"""A glioblastoma: a lumpy core with necrosis inside an uneven enhancing rim, and oedema that follows white matter."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from ..domain.labels import ED, ET, NCR
from .anatomy import BLOOD, CSF, WHITE, Anatomy, largest
from .lattice import Lattice

REACH = 62.0  # half the box that is searched for tumour, mm
TRAVEL_STEP = 2.5  # mm


@dataclass(frozen=True)
class Tumour:
    """Shape ``(Z, Y, X)``: ``labels`` uint8 (1 NCR, 2 ED, 3 ET), ``wetness`` the share of oedema, float32 0 to 1."""

    labels: np.ndarray
    wetness: np.ndarray


@dataclass(frozen=True)
class Site:
    """Where a tumour sits and how large it is.

    Attributes:
        centre: ``z, y, x`` in mm.
        core: NCR and ET together, mL.
        necrosis: its share of the core.
        oedema: mL.
        push: how far it moves the brain at its edge, mm.
    """

    centre: tuple[float, float, float]
    core: float
    necrosis: float
    oedema: float
    push: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Site:
        """In one hemisphere's white matter, with sizes from the middle of what is seen at diagnosis."""
        side = rng.choice([-1.0, 1.0])
        z, y, x = rng.uniform(2, 26), rng.uniform(-40, 42), side * rng.uniform(30, 36)
        deep = min(1.0, 0.64 / float(np.linalg.norm([z / 64, y / 84, x / 66])))  # keep it under the cortex
        core, necrosis, oedema, push = rng.uniform([20, 0.3, 40, 5], [42, 0.5, 80, 9])
        return cls((z * deep, y * deep, x * deep), core, necrosis, oedema, push)

    @property
    def radius(self) -> float:
        """Of a ball as large as the core, mm."""
        return float((self.core * 1e3 * 3 / (4 * np.pi)) ** (1 / 3))

    def displaced(self, point: Sequence[np.ndarray], freedom: np.ndarray) -> list[np.ndarray]:
        """Where the tissue at each point was before the core pushed it outwards."""
        z, y, x = offset = [p - np.float32(c) for p, c in zip(point, self.centre, strict=True)]
        distance = np.sqrt(z * z + y * y + x * x) + np.float32(1e-3)
        amount = self.push * np.exp(-np.abs(distance - self.radius) / 16) * freedom / distance
        return [p - o * amount for p, o in zip(point, offset, strict=True)]


def draw_tumour(rng: np.random.Generator, grid: Lattice, site: Site, anatomy: Anatomy) -> Tumour:
    """Grow a tumour in a brain; core and oedema get their volumes unless the brain leaves them less room."""
    box = grid.around(site.centre, (REACH,) * 3)
    near, tissue, brain = grid.cut(box), anatomy.tissues[box], anatomy.brain[box]
    millilitre = 1e3 / float(np.prod(grid.spacing))
    core, necrosis = _core(rng, near, site, tissue, brain, millilitre)
    travel = _travel(near, np.select([core | (tissue == WHITE), tissue == CSF], [1.0, np.inf], 4.0), core)
    field = travel * (1 + 0.25 * np.clip(near.noise(rng, 16), -2, 2)) + 1.5 * near.noise(rng, 6)
    field[tissue != WHITE] += 5  # cortex and nuclei swell late
    allowed = brain & ~core & (tissue != CSF) & (tissue != BLOOD)
    level = _level(field, allowed, site.oedema * millilitre)
    soft = ndimage.gaussian_filter((allowed & (field < level)).astype(np.float32), near.voxels(0.9))
    oedema = largest(core | (allowed & (soft > 0.5))) & ~core
    labels, wetness = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.float32)
    labels[box] = np.select([necrosis, core, oedema], [NCR, ET, ED], 0)
    wetness[box] = np.where(oedema, np.clip(1.15 - 0.45 * field / level, 0.7, 1), 0.25 * soft * allowed)
    return Tumour(labels, wetness)


def _level(field: np.ndarray, allowed: np.ndarray, count: float) -> float:
    """The value below which ``count`` of the allowed voxels lie."""
    values = field[allowed]
    rank = min(int(count), values.size - 1)
    return float(np.partition(values, rank)[rank])


def _core(
    rng: np.random.Generator, grid: Lattice, site: Site, tissue: np.ndarray, brain: np.ndarray, millilitre: float
) -> tuple[np.ndarray, np.ndarray]:
    """Masks of the whole core and of the necrosis in it."""
    stretch = rng.uniform(0.85, 1.2, 3)
    z, y, x = ((a - c) * np.float32(s) for a, c, s in zip(grid.open, site.centre, stretch, strict=True))
    field = np.sqrt(z * z + y * y + x * x) + 3.2 * grid.noise(rng, 17) + 1.3 * grid.noise(rng, 7)
    # A core swallows sulci, which blur away here, but stops at ventricles, at the midline and under the pia.
    wide = ndimage.gaussian_filter((tissue == CSF).astype(np.float32), grid.voxels(2.0)) > 0.5
    allowed = brain & ~wide & (np.abs(grid.open[2]) > 3) & (ndimage.distance_transform_edt(brain, grid.spacing) > 3)
    core = ndimage.binary_fill_holes(largest(allowed & (field < _level(field, allowed, site.core * millilitre))))
    depth = ndimage.distance_transform_edt(core, grid.spacing)
    uneven = 1.5 * grid.noise(rng, 11) + 1.2 * grid.noise(rng, 5) - depth
    deep = depth > max(2.5, 1.1 * max(grid.spacing))  # so that there is rim everywhere
    return core, deep & (uneven < _level(uneven, core, site.necrosis * core.sum()))


def _travel(grid: Lattice, cost: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Length (mm) of the cheapest path from ``start``: round ventricles, along white matter, slowly through grey.

    Relaxed over the 26 neighbours on a coarser grid and interpolated.
    """
    stride = [max(1, round(TRAVEL_STEP / step)) for step in grid.spacing]
    thin = tuple(slice(None, None, s) for s in stride)
    slowness = cost[thin].astype(np.float32)
    length = np.pad(np.where(start[thin], np.float32(0), np.float32(1e3)), 1, constant_values=1e3)
    inside = (slice(1, -1),) * 3
    steps = [step for step in itertools.product((-1, 0, 1), repeat=3) if any(step)]
    edges = [slowness * np.float32(np.linalg.norm(np.multiply(step, stride) * grid.spacing)) for step in steps]
    for _ in range(60):
        before = length.copy()
        for step, edge in zip(steps, edges, strict=True):
            shifted = before[tuple(slice(1 + s, 1 + s + n) for s, n in zip(step, slowness.shape, strict=True))]
            np.minimum(length[inside], shifted + edge, out=length[inside])
        if np.array_equal(before, length):
            break
    places = np.meshgrid(
        *(np.arange(n, dtype=np.float32) / s for n, s in zip(cost.shape, stride, strict=True)), indexing="ij"
    )
    return ndimage.map_coordinates(length[inside], places, order=1, mode="nearest", output=np.float32)
