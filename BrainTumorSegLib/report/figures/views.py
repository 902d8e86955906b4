"""Arrays for a picture: slices through the tumour and shaded projections, in radiological orientation.

Everything here lies on the label map's grid listed along LPS: ``x`` grows to the patient's left, ``y`` to the
back, ``z`` upwards. So ``array[z]`` drawn with its first row on top is an axial slice as radiologists see it:
anterior up, the patient's left on the right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage

from ...domain.case import Case
from ...domain.grid import Grid, reorient
from ...domain.labels import REGIONS, Region
from ...domain.segmentation import Segmentation
from ...domain.volume import Volume, bounding_box
from ...preprocessing.resampling import onto

ORIENTATION = "LPS"
_MARGIN_MM = (4.0, 4.0, 9.0)  # z, y, x: the letters for the sides stand beside the head
# A voxel belongs to the head where it differs from the background by a tenth of what bright tissue does.
_FOREGROUND = 0.1
# Projections have a voxel a millimetre, but at least and at most so many along the longest side: fewer look
# coarse, and more would cost time and memory for details that a picture of a few hundred pixels cannot show.
_PROJECTION_VOXELS = (32, 200)
_SMOOTHING_VOXELS = 1.2  # of the surface for its shading only; its outline stays as it is
# Drawn from the outside in, each more solid than the one around it.
_OPACITY = {"WT": 0.5, "TC": 0.6, "ET": 0.85}
_HEAD_COLOUR, _HEAD_OPACITY = (0.5, 0.54, 0.6), 0.6


@dataclass(frozen=True)
class Scene:
    """What is common to all pictures of a case.

    Attributes:
        grid: the label map's grid along LPS.
        masks: region → boolean ``(Z, Y, X)`` on it, outermost region first.
        head: boolean ``(Z, Y, X)``, where the reference image is not background.
        box: the part of the grid worth showing.
        styles: region → its colour and title.
    """

    grid: Grid
    masks: Mapping[str, np.ndarray]
    head: np.ndarray
    box: tuple[slice, ...]
    styles: Mapping[str, Region] = field(default_factory=lambda: REGIONS)

    @property
    def extent(self) -> tuple[float, float, float]:
        """Size of the box in millimetres ``(z, y, x)``."""
        z, y, x = ((part.stop - part.start) * mm for part, mm in zip(self.box, self.grid.spacing, strict=True))
        return z, y, x

    def height(self, level: int) -> float:
        """RAS millimetres along the body (S positive) at the centre of slice ``level``."""
        _, y, x = ((part.start + part.stop - 1) / 2 for part in self.box)
        return float((self.grid.affine @ (x, y, level, 1))[2])


def scene_of(case: Case, segmentation: Segmentation) -> Scene:
    """Bring label map and reference image to the grid of the pictures."""
    labels = segmentation.labels
    grid = Grid.of(labels).oriented(ORIENTATION)
    masks = {
        name: reorient(segmentation.mask(name), labels.affine, ORIENTATION)
        for name in (*reversed(segmentation.regions), *(region.name for region in segmentation.own))
    }
    head = foreground(on_grid(case.reference_volume, grid))
    tumour = np.logical_or.reduce(list(masks.values()))
    margin = [round(wanted / mm) for wanted, mm in zip(_MARGIN_MM, grid.spacing, strict=True)]
    return Scene(grid, masks, head, bounding_box(head | tumour, margin), segmentation.segments)


def on_grid(volume: Volume, grid: Grid) -> np.ndarray:
    """An image of the patient, float32 ``(Z, Y, X)``, on the grid of the pictures."""
    return onto(volume.array, Grid.of(volume), grid).astype(np.float32, copy=False)


def foreground(image: np.ndarray) -> np.ndarray:
    """Where an image is not background, whatever the background's value; everywhere where that is unclear."""
    distance = np.abs(image - np.median(image[:: max(len(image) - 1, 1), [0, 0, -1, -1], [0, -1, 0, -1]]))
    bright = distance[distance > 0]
    if not bright.size:
        return np.ones(image.shape, dtype=bool)
    return distance > _FOREGROUND * np.percentile(bright[::7], 99)


def choose_slices(scene: Scene, count: int) -> list[int]:
    """Axial slices through the tumour, or the head where there is none, from the feet upwards.

    A voxel weighs as many times as there are regions that hold it, so that the core draws the slices to itself.
    """
    weights = sum(mask.sum(axis=(1, 2), dtype=np.int64) for mask in scene.masks.values())
    if not np.any(weights):
        weights = scene.head.sum(axis=(1, 2), dtype=np.int64)
    return spread(np.asarray(weights), count)


