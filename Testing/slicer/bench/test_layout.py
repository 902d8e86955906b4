"""What one sees first, and how much room it takes: order, heights and widths at 9 points, titles for people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from Testing import samples

from .driving import Panel
from .test_inputs import add_volume, choose, line

# Slicer's smallest screen, and what of it is left for a module's panel.
NARROWEST, APPLY_ABOVE = 380, 600


@pytest.fixture(autouse=True)
def nine_points(panel: Panel) -> Iterator[None]:
    """The font that Slicer has by default."""
    import qt
    import slicer

    before = slicer.app.font()
    font = qt.QFont("DejaVu Sans")
    font.setPointSize(9)
    slicer.app.setFont(font)
    yield
    slicer.app.setFont(before)


def shell() -> Any:
    """The panel's outermost widget."""
    import slicer

    return slicer.modules.braintumorseg.widgetRepresentation()


def fold(*opened: str) -> None:
    """Unfold these parts, and fold the others."""
    import ctk

    for part in shell().findChildren(ctk.ctkCollapsibleButton):
        part.collapsed = part.name not in {f"{name}CollapsibleButton" for name in opened}


def unfold_all() -> None:
    import ctk

    for part in shell().findChildren(ctk.ctkCollapsibleButton):
        part.collapsed = False


def settle(width: int = NARROWEST) -> None:
    """As wide as this; wrapped lines settle step by step."""
    import slicer

    for _ in range(4):
        shell().layout().activate()
        shell().resize(width, max(shell().layout().totalHeightForWidth(width), shell().minimumSizeHint().height()))
        slicer.app.processEvents()


def top(widget: Any) -> int:
    from PySide6.QtCore import QPoint

    return int(widget.mapTo(shell(), QPoint(0, 0)).y())


def long_names(folder: Path) -> dict[str, Any]:
    names = ("t1", "t1ce", "t2", "flair")
    return {name: add_volume(f"P1_{'a_very_long_name_of_a_patient' * 5}_{name}") for name in names}


def test_the_order_is_that_of_the_work(panel: Panel, case: Path) -> None:
    panel.load(case)
    settle()
    names = (
        *("dropFrame", "assignButton", "t1Selector", "t1ceSelector", "t2Selector", "flairSelector", "imagesInfoLabel"),
        *("forecastLabel", "applyButton", "resultsCollapsibleButton", "advancedCollapsibleButton"),
    )
    places = [top(getattr(panel.ui, name)) for name in names]
    assert places == sorted(places) and len(set(places)) == len(places)
    assert panel.ui.resultsCollapsibleButton.collapsed and panel.ui.advancedCollapsibleButton.collapsed
    within = ("modelSelector", "deviceSelector", "preprocessingSelector", "ttaCheckBox", "outputSelector")
    for name in (*within, "cohortRunButton", "logText"):
        assert panel.ui.advancedCollapsibleButton.isAncestorOf(getattr(panel.ui, name)), name


def test_apply_is_seen_without_scrolling(panel: Panel, case: Path) -> None:
    """With four images, raw ones as well, of which more is said, in the narrowest panel."""
    panel.load(case)
    settle()
    assert top(panel.ui.applyButton) + panel.ui.applyButton.height < APPLY_ABOVE
    choose(panel, **(long_names(case) | {"t2": add_volume("far", origin=900)}))
    settle()
    assert line(panel, "t2").startswith("Far apart")
    assert top(panel.ui.applyButton) + panel.ui.applyButton.height < APPLY_ABOVE


def test_no_title_name_or_path_makes_it_wider(panel: Panel, case: Path, models: dict[str, Path], home: Path) -> None:
    """Long titles of models, names of GPUs, volumes and results, paths and warnings; all parts unfolded."""
    from BrainTumorSegPanel.devices import Device

    long = "a name that is much longer than any panel of any application may ever be wide, " * 2
    samples.write_oracle(home / "models" / "long.safetensors", id="l" * 60, title=long[:120])
    panel.widget.models.refresh()
    panel.choose_model("l" * 60)
    panel.widget.models._list_devices((Device("cuda:0", f"cuda:0: {long}"),))
    nodes = panel.load(case)
    for node in nodes.values():
        node.SetName("sub-0123456789_ses-0123456789_acq-postcontrast_" * 4 + node.GetName())
    node = panel.widget.logic.segment(**nodes, model=models["exact"], device="cpu", inProcess=True, content="both")
    node.SetName("segmentation_of_" * 12)
    panel.ui.resultSelector.setCurrentNode(node)
    panel.ui.cohortInputPath.currentPath = "/data/" + "a_folder_with_a_long_name" * 6
    panel.ui.cohortOutputPath.currentPath = "/data/" + "another_folder_with_a_long_name" * 6
    unfold_all()
    settle()
    assert shell().minimumSizeHint().width() <= NARROWEST
    assert shell().width == NARROWEST


