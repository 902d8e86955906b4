"""A brain made of formulas: lobes, folded cortex, nuclei, ventricles, vessels.

Depths and distances are in mm; a depth is positive inside. Shapes are evaluated at bent coordinates, which makes every
brain a little different and its halves unlike.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .lattice import Lattice

CSF, GREY, WHITE, DEEP, BLOOD = range(5)  # DEEP: thalamus, pallidum and brain stem, of mixed grey and white matter

Point = Sequence[np.ndarray]  # z, y, x of many places, mm

FOLD_CELLS, FOLD_STEP = 72, 2.5  # of the periodic block that holds a labyrinth; mm


@dataclass(frozen=True)
class Anatomy:
    """What lies where, each of shape ``(Z, Y, X)``.

    Attributes:
        tissues: uint8, one of the constants above.
        fluid: share of a voxel that CSF takes up in narrow sulci, float32.
        brain: the mask that skull stripping leaves.
    """

    tissues: np.ndarray
    fluid: np.ndarray
    brain: np.ndarray


@dataclass(frozen=True)
class _Lobes:
    """Depths below the surface of the brain's parts."""

    upper: np.ndarray
    temporal: np.ndarray
    cerebellum: np.ndarray
    stem: np.ndarray

    @property
    def cerebrum(self) -> np.ndarray:
        return np.maximum(self.upper, self.temporal)

    @property
    def below(self) -> np.ndarray:
        return np.maximum(self.cerebellum, self.stem)

    @property
    def hull(self) -> np.ndarray:
        return np.maximum(self.cerebrum, self.below)

    def at(self, mask: np.ndarray) -> _Lobes:
        return _Lobes(self.upper[mask], self.temporal[mask], self.cerebellum[mask], self.stem[mask])

    @classmethod
    def of(cls, point: Point) -> _Lobes:
        z, y, x = point
        side = np.abs(x)
        width = 1 + 0.04 * np.clip(y / 60, -1, 1)  # broader at the back
        return cls(
            upper=_ellipsoid((np.where(z > 0, z, 2.1 * z), y, x / width), (0, 0, 0), (65, 84, 65)),
            temporal=_ellipsoid((z, y, side), (-27, -3, 34), (23, 38, 25)),
            cerebellum=_ellipsoid((z, y, side), (-46, 46, 21), (22, 29, 30)),
            stem=_ellipsoid((z, y, x), (-40, 15, 0), (38, 13, 15)),
        )


def draw_anatomy(
    rng: np.random.Generator, grid: Lattice, displaced: Callable[[Point, np.ndarray], list[np.ndarray]]
) -> Anatomy:
    """A brain.

    Args:
        displaced: where the tissue found at a point was before a mass pushed it, given the points and how freely
            (0 to 1) they can move.
    """
    size = np.float32(rng.uniform(0.97, 1.01))
    bent = [(axis + 2.5 * grid.noise(rng, 48)) / size for axis in grid.open]
    lobes = _Lobes.of(bent)
    brain = largest(lobes.hull + 0.7 * grid.noise(rng, 7) > 0)
    lobes = lobes.at(brain)
    point = displaced([p[brain] for p in bent], np.clip(lobes.hull / 15, 0, 1))

    def noise(scale: float) -> np.ndarray:
        return grid.noise(rng, scale)[brain]

    above = lobes.cerebrum > lobes.below
    pia = np.where(above, _cerebral_pia(rng, noise, point, lobes), _cerebellar_pia(rng, point, lobes))
    tissues = np.full(pia.shape, WHITE, dtype=np.uint8)
    tissues[pia < np.where(above, np.float32(2.6), np.float32(1.7)) + 0.4 * noise(12)] = GREY
    tissues[(lobes.stem > 0) & (lobes.stem > lobes.cerebellum - 2) & (point[0] < -10)] = DEEP
    fluid = np.clip(0.5 - pia / np.float32(min(grid.spacing)), 0, 1)
    tissues[fluid > 0.9] = CSF
    _nuclei_and_ventricles(rng, point, noise(12), tissues)
    _vessels(rng, point, lobes.hull, pia, tissues)
    fluid[tissues == BLOOD] = 0
    # Beyond the mask lies something of middling signal, so that the blur makes no bright seam.
    anatomy = Anatomy(np.full(grid.shape, DEEP, np.uint8), np.zeros(grid.shape, np.float32), brain)
    anatomy.tissues[brain], anatomy.fluid[brain] = tissues, fluid
    return anatomy


def largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected part."""
    parts, count = ndimage.label(mask)
    return parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:])) if count > 1 else mask


# --- shapes ------------------------------------------------------------------------------------------------------


def _norm(point: Point) -> np.ndarray:
    z, y, x = point
    return np.sqrt(z * z + y * y + x * x)


def _ellipsoid(point: Point, centre: Sequence[float], radii: Sequence[float]) -> np.ndarray:
    """Depth below an ellipsoid's surface, negative outside (first order)."""
    scaled = [(p - c) / r for p, c, r in zip(point, centre, radii, strict=True)]
    norm = _norm(scaled)
    return (1 - norm) * norm / (_norm([s / r for s, r in zip(scaled, radii, strict=True)]) + np.float32(1e-6))


def _capsule(point: Point, start: Sequence[float], end: Sequence[float]) -> np.ndarray:
    """Depth inside a segment ``(z, y, x, radius)`` whose radius changes along it."""
    axis = np.subtract(end[:3], start[:3], dtype=np.float32)
    offset = [p - s for p, s in zip(point, start[:3], strict=True)]
    z, y, x = (o * a for o, a in zip(offset, axis, strict=True))
    along = np.clip((z + y + x) / float(axis @ axis), 0, 1)
    distance = _norm([o - along * a for o, a in zip(offset, axis, strict=True)])
    return start[3] + along * (end[3] - start[3]) - distance


def _folds(rng: np.random.Generator, wavelength: float) -> np.ndarray:
    """Signed distance to a labyrinth of sheets half a wavelength (mm) apart, a periodic block.

    Band-passed noise changes sign on such sheets; its value over its gradient is the distance to them.
    """
    shape = (FOLD_CELLS,) * 3
    frequency = np.fft.fftfreq(FOLD_CELLS, FOLD_STEP)
    z, y, x = np.ix_(frequency, frequency, np.fft.rfftfreq(FOLD_CELLS, FOLD_STEP))
    ring = np.exp(-(((np.sqrt(z**2 + y**2 + x**2) * wavelength - 1) / 0.22) ** 2))
    field = np.fft.irfftn(np.fft.rfftn(rng.standard_normal(shape)) * ring, s=shape, axes=(0, 1, 2))
    slope = _norm(list(np.gradient(field, FOLD_STEP)))
    return (field / (slope + 0.35 * slope.mean())).astype(np.float32)


def _sample(folds: np.ndarray, point: Point) -> np.ndarray:
    places = [p / np.float32(FOLD_STEP) for p in point]
    return ndimage.map_coordinates(folds, places, order=1, mode="grid-wrap", output=np.float32)


# --- cortex ------------------------------------------------------------------------------------------------------


def _cerebral_pia(
    rng: np.random.Generator, noise: Callable[[float], np.ndarray], point: Point, lobes: _Lobes
) -> np.ndarray:
    """Distance into the tissue from the pial surface, which dips into fissures and sulci; negative in CSF.

    Sulci are the sheets of a labyrinth that hardly changes towards a hemisphere's middle, so they stand upright. A
    sheet that ends at some depth makes a slit with a rounded bottom: distance = hypot(distance to the sheet, excess
    depth).
    """
    z, y, x = point
    callosum = np.clip(_ellipsoid((z, y, np.zeros_like(x)), (1, 4, 0), (23, 42, 1e3)), 0, None)
    fissure = np.hypot(x + 0.8 * noise(25), callosum)
    sylvian = np.hypot((lobes.upper - lobes.temporal) * 0.6, np.clip(37 - np.abs(x), 0, None))
    tentorium = (lobes.cerebrum - lobes.below) * 0.5
    depth = np.minimum(np.minimum(lobes.cerebrum, fissure + 0.4), np.minimum(sylvian - 0.4, tentorium))

    spread = [z - 2, 0.45 * y, x - np.where(x > 0, np.float32(27), np.float32(-27))]
    stretch = (45 / (_norm(spread) + 1)) ** 0.8 - 1
    reach = np.clip(17 + 6 * noise(15), 3, 26)
    gap = rng.uniform(0.0, 0.25) + (0.2 + np.clip(0.6 - depth / 8, 0, 0.6)) * (1 + noise(24))  # wider at the mouth
    surface = depth - 0.9 - 0.5 * noise(15)
    near = depth < 29  # deeper than any sulcus and its cortex
    sheets = np.full(depth.shape, 99, dtype=np.float32)
    sheets[near] = _sample(_folds(rng, 20), [(p + s * stretch)[near] for p, s in zip(point, spread, strict=True)])
    return np.minimum(surface, np.hypot(sheets, np.clip(depth - reach, 0, None)) - gap)