def spread(weights: np.ndarray, count: int) -> list[int]:
    """``count`` different indices, each in the middle of an equal part of the total weight.

    Where the weight lies on too few indices for that, even steps over these, then over their neighbours.
    """
    count = min(count, len(weights))
    share = np.cumsum(weights) / weights.sum()
    chosen = np.searchsorted(share, (np.arange(count) + 0.5) / count)
    if len(set(chosen.tolist())) == count:
        return chosen.tolist()
    heavy = np.flatnonzero(weights)
    if len(heavy) >= count:
        return heavy[np.linspace(0, len(heavy) - 1, count).round().astype(int)].tolist()
    first = int(np.clip(heavy[len(heavy) // 2] - count // 2, 0, len(weights) - count))
    return list(range(first, first + count))


def window(image: np.ndarray) -> tuple[float, float]:
    """Grey values shown as black and as white: percentiles of the tissue."""
    low, high = np.percentile(image[foreground(image)], (1, 99.5))
    return float(low), float(max(high, low + 1e-6))


def shades(image: np.ndarray, level: int) -> np.ndarray:
    """An axial slice of ``(Z, Y, X)`` from 0, black, to 1, white, by the window of the whole image."""
    low, high = window(image)
    return np.clip((image[level] - low) / (high - low), 0, 1)


def projections(scene: Scene) -> dict[str, np.ndarray]:
    """Title → RGB picture ``(rows, columns, 3)``, 0 to 1, of the tumour inside the head, seen from that side."""
    layers = [_layer(ndimage.binary_fill_holes(_isotropic(scene.head, scene)), _HEAD_COLOUR, _HEAD_OPACITY)]
    for name, mask in scene.masks.items():
        if mask.any():
            style = scene.styles[name]
            colour = tuple(part / 255 for part in style.colour)
            layers.append(_layer(_isotropic(mask, scene), colour, _OPACITY.get(name, style.opacity)))
    return {title: _composed(layers, turn) for title, turn in _VIEWS.items()}


@dataclass(frozen=True)
class _Layer:
    """A body to look at: its mask, the same smoothed for its shading, colour (0 to 1) and opacity."""

    mask: np.ndarray
    smooth: np.ndarray
    colour: tuple[float, ...]
    opacity: float


def _layer(mask: np.ndarray, colour: tuple[float, ...], opacity: float) -> _Layer:
    smooth = ndimage.gaussian_filter(mask.astype(np.float32), _SMOOTHING_VOXELS)
    return _Layer(mask, smooth, colour, opacity)


# Each turns (z, y, x) along LPS into (depth, row, column) as seen from that side.
_VIEWS = {
    "From below": lambda a: a,
    "From the front": lambda a: a[::-1].transpose(1, 0, 2),
    "From the left": lambda a: a[::-1, :, ::-1].transpose(2, 0, 1),
    "From the right": lambda a: a[::-1, ::-1].transpose(2, 0, 1),
}


def _isotropic(mask: np.ndarray, scene: Scene) -> np.ndarray:
    """The mask in the scene's box with cubic voxels."""
    inside = mask[scene.box]
    longest = max(scene.extent)
    pitch = longest / np.clip(longest, *_PROJECTION_VOXELS)
    size = [max(round(mm / pitch), 1) for mm in scene.extent]
    factors = [new / old for new, old in zip(size, inside.shape, strict=True)]
    finer = ndimage.zoom(inside.astype(np.float32), factors, order=1, mode="nearest", grid_mode=True)
    return finer >= 0.5


def _composed(layers: Sequence[_Layer], turn: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Lay the bodies' lit surfaces over each other on black, the first one undermost."""
    picture = np.zeros((*turn(layers[0].mask).shape[1:], 3), dtype=np.float32)
    for layer in layers:
        hit, light = _shaded(turn(layer.mask), turn(layer.smooth))
        alpha = (hit * layer.opacity)[..., None]
        picture = light[..., None] * np.asarray(layer.colour) * alpha + picture * (1 - alpha)
    return picture


def _shaded(mask: np.ndarray, smooth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether a ray along the first axis meets the mask, and how bright its surface is there under a headlight."""
    hit = np.asarray(mask.any(axis=0))
    field = np.pad(smooth, 1)
    row, column = (index + 1 for index in np.indices(hit.shape))
    depth = mask.argmax(axis=0) + 1
    normal = (
        field[depth + 1, row, column] - field[depth - 1, row, column],
        field[depth, row + 1, column] - field[depth, row - 1, column],
        field[depth, row, column + 1] - field[depth, row, column - 1],
    )
    length = np.sqrt(sum(part**2 for part in normal))
    return hit, 0.2 + 0.8 * np.abs(normal[0]) / np.maximum(length, 1e-6)
