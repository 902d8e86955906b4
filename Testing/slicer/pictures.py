"""Draws the pictures of the documentation from a real run on the bench.

``python -m Testing.slicer.pictures CASE_FOLDER [--raw FOLDER] [-m MODEL] [-o docs/images]`` loads a case through the
panel, segments it in the child process, and writes ``slicer-panel.png``, ``slicer-results.png``, ``slicer-views.png``
and ``slicer-overview.png``. The views are drawn by VTK from the nodes of the scene; the application has no part in
them. With the raw scans of another patient it also writes ``slicer-raw-scans.png``, the panel before it segments them.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from BrainTumorSegLib.domain.options import DEFAULT_MODEL

os.environ["QT_QPA_PLATFORM"] = "offscreen"
os.environ["QT_SCALE_FACTOR"] = "2"  # as on a screen of high resolution
WIDTH = 460
PATIENCE = 3600  # seconds that a busy machine may need for a patient


def dress() -> None:
    """Qt's own style and a font that is everywhere, whatever the machine's are."""
    import qt
    import slicer

    slicer.app.setStyle("Fusion")
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
    for _ in range(3):  # wrapped lines settle step by step
        widget.layout().activate()
        widget.resize(WIDTH, max(widget.layout().totalHeightForWidth(WIDTH), widget.sizeHint().height()))
        slicer.app.processEvents()
    picture = qt.QPixmap(widget.size * widget.devicePixelRatioF())
    picture.setDevicePixelRatio(widget.devicePixelRatioF())
    widget.render(picture)
    picture.save(str(path))


def draw_raw(case: Path, folder: Path) -> None:
    """What the panel says of raw scans."""
    import slicer

    from .bench.driving import Panel
    from .harness.dialogs import DESK

    slicer.mrmlScene.Clear(0)
    panel = Panel(DESK)
    panel.load(case)
    opened = {"inputsCollapsibleButton", "advancedCollapsibleButton"}
    grab(slicer.modules.braintumorseg.widgetRepresentation(), opened, folder / "slicer-raw-scans.png")


def run(case: Path, model: str, folder: Path) -> tuple[Any, Any]:
    """Click through a case; the panel and the segmentation."""
    import slicer

    from .bench.driving import Panel
    from .harness.dialogs import DESK

    panel = Panel(DESK)
    panel.load(case)
    panel.click("assignButton")
    panel.choose_model(model)
    panel.wait_until(lambda: panel.widget.models._probe is None)
    shell = slicer.modules.braintumorseg.widgetRepresentation()
    before = ("inputs", "model", "output", "segment")
    grab(shell, {f"{name}CollapsibleButton" for name in before}, folder / "slicer-panel.png")
    panel.click("segmentButton")
    panel.wait_until(lambda: not panel.ui.cancelButton.enabled, PATIENCE)
    node = panel.ui.resultSelector.currentNode()
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
    parser.add_argument("--raw", type=Path)
    parser.add_argument("-m", "--model", default=DEFAULT_MODEL)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images"))
    given = parser.parse_args()
    from .harness.start import start

    with tempfile.TemporaryDirectory() as folder:
        held = start(Path(folder))
        dress()
        import slicer

        slicer.util.selectModule("BrainTumorSeg")
        panel, node = run(given.case.resolve(), given.model, given.output)
        from .views import draw_views

        file = given.output / "overview-panel.png"
        side = Image.open(file).convert("RGB")
        views = draw_views(node, panel.ui.t1ceSelector.currentNode(), side.height // 2)
        smaller(views).save(given.output / "slicer-views.png", optimize=True)
        smaller(beside(side, views)).save(given.output / "slicer-overview.png", optimize=True)
        file.unlink()
        if given.raw:
            draw_raw(given.raw.resolve(), given.output)
        held.module.close()
    return 0


def smaller(picture: Image.Image) -> Image.Image:
    """Two thirds: sharp enough for a page, and light."""
    return picture.resize((2 * picture.width // 3, 2 * picture.height // 3), Image.Resampling.LANCZOS)


def beside(panel: Image.Image, views: Image.Image) -> Image.Image:
    """Panel on the left, views on the right."""
    whole = Image.new("RGB", (panel.width + views.width, views.height))
    whole.paste(panel, (0, 0))
    whole.paste(views, (panel.width, 0))
    return whole


if __name__ == "__main__":
    sys.exit(main())