def test_lists_are_as_narrow_as_they_have_to_be(panel: Panel) -> None:
    import qt

    for box in shell().findChildren(qt.QComboBox):
        if box.name and box.name in vars(panel.ui):
            assert box.sizeAdjustPolicy == qt.QComboBox.AdjustToMinimumContentsLengthWithIcon, box.name


def test_what_does_not_go_on_is_not_there(panel: Panel, case: Path) -> None:
    """No bar and no Cancel while nothing runs, no line that says nothing, no empty table."""
    ui = panel.ui
    panel.load(case)
    idle = ("progressBar", "cancelButton", "statusLabel", "setupLabel", "patientSelector", "t1InfoLabel")
    assert not [name for name in idle if getattr(ui, name).visible]
    panel.choose_model("slow")
    panel.click("applyButton")
    assert ui.progressBar.visible and ui.cancelButton.visible and ui.statusLabel.visible
    panel.click("cancelButton")
    panel.wait_to_end()
    assert not ui.progressBar.visible and not ui.cancelButton.visible
    assert ui.statusLabel.text == "Cancelled." and not ui.statusLabel.styleSheet
    choose(panel, t1=None)
    assert not ui.statusLabel.visible, "that was of other images"
    fold("results")
    settle()
    empty = ("resultsTable", "nestButton", "resultInfoLabel", "lesionSelector", "jumpButton", "comparisonTable")
    assert not [name for name in empty if getattr(ui, name).visible]


def test_the_table_is_as_high_as_its_rows(panel: Panel, case: Path, models: dict[str, Path]) -> None:
    nodes = panel.load(case)
    node = panel.widget.logic.segment(**nodes, model=models["exact"], device="cpu", inProcess=True)
    panel.ui.resultSelector.setCurrentNode(node)
    fold("inputs", "results")
    settle()
    table = panel.ui.resultsTable
    rows = sum(table.rowHeight(row) for row in range(table.rowCount))
    columns = sum(table.columnWidth(column) for column in range(table.columnCount))
    assert 0 <= table.height - rows - table.horizontalHeader().height <= 4
    assert 0 <= table.width - columns <= 4
    buttons = [panel.ui.__dict__[name] for name in ("showSlicesButton", "editButton", "copyTableButton")]
    buttons += [panel.ui.show3DButton, panel.ui.exportTableButton]
    middles = [top(button) + button.height // 2 for button in buttons]
    assert max(middles) - min(middles) <= 1, "one row of actions"


def test_models_by_what_they_are_for(panel: Panel) -> None:
    box = panel.ui.modelSelector
    titles = {box.itemData(index): box.itemText(index) for index in range(box.count)}
    assert titles["brats-ensemble"] == "Any sequences (recommended)"
    assert titles["lgg-unet"] == "FLAIR, low-grade glioma"
    assert titles["exact"] == "Model exact (exact)", "the user's own by what their files say"
    panel.choose_model("brats-ensemble")
    assert "SegResNet" in panel.ui.modelCardBrowser.toPlainText(), "networks are named in the card"
    assert not [title for name, title in titles.items() if name.startswith(("brats", "lgg")) and "Net" in title]


def test_warnings_can_be_read_on_any_background(panel: Panel) -> None:
    """Contrast by the Web Content Accessibility Guidelines 2.2, at least 4.5, on a light and on a dark palette."""
    import qt
    import slicer

    def luminance(colour: Any) -> float:
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.getRgbF()[:3]]
        return float(0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2])

    before = slicer.app.palette()
    for background in ("#efefef", "#353535"):
        palette = qt.QPalette(qt.QColor(background))
        slicer.app.setPalette(palette)
        choose(panel, t1=None, t1ce=add_volume("a"), flair=None)
        choose(panel, flair=add_volume("b", origin=900))
        label = panel.ui.flairInfoLabel
        shown = qt.QColor(label.styleSheet.partition(": ")[2])
        first, second = sorted((luminance(shown), luminance(palette.color(qt.QPalette.Window))))
        assert (second + 0.05) / (first + 0.05) >= 4.5, background
    slicer.app.setPalette(before)
