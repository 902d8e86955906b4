"""Draw the rooms of the project and the way of a case: ``python docs/draw_architecture.py``."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

HERE = Path(__file__).resolve().parent
WIDTH, HEIGHT, DPI = 1600, 1080, 100

GROUND, TEXT, QUIET, ARROW = "#ffffff", "#16202b", "#55606c", "#7a8694"
ENTRY = ("#e8f0fb", "#2f6fb5")
ENGINE = ("#eaf5ee", "#3a8f5c")
STEP = ("#ffffff", "#3a8f5c")
OFFLINE = ("#fdf3e0", "#b9822b")
CHECKS = ("#f3eef9", "#7d5aa8")


@dataclass(frozen=True)
class Box:
    """A rectangle with a title and lines below it; pixels from the top left corner."""

    x: float
    y: float
    width: float
    height: float
    title: str
    lines: tuple[str, ...] = ()
    colours: tuple[str, str] = STEP

    @property
    def left(self) -> tuple[float, float]:
        """Middle of the left edge."""
        return self.x, self.y + self.height / 2

    @property
    def right(self) -> tuple[float, float]:
        """Middle of the right edge."""
        return self.x + self.width, self.y + self.height / 2

    def top(self, share: float = 0.5) -> tuple[float, float]:
        """Point on the top edge."""
        return self.x + share * self.width, self.y

    def bottom(self, share: float = 0.5) -> tuple[float, float]:
        """Point on the bottom edge."""
        return self.x + share * self.width, self.y + self.height


# The way of a case, from left to right through the engine.
WAY = (
    ("Case", ("named sequences,", "one reference grid"), "case  volume  modalities"),
    ("Preprocessing", ("grid check, resampling,", "normalisation; recorded"), "preprocessing/"),
    ("Predictor", ("slice-wise or sliding", "window; CPU or GPU"), "inference/  networks/"),
    ("Post-processing", ("back on the reference", "grid, then thresholds"), "inference/  labels"),
    ("Segmentation", ("ET, TC, WT, volumes,", "how it came about"), "segmentation"),
)


def rooms() -> dict[str, Box]:
    """The large boxes."""
    return {
        "slicer": Box(
            60, 130, 460, 140, "BrainTumorSeg", ("panel and logic in 3D Slicer", "the only room that knows Qt"), ENTRY
        ),
        "command": Box(
            570, 130, 460, 140, "braintumorseg", ("segment · evaluate · models · demo", "files in, files out"), ENTRY
        ),
        "python": Box(1080, 130, 460, 140, "Python", ("segment(case, model, device)", "evaluate · load_model"), ENTRY),
        "engine": Box(60, 370, 1480, 420, "BrainTumorSegLib", (), ENGINE),
        "training": Box(
            60, 880, 715, 130, "Training", ("datasets, recipes, losses on PyTorch Lightning; export",), OFFLINE
        ),
        "testing": Box(825, 880, 715, 130, "Testing", ("unit, Slicer, end to end, benchmarks",), CHECKS),
    }


def steps() -> list[Box]:
    """The way of a case inside the engine."""
    width, gap = 256, 36
    return [Box(90 + i * (width + gap), 440, width, 128, title, lines) for i, (title, lines, _) in enumerate(WAY)]


def draw() -> Figure:
    """The whole picture."""
    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor=GROUND)
    write(figure, 60, 48, "BrainTumorSeg", 34, weight="bold")
    write(figure, 60, 88, "One engine, three ways in; imports point one way.", 18, color=QUIET)
    house, way = rooms(), steps()
    for box in house.values():
        place(figure, box)
    for box, (_, _, files) in zip(way, WAY, strict=True):
        place(figure, box)
        write(figure, box.bottom()[0], box.bottom()[1] + 20, files, 15, color=QUIET, ha="center", family="monospace")
    for before, after in pairwise(way):
        point(figure, before.right, after.left)
    supports(figure, way)
    entrances(figure, house)
    return figure


def supports(figure: Figure, way: list[Box]) -> None:
    """What the steps lean on, in the engine's lower row."""
    preprocessing, predictor, result = way[1], way[2], way[4]
    checkpoint = Box(
        preprocessing.x, 650, predictor.x + predictor.width - preprocessing.x, 110,
        "Checkpoint  ·  catalogue", ("one self-describing file: weights, inputs,", "spacing, regions, accuracy"),
    )  # fmt: skip
    reports = Box(way[3].x, 650, result.x + result.width - way[3].x, 110, "metrics  ·  report", (
        "BraTS measures with named conventions;", "tables, pictures, one HTML page",
    ))  # fmt: skip
    phantom = Box(way[0].x, 650, way[0].width, 110, "phantom", ("synthetic patients for", "the demo and the tests"))
    for box in (phantom, checkpoint, reports):
        place(figure, box)
    point(figure, phantom.top(), (way[0].bottom()[0], way[0].bottom()[1] + 34))
    for step in (preprocessing, predictor):
        point(figure, (step.bottom()[0], checkpoint.y), (step.bottom()[0], step.bottom()[1] + 34))
    point(figure, (result.bottom()[0], result.bottom()[1] + 34), (result.bottom()[0], reports.y))


