"""Does the brain lie as the headers say?

The outline of a skull-stripped brain, squeezed into a cube, is compared with the mean outline of brains that lie as
they should (fitted and measured by ``python -m Training.studies.input_checks``). Wrong orientations come from files
without a header, or from tools that lose it; a network then sees a brain upside down and finds little or nonsense.
Left and right are too alike to be told apart.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .examined import Examined

TEMPLATE = Path(__file__).with_name("orientation.json")
EDGE = 10

# How much nearer (squared distance) another way to lie must be; right ones were nearer by 12 and more.
MARGIN = 6.0
# Less is a slab rather than a brain, whose outline says nothing.
SMALLEST_BRAIN_ML = 800.0

Turn = tuple[tuple[int, ...], tuple[int, ...]]
UPRIGHT: Turn = ((0, 1, 2), (1, 1, 1))


def outline(mask: np.ndarray) -> np.ndarray:
    """Share of each of ``EDGE³`` boxes of the mask's bounding box that is brain.

    Args:
        mask: ``(Z, Y, X)``, cropped to the brain, ``EDGE`` voxels or more along each axis.
    """
    result = mask.astype(np.float64)
    for axis, size in enumerate(mask.shape):
        starts = np.arange(EDGE) * size // EDGE
        lengths = np.diff(np.append(starts, size)).reshape([-1 if a == axis else 1 for a in range(3)])
        result = np.add.reduceat(result, starts, axis=axis) / lengths
    return result


def turns() -> Iterator[Turn]:
    """All 24 ways to lie, as permutation and direction of the axes, but for left and right swapped."""
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=2):
            yield order, (*signs, 1)


def turned(array: np.ndarray, turn: Turn) -> np.ndarray:
    """A cube turned otherwise."""
    order, signs = turn
    return array.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]


def symmetric(cube: np.ndarray) -> np.ndarray:
    """The mean of a cube and its mirror image, left and right."""
    return (cube + cube[:, :, ::-1]) / 2


def turn_of(mask: np.ndarray, template: np.ndarray | None = None, margin: float = MARGIN) -> Turn:
    """How the brain has to be turned to lie as those of the template do; :data:`UPRIGHT` where it does already."""
    template = stored_template() if template is None else template
    cube = outline(mask)
    # With the left-right mean of both sides no way to lie counts twice.
    distance = {turn: float(((symmetric(turned(cube, turn)) - template) ** 2).sum()) for turn in turns()}
    nearest = min(distance, key=lambda turn: distance[turn])
    return nearest if distance[nearest] + margin < distance[UPRIGHT] else UPRIGHT


@functools.cache
def stored_template() -> np.ndarray:
    """Mean outline ``(EDGE, EDGE, EDGE)`` of brains in LPS, left-right symmetric."""
    stored = json.loads(TEMPLATE.read_text(encoding="utf-8"))
    return np.array(stored["percent"]).reshape(EDGE, EDGE, EDGE) / 100


def looks_turned(images: np.ndarray, voxel_mm3: float) -> bool:
    """Whether the brain of ``(C, Z, Y, X)`` images in LPS, cropped to it, lies otherwise than its headers say."""
    brain = np.any(images != 0, axis=0)
    if min(brain.shape) < EDGE or np.count_nonzero(brain) * voxel_mm3 < SMALLEST_BRAIN_ML * 1000:
        return False
    return turn_of(brain) != UPRIGHT


def check(examined: Examined) -> list[str]:
    """Whether the brain lies as the headers say; known for models whose axes run LPS."""
    if examined.orientation != "LPS" or not looks_turned(examined.array, examined.voxel_mm3):
        return []
    return ["By its outline the brain does not lie as the headers say: check the orientation of the images."]
