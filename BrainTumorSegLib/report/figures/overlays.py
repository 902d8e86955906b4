"""Where a prediction is wrong, on the images: a zoomed slice a region, with reference, prediction and errors."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo
from scipy import ndimage

from ...domain.case import Case
from ...domain.grid import Grid, reorient
from ...domain.labels import REGIONS, Region, to_regions
from ...domain.modalities import FLAIR, T1, T1CE, T2, TITLES
from ...domain.volume import Volume
from ..page import colour_of
from ..words import SOFTWARE, number, printable
from .views import ORIENTATION, foreground, on_grid, shades

# Okabe and Ito's sky blue and vermilion: apart for every kind of colour vision, and in grey by their brightness.
MISSED, FALSE = (86, 180, 233), (213, 94, 0)
PICTURED = ("WT", "TC", "ET")  # in this order
PANEL = 360  # pixels a side
THUMBNAIL = 150
# The sequence that shows a region best comes first.
_SHOWN_ON = {"WT": (FLAIR, T2, T1CE, T1), "TC": (T1CE, FLAIR, T2, T1), "ET": (T1CE, T1, FLAIR, T2)}
_ZOOM_MARGIN_MM, _ZOOM_MINIMUM_MM = 12.0, 60.0
_FILL = 0.35  # opacity of a region's area; its outline is solid
_ERROR_FILL = 0.75
_OUTLINE = 2  # pixels


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        title: what it shows.
        pixels: uint8 ``(PANEL, PANEL, 3)``, or :data:`THUMBNAIL` a side.
        description: the same in words.
    """

    title: str
    pixels: np.ndarray
    description: str

    def jpeg(self) -> bytes:
        """For a page: small, colours not thinned out."""
        buffer = io.BytesIO()
        Image.fromarray(self.pixels).save(buffer, format="JPEG", quality=86, subsampling=0, optimize=True)
        return buffer.getvalue()


@dataclass(frozen=True)
class Overlay:
    """The panels about one region of one case, from left to right.

    Attributes:
        region: whose errors are shown.
        sequence: on which image.
        panels: whole slice, reference, prediction, errors.
    """

    region: str
    sequence: str
    panels: tuple[Panel, ...]


def overlays(case: Case, prediction: Volume, reference: Volume, regions: Sequence[str] = PICTURED) -> list[Overlay]:
    """The worst slice of each region: the one with most wrong voxels, or most of the region if none is wrong.

    Args:
        case: the images, on any grid of the patient.
        prediction, reference: label maps ``(Z, Y, X)`` in the convention of this library, on one grid.
        regions: which regions, in this order; one that both leave empty is passed over.
    """
    grid = Grid.of(reference).oriented(ORIENTATION)
    found, truth = (
        {name: reorient(mask, volume.affine, ORIENTATION) for name, mask in to_regions(volume.array).items()}
        for volume in (prediction, reference)
    )
    shown: dict[str, np.ndarray] = {}
    result = []
    for region in regions:
        if not (found[region].any() or truth[region].any()):
            continue
        sequence = next(name for name in _SHOWN_ON[region] if name in case.images)
        if sequence not in shown:
            shown[sequence] = on_grid(case.images[sequence], grid)
        result.append(_overlay(region, sequence, shown[sequence], grid, found, truth))
    return result


def thumbnail(image: Volume, labels: Volume, own: Sequence[Region] = ()) -> Panel:
    """A small picture of a result: the axial slice with most tumour, or the middle one where there is none.

    Args:
        image: of the patient, on any grid.
        labels: label map ``(Z, Y, X)`` in the convention of this library.
        own: regions of the model's own, which are shown, too.
    """
    grid = Grid.of(labels).oriented(ORIENTATION)
    there = {region.name: np.isin(labels.array, list(region.labels)) for region in own} | to_regions(labels.array)
    masks = {name: reorient(mask, labels.affine, ORIENTATION) for name, mask in there.items()}
    sizes = np.logical_or.reduce(list(masks.values())).sum(axis=(1, 2))
    level = int(np.argmax(sizes)) if sizes.any() else len(sizes) // 2
    shown = on_grid(image, grid)
    part = Window.around(np.asarray(foreground(shown).any(axis=0)), grid.spacing[1:], margin=4.0)
    grey = shades(shown, level)
    pixels = painted(grey, part, {name: mask[level] for name, mask in masks.items()}, own)
    small = np.asarray(Image.fromarray(pixels).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS))
    return Panel("", small, f"Axial slice at {height_words(grid, level)} with the segmented regions.")


