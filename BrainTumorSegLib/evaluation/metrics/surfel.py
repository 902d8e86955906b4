"""Areas of the surface elements that marching cubes finds in the 2×2×2 neighbourhoods of a mask.

A neighbourhood of eight voxels has 256 states. In each, the surface runs through the middles of the edges between a
voxel inside and one outside (Lorensen and Cline 1987); its area depends on the spacing alone. Nikolov et al. 2021
(doi 10.2196/26151) weight distances between surfaces by it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

FULL = 255

Corner = tuple[int, int, int]
Edge = frozenset[Corner]
Triangle = tuple[Edge, Edge, Edge]

_CORNERS: tuple[Corner, ...] = tuple(itertools.product((0, 1), repeat=3))  # type: ignore[arg-type]


def neighbour_codes(mask: np.ndarray) -> np.ndarray:
    """State of each 2×2×2 neighbourhood: bit ``i`` is set where corner ``i`` (z, y, x counted in binary) is inside.

    Args:
        mask: boolean ``(Z, Y, X)``; outside it all is background.

    Returns:
        uint8 ``(Z+1, Y+1, X+1)``: one a voxel corner.
    """
    codes = np.zeros([size + 1 for size in mask.shape], dtype=np.uint8)
    values = mask.astype(np.uint8)
    for bit, corner in enumerate(_CORNERS):
        # The neighbourhood at a voxel corner reaches back by one voxel along each axis.
        place = tuple(slice(1 - c, 1 - c + size) for c, size in zip(corner, mask.shape, strict=True))
        codes[place] |= values << bit
    return codes


def surfel_areas(spacing: Sequence[float]) -> np.ndarray:
    """Area in mm² of the surface in each of the 256 neighbourhood states, for a spacing ``(z, y, x)`` in mm."""
    z, y, x = spacing
    scale = np.array([y * x, z * x, z * y])
    return np.array([np.linalg.norm(normals * scale, axis=1).sum() for normals in _normals()])


@lru_cache
def _normals() -> tuple[np.ndarray, ...]:
    """Normals ``(triangles, 3)`` in each state; their lengths are the areas on unit voxels."""
    found = []
    for code in range(256):
        inside = {corner for bit, corner in enumerate(_CORNERS) if code >> bit & 1}
        triangles = [triangle for polygon in _polygons(inside) for triangle in _triangulate(polygon)]
        found.append(np.array([_normal(triangle) for triangle in triangles]).reshape(-1, 3))
    return tuple(found)


def _polygons(inside: set[Corner]) -> Iterator[list[Edge]]:
    """Closed outlines of the surface within the cube, through the middles of its edges.

    Where a face has two inside corners across from each other, the rarer side is cut off corner by corner, so that a
    state and its complement have one surface.
    """
    rare = inside if len(inside) <= 4 else set(_CORNERS) - inside
    links: dict[Edge, list[Edge]] = {}
    for face in _faces():
        edges = [frozenset((face[i], face[i - 3])) for i in range(4)]  # from corner i to the next one round
        crossed = [edge for edge in edges if len(edge & rare) == 1]
        if len(crossed) == 4:
            pairs = [(edges[i - 1], edges[i]) for i in range(4) if face[i] in rare]
        else:
            pairs = [(crossed[0], crossed[1])] if crossed else []
        for first, second in pairs:
            links.setdefault(first, []).append(second)
            links.setdefault(second, []).append(first)
    while links:
        start, (current, _) = links.popitem()
        polygon, previous = [start], start
        while current != start:
            polygon.append(current)
            following = next(edge for edge in links.pop(current) if edge != previous)
            previous, current = current, following
        yield polygon


def _faces() -> Iterator[list[Corner]]:
    """Corners of each face in a round."""
    for axis, side in itertools.product(range(3), (0, 1)):
        ring = []
        for a, b in ((0, 0), (0, 1), (1, 1), (1, 0)):
            corner = [a, b]
            corner.insert(axis, side)
            ring.append((corner[0], corner[1], corner[2]))
        yield ring


def _triangulate(polygon: list[Edge]) -> list[Triangle]:
    """The triangulation of the largest area on unit voxels.

    Only for polygons that are not flat does it matter; this is what the usual marching-cubes table has there.
    """
    return max(_triangulations(polygon), key=lambda ts: sum(float(np.linalg.norm(_normal(t))) for t in ts))


def _triangulations(polygon: list[Edge]) -> Iterator[list[Triangle]]:
    if len(polygon) < 3:
        yield []
        return
    for k in range(1, len(polygon) - 1):  # the triangle on the closing side
        for before in _triangulations(polygon[: k + 1]):
            for after in _triangulations(polygon[k:]):
                yield [*before, (polygon[0], polygon[k], polygon[-1]), *after]


def _normal(triangle: Triangle) -> np.ndarray:
    a, b, c = (np.mean(list(edge), axis=0) for edge in triangle)
    return np.cross(b - a, c - a) / 2
