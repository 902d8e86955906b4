"""Draw the icon of the extension and of the module: ``python docs/tools/draw_icon.py``.

A head in axial view, the three regions one inside the other in the colours that the program gives them.
"""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image, ImageDraw

from BrainTumorSegLib.domain.labels import REGIONS

ROOT = Path(__file__).resolve().parents[2]
SIZE, SHARPER = 128, 8
SKULL, BRAIN, FOLD = (52, 64, 84), (226, 229, 234), (170, 178, 190)


def blob(centre: tuple[float, float], radius: float, wobble: float, phase: float) -> list[tuple[float, float]]:
    """Outline of a lesion: a circle with three waves round it, in pixels of the finished icon."""
    angles = (2 * math.pi * step / 90 for step in range(90))
    spokes = ((angle, radius * (1 + wobble * math.sin(3 * angle + phase))) for angle in angles)
    return [(centre[0] + r * math.cos(angle), centre[1] + r * math.sin(angle)) for angle, r in spokes]


def draw() -> Image.Image:
    """The icon, ``SIZE`` × ``SIZE`` RGBA; drawn larger and shrunk, so that its edges are smooth."""
    image = Image.new("RGBA", (SIZE * SHARPER, SIZE * SHARPER))
    pen = ImageDraw.Draw(image)

    def scaled(*values: float) -> list[float]:
        return [value * SHARPER for value in values]

    pen.ellipse(scaled(13, 3, 115, 125), fill=SKULL)
    pen.ellipse(scaled(21, 11, 107, 117), fill=BRAIN)
    pen.line(scaled(64, 12, 64, 116), fill=FOLD, width=2 * SHARPER)
    for side in (-1, 1):  # lateral ventricles
        left, right = sorted((64 + side * 3, 64 + side * 15))
        pen.chord(scaled(left, 44, right, 84), 0, 360, fill=FOLD)
    centre = (82.0, 52.0)
    for region, radius in (("WT", 20.0), ("TC", 13.5), ("ET", 7.5)):
        outline = [(x * SHARPER, y * SHARPER) for x, y in blob(centre, radius, 0.1, radius)]
        pen.polygon(outline, fill=REGIONS[region].colour)
    return image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


def main() -> None:
    """Write it to both places."""
    icon = draw()
    for file in ("BrainTumorSeg.png", "BrainTumorSeg/Resources/Icons/BrainTumorSeg.png"):
        icon.save(ROOT / file, optimize=True)
        print(f"Wrote {file}")


if __name__ == "__main__":
    main()
