"""Draws the pictures of the documentation from a real run on the bench.

``python -m Testing.slicer.pictures CASE_FOLDER [-m MODEL] [-o docs]`` loads a case through the panel, segments it in the
child process, and writes ``slicer-panel.png``, ``slicer-results.png``, ``slicer-views.png`` and ``slicer-overview.png``.
The views are drawn by VTK from the nodes of the scene; the application itself has no part in them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

os.environ["QT_QPA_PLATFORM"] = "offscreen"
os.environ["QT_SCALE_FACTOR"] = "2"  # as on a screen of high resolution
_DARK = {
    "Window": "#2f3136", "Base": "#26282c", "AlternateBase": "#2f3136", "Button": "#3b3e44", "Text": "#e8e8e8",
    "WindowText": "#e8e8e8", "ButtonText": "#e8e8e8", "Highlight": "#3d7ab8", "HighlightedText": "#ffffff",
    "ToolTipBase": "#26282c", "ToolTipText": "#e8e8e8", "PlaceholderText": "#9a9a9a", "Link": "#7ab6f0",
    "Light": "#4a4d54", "Midlight": "#44474e", "Mid": "#303238", "Dark": "#1f2124", "Shadow": "#141517",
}  # fmt: skip
WIDTH = 460


def dress() -> None:
    """Fusion in Slicer's dark colours, whatever the machine's own style is."""
    import qt
    import slicer

    slicer.app.setStyle("Fusion")
    palette = qt.QPalette()
    for role, colour in _DARK.items():
        palette.setColor(getattr(qt.QPalette, role), qt.QColor(colour))
    for role in ("Text", "WindowText", "ButtonText"):
        palette.setColor(qt.QPalette.Disabled, getattr(qt.QPalette, role), qt.QColor("#7d8087"))
    slicer.app.setPalette(palette)
    font = qt.QFont("DejaVu Sans")
    font.setPointSize(9)
    slicer.app.setFont(font)


def grab(widget: Any, opened: set[str], path: Path) -> None:
    """The panel with these parts unfolded, as high as it then is."""
    import ctk
    import qt
    import slicer

    for part in widget.findChildren(ctk.ctkCollapsibleButton):
        part.collapsed = part.name not in opened
    widget.setMinimumSize(WIDTH, 0)
    for _ in range(3):
        slicer.app.processEvents()
        widget.layout().activate()
        widget.resize(WIDTH, widget.minimumSizeHint().height())
    slicer.app.processEvents()
    picture = qt.QPixmap(widget.size * widget.devicePixelRatioF())
    picture.setDevicePixelRatio(widget.devicePixelRatioF())
    picture.fill(qt.QColor(_DARK["Window"]))
    widget.render(picture)
    picture.save(str(path))


def run(case: Path, model: str, folder: Path) -> tuple[Any, Any]:
    """Click through a case; the panel and the segmentation."""
    import slicer

    from .bench.driving import Panel
    from .harness.dialogs import DESK

    dress()
    slicer.util.selectModule("BrainTumorSeg")
    panel = Panel(DESK)
    panel.load(case)
    panel.click("assignButton")
    panel.choose_model(model)
    panel.wait_until(lambda: panel.widget.models._probe is None)
    shell = slicer.modules.braintumorseg.widgetRepresentation()
    grab(shell, {"inputsCollapsibleButton", "modelCollapsibleButton", "outputCollapsibleButton", "segmentCollapsibleButton"}, folder / "slicer-panel.png")
    node = panel.segment()
    reference = next(case.glob("*seg.nii.gz"), None)
    opened = {"segmentCollapsibleButton", "resultsCollapsibleButton"}
    if reference is not None:
        panel.ui.referenceSelector.setCurrentNode(slicer.util.loadLabelVolume(str(reference), {"name": "reference"}))
        panel.click("compareButton")
    panel.click("show3DButton")
    grab(shell, opened, folder / "slicer-results.png")
    grab(shell, opened | {"inputsCollapsibleButton"}, folder / "overview-panel.png")
    return panel, node


def main() -> int:
    """Draw all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", type=Path)
    parser.add_argument("-m", "--model", default="brats-segresnet")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs"))
    given = parser.parse_args()
    from .harness.start import start

    with tempfile.TemporaryDirectory() as folder:
        held = start(Path(folder))
        panel, node = run(given.case.resolve(), given.model, given.output)
        from .views import draw_views

        picture = draw_views(node, panel.ui.t1ceSelector.currentNode())
        picture.save(given.output / "slicer-views.png", optimize=True)
        side = given.output / "overview-panel.png"
        overview(Image.open(side).convert("RGB"), picture).save(given.output / "slicer-overview.png", optimize=True)
        side.unlink()
        held.module.close()
    return 0


def overview(panel: Image.Image, views: Image.Image) -> Image.Image:
    """Panel on the left, views on the right, in one picture of the views' height."""
    height = views.height
    whole = Image.new("RGB", (panel.width + views.width, height), _DARK["Window"])
    whole.paste(panel.crop((0, 0, panel.width, min(panel.height, height))), (0, 0))
    whole.paste(views, (panel.width, 0))
    return whole


if __name__ == "__main__":
    sys.exit(main())
