"""Pairs of small masks for comparisons with other libraries: random ones, and ones made for a difficulty."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

Box = tuple[slice, slice, slice]
BOX = np.s_[4:8, 5:10, 3:9]


@dataclass(frozen=True)
class Pair:
    """Two masks ``(Z, Y, X)``, neither empty, and the spacing ``(z, y, x)`` in mm."""

    name: str
    prediction: np.ndarray
    reference: np.ndarray
    spacing: tuple[float, float, float]


def random_pairs(number: int) -> Iterator[Pair]:
    """Blobs of all sizes against the same moved, grown, eaten at and sprinkled; each pair is the same every time."""
    for seed in range(number):
        generator = np.random.default_rng(seed)
        shape = generator.integers(6, 25, 3)
        spacing = tuple(np.round(generator.uniform(0.4, 4.0, 3), generator.integers(0, 3)).clip(0.4).tolist())
        field = ndimage.gaussian_filter(generator.standard_normal(shape), generator.uniform(0.0, 3.0))
        reference = field > np.quantile(field, generator.uniform(0.3, 0.98))
        prediction = np.roll(reference, tuple(generator.integers(-2, 3, 3)), (0, 1, 2))
        if seed % 3 == 0:
            prediction = ndimage.binary_dilation(prediction)
        noise = generator.random(shape)
        prediction = (prediction & (noise > 0.05)) | (noise > 1 - generator.choice([0.0, 0.001, 0.02]))
        for mask in (prediction, reference):
            mask[tuple(generator.integers(0, shape))] = True
        yield Pair(f"random {seed}", prediction, reference, spacing)


def made_pairs() -> list[Pair]:
    """Twenty pairs, each with a difficulty of its own."""
    ones, thick = (1.0, 1.0, 1.0), (5.0, 0.9, 0.7)
    shell = _mask(np.s_[2:11, 2:12, 2:11]) & ~_mask(np.s_[5:8, 5:9, 5:8])
    ball = np.linalg.norm(np.indices((12, 14, 13)) - np.array([6, 7, 6]).reshape(3, 1, 1, 1), axis=0)
    checks = np.indices((12, 14, 13)).sum(axis=0) % 2 == 0
    diagonal = np.zeros((12, 14, 13), bool)
    diagonal[np.arange(12), np.arange(12), np.arange(12)] = True
    rows = {
        "the same box": (BOX, BOX, ones),
        "moved along z": (np.s_[5:9, 5:10, 3:9], BOX, thick),
        "moved along y": (np.s_[4:8, 6:11, 3:9], BOX, thick),
        "moved along x": (np.s_[4:8, 5:10, 5:11], BOX, thick),
        "box in a box": (np.s_[5:7, 6:9, 4:8], BOX, ones),
        "box around a box": (np.s_[1:11, 2:13, 1:12], BOX, thick),
        "two voxels apart": (np.s_[0:1, 0:1, 0:1], np.s_[11:12, 13:14, 12:13], thick),
        "the same voxel": (np.s_[3:4, 3:4, 3:4], np.s_[3:4, 3:4, 3:4], thick),
        "voxel against box": (np.s_[0:1, 13:14, 6:7], BOX, ones),
        "at the edge of the grid": (np.s_[0:4, 0:5, 0:6], np.s_[0:5, 0:5, 0:5], thick),
        "the whole grid": (np.s_[:, :, :], BOX, ones),
        "one slice thick": (np.s_[6:7, 2:12, 2:11], np.s_[7:8, 2:12, 2:11], thick),
        "a line against a plane": (np.s_[6:7, 7:8, :], np.s_[:, 7:8, :], ones),
        "a hollow box": (shell, np.s_[2:11, 2:12, 2:11], thick),
        "a hole in the reference": (np.s_[2:11, 2:12, 2:11], shell, ones),
        "balls": (ball < 4.2, ball < 5.7, ones),
        "flattened balls": (ball < 3.0, ball < 5.0, thick),
        "a chequered cube": (checks & _mask(BOX), BOX, ones),
        "corner to corner": (diagonal, np.roll(diagonal, 2, 1), thick),
        "one of two": (np.s_[0:3, 0:3, 0:3], _mask(np.s_[0:3, 0:3, 0:3]) | _mask(np.s_[9:12, 10:14, 9:13]), ones),
    }
    return [Pair(name, _mask(p), _mask(r), spacing) for name, (p, r, spacing) in rows.items()]


def _mask(where: Box | np.ndarray) -> np.ndarray:
    mask = np.zeros((12, 14, 13), bool)
    mask[where] = True
    return mask
