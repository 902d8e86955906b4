"""One picture of a result: slices of every sequence with the regions' contours, and the tumour in the head."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...domain.case import Case
from ...domain.labels import REGIONS
from ...domain.measurements import RegionMeasurement
from ...domain.modalities import TITLES
from ...domain.segmentation import Segmentation
from ..words import DISCLAIMER, SOFTWARE, millilitres, printable, shortened
from .views import Scene, choose_slices, on_grid, projections, scene_of, window

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 1600  # pixels
_DPI = 100
_MARGIN, _GAP, _HEADER, _FOOTER, _LABEL = 28, 8, 118, 44, 26

_GROUND, _PANEL, _TEXT, _QUIET = "#0d1117", "#000000", "#f0f3f6", "#9aa5b1"
# Where two contours coincide the inner region's thinner line leaves the outer one visible on both sides.
_SIZES_SHOWN, _TITLE_SHOWN = 4, 22  # there is no room for more, nor for longer names
_LINE = {"WT": 2.0, "TC": 2.3, "ET": 1.3}


def write_montage(case: Case, segmentation: Segmentation, path: Path) -> None:
    """Write the picture as PNG, whatever the path's suffix.

    Raises:
        OSError: the disk refused.
    """
    Path(path).write_bytes(render_montage(case, segmentation))


def render_montage(case: Case, segmentation: Segmentation) -> bytes:
    """The picture as PNG, :data:`WIDTH` pixels wide.

    Axial slices in radiological orientation (the patient's left on the right, anterior up) with true
    proportions, one column (or row, where there are one or two) a sequence, and shaded projections.
    """
    from matplotlib.figure import Figure

    scene = scene_of(case, segmentation)
    plan = _Plan.of(case, scene)
    figure = Figure(figsize=(WIDTH / _DPI, plan.page_height / _DPI), dpi=_DPI, facecolor=_GROUND)
    _draw_header(figure, plan, segmentation)
    _draw_sequences(figure, plan, case, scene)
    _draw_projections(figure, plan, scene)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Case names come in all scripts, the font does not; the page beside the picture spells them right.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="png", facecolor=_GROUND, metadata=SOFTWARE)
    return buffer.getvalue()


@dataclass(frozen=True)
class _Plan:
    """Where things go, in pixels from the top left corner.

    Sequences run across the page and slices down it, or the other way round where there are few sequences,
    which keeps the panels large. The last column (or row) holds the projections.
    """

    slices: tuple[int, ...]
    across: bool
    columns: int
    rows: int
    panel: tuple[float, float]

    @classmethod
    def of(cls, case: Case, scene: Scene) -> _Plan:
        sequences = len(case.modalities)
        across = sequences > 2
        slices = tuple(choose_slices(scene, 3 if across else 4))
        columns, rows = (sequences + 1, 3) if across else (4, sequences + 1)
        width = (WIDTH - 2 * _MARGIN - (columns - 1) * _GAP - (0 if across else _LABEL)) / columns
        _, deep, wide = scene.extent
        height = width * float(np.clip(deep / wide, 0.6, 1.4))
        return cls(slices, across, columns, rows, (width, height))

    @property
    def page_height(self) -> int:
        titles = _LABEL if self.across else 0
        return round(_HEADER + titles + self.rows * (self.panel[1] + _GAP) + _FOOTER)

    def corner(self, sequence: int, position: int) -> tuple[float, float]:
        """Top left corner of the panel of a sequence (the projections come last) at a slice position."""
        column, row = (sequence, position) if self.across else (position, sequence)
        width, height = self.panel
        left = _MARGIN + (0 if self.across else _LABEL)
        top = _HEADER + (_LABEL if self.across else 0)
        return left + column * (width + _GAP), top + row * (height + _GAP)


def _text(figure: Figure, x: float, y: float, text: str, size: float, **style: Any) -> None:
    """Text at pixels from the top left; sizes in pixels. Dollar signs are dollar signs, not formulas."""
    page = figure.get_figheight() * _DPI
    options: dict[str, Any] = {"color": _TEXT, "va": "top", "parse_math": False, **style}
    figure.text(x / WIDTH, 1 - y / page, text, fontsize=size * 72 / _DPI, **options)


def _draw_header(figure: Figure, plan: _Plan, segmentation: Segmentation) -> None:
    sizes = segmentation.measurements
    _text(figure, _MARGIN, 26, shortened(printable(segmentation.case_id), 40), 30, weight="bold")
    _text(figure, _MARGIN, 72, subtitle(segmentation, sizes), 17, color=_QUIET)
    x = WIDTH - _MARGIN + 38
    for name, measured in list(reversed(sizes.items()))[:_SIZES_SHOWN]:
        region = segmentation.segments[name]
        colour = [part / 255 for part in region.colour]
        x -= 238
        _bar(figure, x, 30, 5, 60, colour)
        _text(figure, x + 16, 29, shortened(printable(region.title), _TITLE_SHOWN), 17, color=_QUIET)
        short = f"{name}  " if name in REGIONS else ""  # a region of the model's own has no other name than its title
        _text(figure, x + 16, 54, f"{short}{millilitres(measured.volume_ml)} mL", 25, weight="bold")
    foot = plan.page_height - _FOOTER + 14
    _text(figure, _MARGIN, foot, DISCLAIMER, 16, color=_QUIET)
    legend = "Axial slices, radiological view: the patient's left (L) is on the right."
    _text(figure, WIDTH - _MARGIN, foot, legend, 16, color=_QUIET, ha="right")


def subtitle(segmentation: Segmentation, sizes: Mapping[str, RegionMeasurement]) -> str:
    """The line under the case's name: the model, and how many lesions there are."""
    model = segmentation.provenance.get("model")
    name = f"{model.get('id', '')} {model.get('version', '')}".strip() if isinstance(model, Mapping) else ""
    found = "" if segmentation.labels.array.any() else "no tumour found"
    if not found and "WT" in sizes:
        lesions = sizes["WT"].lesions
        found = "1 lesion" if lesions == 1 else f"{lesions} lesions"
    return "  ·  ".join(part for part in (shortened(printable(name), 50), found) if part)


def _bar(figure: Figure, x: float, y: float, width: float, height: float, colour: list[float]) -> None:
    from matplotlib.patches import Rectangle

    page = figure.get_figheight() * _DPI
    corner = (x / WIDTH, 1 - (y + height) / page)
    size = (width / WIDTH, height / page)
    figure.add_artist(Rectangle(corner, *size, transform=figure.transFigure, facecolor=colour, linewidth=0))


def _panel(figure: Figure, plan: _Plan, sequence: int, position: int) -> Axes:
    x, y = plan.corner(sequence, position)
    width, height = plan.panel
    page = plan.page_height
    axes = figure.add_axes((x / WIDTH, 1 - (y + height) / page, width / WIDTH, height / page), facecolor=_PANEL)
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return axes


def _title(figure: Figure, plan: _Plan, sequence: int, title: str) -> None:
    """The name of a column above it, or of a row beside it."""
    x, y = plan.corner(sequence, 0)
    width, height = plan.panel
    style = {"weight": "bold", "ha": "center"}
    if plan.across:
        _text(figure, x + width / 2, y - _LABEL, title, 19, **style)
    else:
        _text(figure, x - 14, y + height / 2, title, 19, va="center", rotation=90, **style)


def _draw_sequences(figure: Figure, plan: _Plan, case: Case, scene: Scene) -> None:
    for sequence, modality in enumerate(case.modalities):
        _title(figure, plan, sequence, TITLES[modality])
        image = on_grid(case.images[modality], scene.grid)
        low, high = window(image)
        for position, level in enumerate(plan.slices):
            axes = _panel(figure, plan, sequence, position)
            picture = image[level][scene.box[1:]]
            axes.imshow(picture, cmap="gray", vmin=low, vmax=high, interpolation="bicubic", extent=_extent(scene))
            _draw_contours(axes, scene, level)
            _frame(axes, scene.extent[2], scene.extent[1], plan)
            _mark(axes, sequence == 0, "R", "L", _height(scene.height(level)))
            if sequence == position == 0:
                _draw_scale(axes, scene)


def _extent(scene: Scene) -> tuple[float, float, float, float]:
    _, deep, wide = scene.extent
    return 0.0, wide, deep, 0.0


def _draw_contours(axes: Axes, scene: Scene, level: int) -> None:
    _, dy, dx = scene.grid.spacing
    for name, mask in scene.masks.items():
        inside = np.pad(mask[level][scene.box[1:]], 1).astype(np.float32)  # closes contours at the border
        if inside.any():
            y, x = ((np.arange(n) - 0.5) * mm for n, mm in zip(inside.shape, (dy, dx), strict=True))
            colour = [part / 255 for part in scene.styles[name].colour]
            axes.contour(x, y, inside, levels=[0.5], colors=[colour], linewidths=_LINE.get(name, 1.5))


def _frame(axes: Axes, wide: float, deep: float, plan: _Plan) -> None:
    """Show all of ``wide`` × ``deep`` mm in the middle of the panel, with true proportions."""
    width, height = plan.panel
    mm = max(wide / width, deep / height)
    axes.set_xlim(wide / 2 - mm * width / 2, wide / 2 + mm * width / 2)
    axes.set_ylim(deep / 2 + mm * height / 2, deep / 2 - mm * height / 2)
    axes.set_aspect("equal")


def _mark(axes: Axes, with_caption: bool, left: str, right: str, caption: str) -> None:
    style: dict[str, Any] = {"transform": axes.transAxes, "fontsize": 16 * 72 / _DPI, "color": _QUIET}
    axes.text(0.025, 0.5, left, va="center", **style)
    axes.text(0.975, 0.5, right, va="center", ha="right", **style)
    if with_caption:
        axes.text(0.025, 0.975, caption, va="top", **style)


def _height(millimetres: float) -> str:
    return f"{'S' if millimetres >= 0 else 'I'} {abs(millimetres):.0f} mm"


def _draw_scale(axes: Axes, scene: Scene) -> None:
    """A bar of known length in the lower left corner."""
    wide = scene.extent[2]
    length = next((mm for mm in (50, 20, 10, 5) if mm < 0.45 * wide), 1)
    low, high = axes.get_xlim()
    bottom, top = axes.get_ylim()
    x, y = low + 0.03 * (high - low), bottom + 0.04 * (top - bottom)
    axes.plot([x, x + length], [y, y], color=_TEXT, linewidth=2, solid_capstyle="butt")
    caption = f"{length / 10:g} cm" if length >= 10 else f"{length} mm"
    axes.text(x, y - 0.012 * abs(top - bottom), caption, color=_TEXT, fontsize=14 * 72 / _DPI, va="bottom")


def _draw_projections(figure: Figure, plan: _Plan, scene: Scene) -> None:
    last = (plan.columns if plan.across else plan.rows) - 1
    _title(figure, plan, last, "Projections")
    for position, (title, picture) in enumerate(projections(scene).items()):
        if position == (plan.rows if plan.across else plan.columns):
            break
        axes = _panel(figure, plan, last, position)
        deep, wide = picture.shape[:2]
        axes.imshow(picture, interpolation="bilinear", extent=(0, wide, deep, 0))
        _frame(axes, wide, deep, plan)
        sides = {"From the left": ("A", "P"), "From the right": ("P", "A")}.get(title, ("R", "L"))
        _mark(axes, True, *sides, title)
