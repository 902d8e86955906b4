"""How a region changed, on the images of both examinations: the axial slice in which most did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...domain.grid import Grid, reorient
from ...domain.labels import to_regions
from ...longitudinal import Change
from ..words import number
from .overlays import Overlay, Panel, Window, difference, framed, height_words, painted
from .views import ORIENTATION, foreground, on_grid, shades


def changes(change: Change, regions: Sequence[str] = ("WT", "TC", "ET")) -> list[Overlay]:
    """A row of pictures a region; none where the images were not registered.

    Args:
        change: of two examinations.
        regions: which, in this order; one that neither examination shows, or that is not compared, is passed over.
    """
    if change.overlaid is None or change.later.image is None:
        return []
    labels = change.later.labels
    grid = Grid.of(labels).oriented(ORIENTATION)
    before = {name: reorient(mask, labels.affine, ORIENTATION) for name, mask in change.overlaid.masks.items()}
    after = to_regions(reorient(labels.array, labels.affine, ORIENTATION))
    images = on_grid(change.overlaid.image, grid), on_grid(change.later.image, grid)
    shown = [name for name in regions if name in change.regions and (before[name].any() or after[name].any())]
    return [_row(name, grid, images, before, after) for name in shown]


def _row(
    region: str,
    grid: Grid,
    images: tuple[np.ndarray, np.ndarray],
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
) -> Overlay:
    changed = (before[region] ^ after[region]).sum(axis=(1, 2))
    either = (before[region] | after[region]).sum(axis=(1, 2))
    level = int(np.argmax(changed if changed.any() else either))
    first, last = ({name: mask[level] for name, mask in masks.items()} for masks in (before, after))
    spacing = grid.spacing[1:]
    whole = Window.around(np.asarray(foreground(images[1]).any(axis=0)), spacing, margin=4.0)
    zoom = Window.around(first["WT"] | last["WT"] | first[region] | last[region], spacing)
    earlier, later = (shades(image, level) for image in images)
    new, gone = last[region] & ~first[region], first[region] & ~last[region]
    areas = (number(spacing[0] * spacing[1] / 100 * np.count_nonzero(mask)) for mask in (new, gone))
    counts = "new {} cm², gone {} cm²".format(*areas)
    place = f"Later image, slice at {height_words(grid, level)}"
    panels = (
        Panel(place, framed(later, whole, zoom), f"{place}; a frame marks the part shown beside it."),
        Panel("Earlier", painted(earlier, zoom, first), "Regions of the earlier examination on its image."),
        Panel("Later", painted(later, zoom, last), "Regions of the later examination on its image."),
        Panel(
            f"Change of {region}: {counts}",
            difference(later, zoom, last[region], first[region]),
            f"Change of {region}: {counts}; the earlier outline is white.",
        ),
    )
    return Overlay(region, "", panels)