def _overlay(
    region: str,
    sequence: str,
    image: np.ndarray,
    grid: Grid,
    found: Mapping[str, np.ndarray],
    truth: Mapping[str, np.ndarray],
) -> Overlay:
    wrong = (found[region] ^ truth[region]).sum(axis=(1, 2))
    size = (found[region] | truth[region]).sum(axis=(1, 2))
    level = int(np.argmax(wrong if wrong.any() else size))
    flat = {name: (found[name][level], truth[name][level]) for name in REGIONS}
    whole = Window.around(np.asarray(foreground(image).any(axis=0)), grid.spacing[1:], margin=4.0)
    zoom = Window.around(np.logical_or(*flat["WT"]) | np.logical_or(*flat[region]), grid.spacing[1:])
    grey = shades(image, level)
    found_here, truth_here = flat[region]
    area = grid.spacing[1] * grid.spacing[2] / 100
    missed, false = (
        number(area * np.count_nonzero(mask)) for mask in (truth_here & ~found_here, found_here & ~truth_here)
    )
    counts = f"missed {missed} cm², false {false} cm²"
    place = f"{TITLES[sequence]}, slice at {height_words(grid, level)}"
    pictures = (
        (place, framed(grey, whole, zoom), f"{place}; a frame marks the part shown beside it."),
        ("Reference", painted(grey, zoom, {n: pair[1] for n, pair in flat.items()}), "Regions of the reference."),
        ("Prediction", painted(grey, zoom, {n: pair[0] for n, pair in flat.items()}), "Predicted regions."),
        (
            f"Errors of {region}: {counts}",
            difference(grey, zoom, found_here, truth_here),
            f"Errors of {region}: {counts}.",
        ),
    )
    return Overlay(region, sequence, tuple(Panel(*picture) for picture in pictures))


def height_words(grid: Grid, level: int) -> str:
    """RAS position of the slice's middle along the body."""
    _, y, x = grid.shape
    millimetres = float((grid.affine @ ((x - 1) / 2, (y - 1) / 2, level, 1))[2])
    return f"{'S' if millimetres >= 0 else 'I'} {abs(millimetres):.0f} mm"


@dataclass(frozen=True)
class Window:
    """A square part of a slice.

    Attributes:
        top, left: of its corner, mm from the slice's corner.
        side: mm.
        spacing: voxel size ``(y, x)``.
    """

    top: float
    left: float
    side: float
    spacing: tuple[float, ...]

    @classmethod
    def around(cls, mask: np.ndarray, spacing: tuple[float, ...], margin: float = _ZOOM_MARGIN_MM) -> Window:
        """The smallest that shows all of the mask ``(Y, X)`` and a margin; the whole slice where it is empty."""
        ends = []
        for axis, mm in enumerate(spacing):
            along = np.flatnonzero(mask.any(axis=1 - axis))
            first, last = (along[0], along[-1] + 1) if along.size else (0, mask.shape[axis])
            ends.append((first * mm, last * mm))
        side = max(*(last - first + 2 * margin for first, last in ends), _ZOOM_MINIMUM_MM)
        top, left = ((first + last - side) / 2 for first, last in ends)
        return cls(float(top), float(left), float(side), tuple(spacing))

    def sample(self, picture: np.ndarray, order: int) -> np.ndarray:
        """The part of ``(Y, X)`` in :data:`PANEL` pixels a side; 0 outside the slice."""
        steps = (np.arange(PANEL) + 0.5) / PANEL * self.side
        rows = (self.top + steps) / self.spacing[0] - 0.5
        columns = (self.left + steps) / self.spacing[1] - 0.5
        places = np.meshgrid(rows, columns, indexing="ij")
        return ndimage.map_coordinates(picture.astype(np.float32), places, order=order, mode="constant")