def entrances(figure: Figure, house: dict[str, Box]) -> None:
    """Arrows between the rooms, each from the room that imports or starts to the one that is used."""
    engine = house["engine"]
    point(figure, house["slicer"].right, house["command"].left)
    write(figure, 545, 186, "starts", 14, color=QUIET, ha="center")
    for name in ("slicer", "command", "python"):
        x = house[name].bottom()[0]
        point(figure, (x, house[name].bottom()[1]), (x, engine.y))
    write(figure, house["slicer"].bottom()[0] + 14, 320, "nodes", 15, color=QUIET)
    write(figure, house["command"].bottom()[0] + 14, 320, "files", 15, color=QUIET)
    write(figure, house["python"].bottom()[0] + 14, 320, "arrays or files", 15, color=QUIET)
    for name in ("training", "testing"):
        x = house[name].top()[0]
        point(figure, (x, house[name].y), (x, engine.bottom()[1]))
    write(figure, house["training"].top()[0] + 14, 836, "imports the engine; writes checkpoints", 15, color=QUIET)
    write(figure, house["testing"].top()[0] + 14, 836, "tests", 15, color=QUIET)


def write(figure: Figure, x: float, y: float, text: str, size: float, **style: Any) -> None:
    """Text centred on the height ``y``; sizes in pixels."""
    options: dict[str, Any] = {"color": TEXT, "va": "center", **style}
    figure.text(x / WIDTH, 1 - y / HEIGHT, text, fontsize=size * 72 / DPI, **options)


def place(figure: Figure, box: Box) -> None:
    """Draw a box; one without lines is a room with its name at the top left."""
    fill, edge = box.colours
    figure.add_artist(
        FancyBboxPatch(
            (box.x / DPI, (HEIGHT - box.y - box.height) / DPI), box.width / DPI, box.height / DPI,
            boxstyle="round,pad=0,rounding_size=0.12", transform=figure.dpi_scale_trans,
            facecolor=fill, edgecolor=edge, linewidth=1.6,
        )
    )  # fmt: skip
    if not box.lines:
        write(figure, box.x + 30, box.y + 36, box.title, 24, weight="bold")
        return
    centre, pitch = box.x + box.width / 2, 26
    first = box.y + box.height / 2 - pitch * len(box.lines) / 2 - 4
    write(figure, centre, first, box.title, 21, weight="bold", ha="center")
    for number, line in enumerate(box.lines, 1):
        write(figure, centre, first + 6 + pitch * number, line, 16, color=QUIET, ha="center")


def point(figure: Figure, start: tuple[float, float], end: tuple[float, float]) -> None:
    """An arrow between two points in pixels."""
    (x0, y0), (x1, y1) = start, end
    figure.add_artist(
        FancyArrowPatch(
            (x0 / DPI, (HEIGHT - y0) / DPI), (x1 / DPI, (HEIGHT - y1) / DPI), transform=figure.dpi_scale_trans,
            arrowstyle="-|>", mutation_scale=15, color=ARROW, linewidth=1.8, shrinkA=2, shrinkB=2,
        )
    )  # fmt: skip


def main() -> None:
    """Write the picture beside this file, as PNG and SVG."""
    figure = draw()
    figure.savefig(HERE / "architecture.png", facecolor=GROUND)
    # A fixed salt and no date: the same picture is the same file.
    with matplotlib.rc_context({"svg.hashsalt": "architecture"}):
        figure.savefig(HERE / "architecture.svg", facecolor=GROUND, metadata={"Date": None})


if __name__ == "__main__":
    main()