def _cerebellar_pia(rng: np.random.Generator, point: Point, lobes: _Lobes) -> np.ndarray:
    """The same for cerebellum and brain stem; the cerebellum's folia are finer and run from side to side."""
    z, y, x = point
    depth = np.minimum(lobes.below, (lobes.below - lobes.cerebrum) * 0.5)
    sheets = np.full(depth.shape, 99, dtype=np.float32)
    near = (depth > 0) & (lobes.cerebellum > lobes.stem)
    sheets[near] = _sample(_folds(rng, 25), (2.4 * z[near], 2.4 * y[near], 0.5 * x[near])) / 2.4
    return np.minimum(depth - 1, np.hypot(sheets, np.clip(depth - 9, 0, None)) - 0.25)


# --- the inside --------------------------------------------------------------------------------------------------

# (tissue, centre, radii) in z, y, |x|
_NUCLEI = (
    (GREY, (8, -16, 15), (9, 14, 5)),  # caudate
    (GREY, (1, -3, 26), (10, 17, 6)),  # putamen
    (DEEP, (-1, 0, 19), (7, 10, 4)),  # pallidum
    (DEEP, (3, 14, 10), (9, 14, 9)),  # thalamus
)
_ATRIUM = (6, 34, 23, 6)
# Lateral ventricle: z, y, |x|, radius from the frontal horn over the body to the atrium; occipital; temporal horn.
_HORNS = (
    ((4, -32, 13, 3), (10, -14, 9, 4.5), (17, 8, 10, 4.5), (14, 26, 17, 5), _ATRIUM),
    (_ATRIUM, (1, 56, 19, 2)),
    (_ATRIUM, (-12, 22, 31, 2.5), (-20, -4, 32, 2)),
)


def _nuclei_and_ventricles(rng: np.random.Generator, point: Point, wobble: np.ndarray, tissues: np.ndarray) -> None:
    z, y, x = point
    central = (np.abs(z + 12) < 46) & (np.abs(y - 10) < 60) & (np.abs(x) < 48)
    z, y, x, wobble = z[central], y[central], x[central], 0.8 * wobble[central]
    part, side = tissues[central], np.abs(x)
    for tissue, middle, radii in _NUCLEI:
        part[_ellipsoid((z, y, side), middle, radii) + wobble > 0] = tissue
    wide = rng.uniform(-0.8, 1.2)  # ventricles differ between people, and a little between the sides
    lateral = np.full(z.shape, -99, dtype=np.float32)
    for horn in _HORNS:
        for start, end in itertools.pairwise(horn):
            lateral = np.maximum(lateral, _capsule((z, y, side), start, end))
    lateral += wide + np.float32(rng.uniform(-0.4, 0.4)) * np.sign(x) + wobble
    third = _ellipsoid((z, y, x), (-3, 4, 0), (10, 14, 2.2 + 0.5 * wide))
    fourth = _ellipsoid((z, y, x), (-44, 29, 0), (9, 4, 7))
    part[np.maximum(np.maximum(lateral, third), fourth) > 0] = CSF
    plexus = _ellipsoid((z, y, side), (5, 33, 22), (3.5, 5, 2.5)) + 1.5 * wobble
    part[(plexus > 0) & (lateral > 0.5)] = BLOOD
    tissues[central] = part


def _vessels(rng: np.random.Generator, point: Point, hull: np.ndarray, pia: np.ndarray, tissues: np.ndarray) -> None:
    """The sagittal sinus, and vessels in the sulci: the lines where two labyrinths meet."""
    z, y, x = point
    near = np.flatnonzero((pia < 1.2) & (pia > -3) & (hull > 1))
    there = [p[near] for p in point]
    lines = np.hypot(_sample(_folds(rng, 30), there), _sample(_folds(rng, 30), there))
    tissues[near[lines < 0.95]] = BLOOD
    tissues[(np.abs(x) < 3 - 0.4 * hull) & (hull < 6) & ((z > 25) | (y > 50)) & (z > -15)] = BLOOD