def _grey(picture: np.ndarray, part: Window) -> np.ndarray:
    return np.repeat(255 * np.clip(part.sample(picture, 3), 0, 1)[..., None], 3, axis=2)


def _mix(pixels: np.ndarray, where: np.ndarray, colour: Sequence[float] | np.ndarray, opacity: float) -> None:
    pixels[where] = opacity * np.asarray(colour) + (1 - opacity) * pixels[where]


def _inside(mask: np.ndarray, part: Window) -> np.ndarray:
    """The mask in pixels; its edge runs half-way between the voxels' centres."""
    return np.asarray(part.sample(mask, 1) >= 0.5)


def _rim(inside: np.ndarray, width: int = _OUTLINE) -> np.ndarray:
    return inside & ~ndimage.binary_erosion(inside, iterations=width)


def painted(
    picture: np.ndarray, part: Window, masks: Mapping[str, np.ndarray], own: Sequence[Region] = ()
) -> np.ndarray:
    """The regions' areas and outlines, outermost first; ``own`` are those among them of a model's own."""
    pixels = _grey(picture, part)
    colours = {name: 255 * np.asarray(colour_of(name)) for name in masks}
    colours |= {region.name: np.asarray(region.colour) for region in own}
    inner = {name: _inside(masks[name], part) for name in reversed(list(masks))}
    names = list(inner)
    for index, name in enumerate(names):
        deeper = np.logical_or.reduce([inner[other] for other in names[index + 1 :]] or [np.zeros_like(inner[name])])
        _mix(pixels, inner[name] & ~deeper, colours[name], _FILL)
    for name, inside in inner.items():
        _mix(pixels, _rim(inside), colours[name], 1.0)
    return pixels.round().astype(np.uint8)


def difference(picture: np.ndarray, part: Window, found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """What is in the one alone (:data:`FALSE`) or in the other (:data:`MISSED`), whose outline is white."""
    pixels = _grey(picture, part)
    found, truth = _inside(found, part), _inside(truth, part)
    _mix(pixels, truth & ~found, MISSED, _ERROR_FILL)
    _mix(pixels, found & ~truth, FALSE, _ERROR_FILL)
    _mix(pixels, _rim(truth, 1), (255, 255, 255), 0.9)
    return pixels.round().astype(np.uint8)


def framed(picture: np.ndarray, whole: Window, zoom: Window) -> np.ndarray:
    """The whole slice with a frame around the part that the other panels show."""
    pixels = _grey(picture, whole)
    scale = PANEL / whole.side
    top, left = ((a - b) * scale for a, b in ((zoom.top, whole.top), (zoom.left, whole.left)))
    ends = (np.clip([corner, corner + zoom.side * scale], 1, PANEL - 2) for corner in (top, left))
    (y0, y1), (x0, x1) = (pair.round().astype(int) for pair in ends)
    frame = np.zeros(pixels.shape[:2], dtype=bool)
    frame[y0 : y1 + 1, x0 : x1 + 1] = True
    _mix(pixels, _rim(frame), (255, 255, 255), 0.85)
    return pixels.round().astype(np.uint8)


def sheet(title: str, rows: Sequence[Overlay]) -> bytes:
    """All panels of a case as one PNG, for a document."""
    gap, line, head = 8, 26, 40
    step = PANEL + gap
    canvas = Image.new("RGB", (4 * step + gap, head + len(rows) * (PANEL + line)), "white")
    draw = ImageDraw.Draw(canvas)
    draw.text((gap, 8), printable(title), "black", _font("DejaVuSans-Bold", 22))
    for y, overlay in enumerate(rows):
        for x, panel in enumerate(overlay.panels):
            corner = gap + x * step, head + y * (PANEL + line)
            canvas.paste(Image.fromarray(panel.pixels), corner)
            draw.text((corner[0], corner[1] + PANEL + 3), panel.title, "black", _font("DejaVuSans", 14))
    buffer = io.BytesIO()
    about = PngInfo()
    for key, text in SOFTWARE.items():
        about.add_text(key, text)
    canvas.save(buffer, format="PNG", pnginfo=about)
    return buffer.getvalue()


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """One of matplotlib's own fonts: they are there wherever it is."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf", size)
