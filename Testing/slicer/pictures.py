"""Draws the pictures of the documentation from a real run on the bench.

``python -m Testing.slicer.pictures CASE_FOLDER [--raw FOLDER] [-m MODEL] [-o docs/images]`` loads a case through the
panel, segments it in the child process, and writes ``slicer-start.png`` and ``slicer-overview.png`` (panel and views in
one window before and after the run, on Slicer's smallest screen), ``slicer-dark.png`` (on a large one with dark
colours), ``slicer-panel.png`` (as it opens, and with *Advanced* unfolded) and ``slicer-results.png``. The views are
drawn by VTK from the nodes of the scene; the application has no part in them. With the raw scans of another patient it
also writes ``slicer-raw-scans.png``, the panel before it segments them. ``slicer-add-model.png`` shows the dialogue for
a made model of nnU-Net, and the list of public models; ``slicer-follow-up.png`` how the tumour of a phantom changed.
``--no-run`` draws only what needs no run of a model: the panel as it opens, and these two.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from BrainTumorSegLib.domain.options import DEFAULT_MODEL

os.environ["QT_QPA_PLATFORM"] = "offscreen"
os.environ["QT_SCALE_FACTOR"] = "1.5"  # sharp enough for a page, and light
SCALE = 1.5
WIDTH = 400
LARGE, SMALL = (1920, 1080), (1366, 768)
DARK = "#353535"
PATIENCE = 3600  # seconds that a busy machine may need for a patient


def dress(background: str = "") -> None:
    """Qt's own style, in its colours or those of a background, and a font that is everywhere."""
    import qt
    import slicer

    slicer.app.setStyle("Fusion")
    font = qt.QFont("DejaVu Sans")
    font.setPointSize(9)
    slicer.app.setFont(font)
    slicer.app.setPalette(qt.QPalette(qt.QColor(background)) if background else slicer.app.style().standardPalette())


def shell() -> Any:
    """The panel's outermost widget."""
    import slicer

    return slicer.modules.braintumorseg.widgetRepresentation()


def unfold(*opened: str) -> None:
    """These parts, and fold the others."""
    import ctk

    for part in shell().findChildren(ctk.ctkCollapsibleButton):
        part.collapsed = part.name.removesuffix("CollapsibleButton") not in opened


def grab(widget: Any) -> Image.Image:
    """A widget as it is."""
    import qt

    picture = qt.QPixmap(widget.size * widget.devicePixelRatioF())
    picture.setDevicePixelRatio(widget.devicePixelRatioF())
    widget.render(picture)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "grabbed.png"
        picture.save(str(file))
        return Image.open(file).convert("RGB")


def grab_panel(*opened: str) -> Image.Image:
    """The panel with these parts unfolded, as high as it then is."""
    import slicer

    unfold(*opened)
    widget = shell()
    for _ in range(4):  # wrapped lines settle step by step
        widget.layout().activate()
        widget.resize(WIDTH, max(widget.layout().totalHeightForWidth(WIDTH), widget.minimumSizeHint().height()))
        slicer.app.processEvents()
    return grab(widget)


@contextmanager
def window(size: tuple[int, int]) -> Iterator[tuple[Any, Any]]:
    """A window of the application: its list of modules above, the panel on the left; and where the views belong."""
    import ctk
    import qt
    import slicer

    whole, side, views = qt.QWidget(), qt.QWidget(), qt.QLabel()
    modules, scrolled, helped = qt.QComboBox(), qt.QScrollArea(), ctk.ctkCollapsibleButton("Help & Acknowledgement")
    modules.addItem("Brain Tumour Segmentation")
    helped.collapsed = True
    helped.setFixedHeight(helped.HEIGHT)
    scrolled.setWidgetResizable(True)
    scrolled.setFrameShape(qt.QFrame.NoFrame)
    scrolled.setWidget(shell())
    column = qt.QVBoxLayout(side)
    bar = qt.QHBoxLayout()
    for widget in (qt.QLabel("Modules:"), modules):
        bar.addWidget(widget)
    bar.setStretch(1, 1)
    column.addLayout(bar)
    column.addWidget(helped)
    column.addWidget(scrolled, 1)
    row = qt.QHBoxLayout(whole)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(side)
    row.addWidget(views, 1)
    side.setFixedWidth(WIDTH + 30)
    whole.resize(*size)
    whole.show()
    try:
        for _ in range(4):
            slicer.app.processEvents()
        yield whole, views
    finally:
        kept = scrolled.takeWidget()
        kept.setParent(None)
        kept.show()
        whole.hide()
        whole.deleteLater()


def draw_window(node: Any, reference: Any, size: tuple[int, int], *opened: str) -> Image.Image:
    """Panel and views as they stand beside each other."""
    import slicer

    from .views import draw_views

    unfold(*opened)
    with window(size) as (whole, views):
        for _ in range(6):
            slicer.app.processEvents()
        picture = grab(whole)
        place = (round(SCALE * views.x), 0)
        drawn = draw_views(node, reference, picture.width - place[0], picture.height)
        picture.paste(drawn, place)
    return picture


def beside(*pictures: Image.Image) -> Image.Image:
    """Next to each other, from the top."""
    size = (sum(each.width for each in pictures), max(each.height for each in pictures))
    whole, left = Image.new("RGB", size, pictures[0].getpixel((0, 0))), 0
    for each in pictures:
        whole.paste(each, (left, 0))
        left += each.width
    return whole


def draw_raw(case: Path) -> Image.Image:
    """What the panel says of raw scans."""
    import slicer

    from .bench.driving import Panel
    from .harness.dialogs import DESK

    slicer.mrmlScene.Clear(0)
    DESK.take()  # what the pictures before have asked
    Panel(DESK).load(case)
    return grab_panel("inputs")


def draw_follow_up() -> Image.Image:
    """What the panel tells of two examinations of a phantom."""
    import numpy as np
    import slicer

    from .bench.driving import Panel
    from .bench.examinations import MOVED, examination, phantom, smaller
    from .harness.dialogs import DESK

    slicer.mrmlScene.Clear(0)
    panel = Panel(DESK)
    later, _scan = examination("2026", phantom().labels.array, "t1ce", np.eye(4))
    earlier, _scan = examination("2025", smaller(), "t1ce", MOVED)
    panel.ui.resultSelector.setCurrentNode(later)
    panel.ui.earlierSelector.setCurrentNode(earlier)
    panel.ui.daysSpinBox.value = 365
    panel.click("followUpButton")
    panel.wait_until(lambda: not panel.widget.followUp.under_way, PATIENCE)
    return grab_panel("results", "followUp")


def draw_adding(file: Path) -> None:
    """What is asked of a model whose files leave something open, and the public models with their cards."""
    import slicer

    from Testing.nnunet_samples import make_plans, write_model

    from .bench.driving import Panel
    from .harness.dialogs import DESK

    panel, taken = Panel(DESK), []

    def take(dialog: Any) -> bool:
        dialog.resize(WIDTH, 460)
        for _ in range(4):
            slicer.app.processEvents()
        taken.append(grab(dialog))
        return False

    with tempfile.TemporaryDirectory() as folder:
        channels = {"0": "mr_pre", "1": "mr_post", "2": "T2w", "3": "FLAIR"}
        labels = {"background": 0, "lesion": [1, 2, 3], "tumor core": [1, 3], "enhancing": 3}
        plans = make_plans(3, (16, 16, 16), (4, 8)) | {"dataset_name": "Dataset501_Glioma"}
        write_model(Path(folder), channels=channels, labels=labels, plans=plans, folds=5)
        DESK.answer(folder, take)
        panel.ui.addModelButton.menu().actions()[1].trigger()
        panel.wait_until(lambda: not panel.widget.models.work.busy)
    unfold("advanced", "publicModels")
    part = panel.ui.publicModelsCollapsibleButton
    for _ in range(4):
        shell().resize(WIDTH, 1400)
        slicer.app.processEvents()
    save(beside(taken[0], grab(part)), file)
    panel.ui.modelStatusLabel.text = ""


def draw_run(case: Path, model: str, folder: Path, *, runs: bool) -> None:
    """Click through a case, and draw the panel before and after."""
    import slicer

    from .bench.driving import Panel
    from .harness.dialogs import DESK

    panel = Panel(DESK)
    panel.load(case)
    panel.click("assignButton")
    panel.choose_model(model)
    panel.wait_until(lambda: panel.widget.models._probe is None)
    reference = panel.ui.t1ceSelector.currentNode()
    save(beside(grab_panel("inputs"), grab_panel("inputs", "advanced")), folder / "slicer-panel.png")
    if not runs:
        return
    save(draw_window(None, reference, SMALL, "inputs"), folder / "slicer-start.png")
    panel.click("applyButton")
    panel.wait_until(lambda: not panel.ui.cancelButton.enabled, PATIENCE)
    node = panel.ui.resultSelector.currentNode()
    expert = next(case.glob("*seg.nii.gz"), None)
    opened = ("inputs", "results", *(("comparison",) if expert else ()))
    if expert is not None:
        panel.ui.referenceSelector.setCurrentNode(slicer.util.loadLabelVolume(str(expert), {"name": "reference"}))
        panel.click("compareButton")
    panel.click("show3DButton")
    save(draw_window(node, reference, SMALL, *opened), folder / "slicer-overview.png")
    save(grab_panel("results"), folder / "slicer-results.png")
    dress(DARK)
    panel.widget.results.measure()  # its warnings in colours that are read on this background
    large = draw_window(node, reference, LARGE, *opened)
    save(large.resize(LARGE, Image.Resampling.LANCZOS), folder / "slicer-dark.png")
    dress()


def save(picture: Image.Image, file: Path) -> None:
    """As light as that goes without a change of a voxel."""
    picture.save(file, optimize=True)


def main() -> int:
    """Draw all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case", type=Path)
    parser.add_argument("--raw", type=Path)
    parser.add_argument("--no-run", action="store_true")
    parser.add_argument("-m", "--model", default=DEFAULT_MODEL)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images"))
    given = parser.parse_args()
    from .harness.start import start

    with tempfile.TemporaryDirectory() as folder:
        held = start(Path(folder))
        dress()
        import slicer

        slicer.util.selectModule("BrainTumorSeg")
        draw_run(given.case.resolve(), given.model, given.output.resolve(), runs=not given.no_run)
        draw_adding(given.output.resolve() / "slicer-add-model.png")
        save(draw_follow_up(), given.output / "slicer-follow-up.png")
        if given.raw:
            save(draw_raw(given.raw.resolve()), given.output / "slicer-raw-scans.png")
        held.module.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
