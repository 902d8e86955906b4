"""The panel's results: sizes of the segments as they are, lesions, views, and the way to the Segment Editor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.errors import BrainTumorSegError
from BrainTumorSegLib.io import mrml

from .edits import EditWatch
from .segments import Examined, colours_of, examine, nest
from .tables import csv_rows, fill, measurement_table, write_csv
from .views import jump, reference_volume, show_contours
from .widgets import ask_file_to_save, errors_shown, show_text


class ResultsPart:
    """What is known of the segmentation that is chosen in its selector, however it came about."""

    def __init__(self, ui: Any, changed: Callable[[], None], is_open: Callable[[], bool]) -> None:
        """``changed`` is called when another segmentation is shown, or the same one with other segments."""
        self._ui, self._changed = ui, changed
        self._chosen: Any = None
        self._shown: Any = None
        self._examined = Examined()
        self._watch = EditWatch(self.refresh, is_open)
        ui.copyTableButton.connect("clicked()", self._on_copy)
        ui.exportTableButton.connect("clicked()", self._on_export)
        ui.editButton.connect("clicked()", self._on_edit)
        ui.showSlicesButton.connect("clicked()", self.show_slices)
        ui.show3DButton.connect("toggled(bool)", self._on_show_3d)
        ui.jumpButton.connect("clicked()", self._on_jump)
        ui.nestButton.connect("clicked()", self._on_nest)
        ui.lesionSelector.connect("currentIndexChanged(int)", self._on_lesion)
        self.measure()

    @property
    def node(self) -> Any:
        """The segmentation that is shown, or None."""
        return self._shown

    def show(self, node: Any) -> None:
        """Measure a segmentation and show it, unless that is shown already."""
        if node is not self._chosen:
            self._chosen = node
            self.measure()

    def refresh(self) -> None:
        """Measure again if the segmentation was edited meanwhile."""
        usable = self._is_usable()
        if not (usable and self._holds()) and (usable or self._shown is not None):
            self.measure()

    def _holds(self) -> bool:
        """Whether what is known of the segmentation is true of its segments as they are."""
        known = self._examined
        try:
            return colours_of(self._chosen) == known.colours and mrml.fingerprint(self._chosen) == known.digest
        except BrainTumorSegError:
            return False  # measuring says why

    def measure(self) -> None:
        """Measure what is chosen; a segmentation without segments of ours counts as none."""
        self._watch.watch(self._chosen)
        self._shown, self._examined = (self._chosen if self._is_usable() else None), Examined()
        if self._shown is not None:
            with errors_shown():
                self._examined = examine(self._shown)
        found = self._examined
        fill(self._ui.resultsTable, measurement_table(found.sizes, found.expected_dice), found.colours, even=True)
        self._ui.resultsTable.visible = bool(found.sizes)
        show_text(self._ui.resultInfoLabel, "\n".join(found.warnings), warns=True)
        self._ui.nestButton.visible = not found.is_nested
        self._show_lesions()
        self._update_buttons()
        self._changed()

    def close(self) -> None:
        """The panel goes away."""
        self._watch.watch()
        self._ui.show3DButton.setSegmentationNode(None)

    def show_slices(self) -> None:
        """The reference image with the contours of the segments in the slice views."""
        if self._shown is not None:
            show_contours(self._shown)
            if self._examined.lesions.largest:
                jump(self._examined.lesions.largest[0])

    def _is_usable(self) -> bool:
        return self._chosen is not None and bool(mrml.segment_ids(self._chosen))

    def _show_lesions(self) -> None:
        box, lesions = self._ui.lesionSelector, self._examined.lesions
        blocked = box.blockSignals(True)
        box.clear()
        for number, lesion in enumerate(lesions.largest, start=1):
            box.addItem(_("{number}: {volume:.2f} mL").format(number=number, volume=lesion.volume_ml))
        if lesions.others:
            text = _("{count} more, together {volume:.2f} mL")
            box.addItem(text.format(count=lesions.others, volume=lesions.others_ml))
        box.blockSignals(blocked)
        for widget in (self._ui.lesionLabel, box, self._ui.jumpButton):
            widget.visible = bool(lesions.largest)

    def _update_buttons(self) -> None:
        there = self._shown is not None
        ui = self._ui
        for button in (ui.copyTableButton, ui.exportTableButton, ui.editButton, ui.showSlicesButton):
            button.enabled = there
        ui.show3DButton.setSegmentationNode(self._shown)
        self._on_lesion()

    def _on_lesion(self, _index: int = 0) -> None:
        self._ui.jumpButton.enabled = 0 <= self._ui.lesionSelector.currentIndex < len(self._examined.lesions.largest)

    def _on_copy(self) -> None:
        table = measurement_table(self._examined.sizes, self._examined.expected_dice)
        slicer.app.clipboard().setText(table.text())

    def _on_export(self) -> None:
        path = ask_file_to_save(_("Export table"), f"{self._shown.GetName()}.csv", "CSV (*.csv)")
        if path is not None:
            with errors_shown():
                case = {"segmentation": self._shown.GetName()}
                rows = csv_rows(self._examined.sizes, self._examined.expected_dice)
                write_csv([{**case, **row} for row in rows], path)

    def _on_edit(self) -> None:
        node = self._shown
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
        editor.setSegmentationNode(node)
        reference = reference_volume(node)
        if reference is not None:
            editor.setSourceVolumeNode(reference)
        # Regions lie over each other: by default a stroke of ET would take TC and WT away beneath it.
        choices = editor.mrmlSegmentEditorNode()
        choices.SetOverwriteMode(choices.OverwriteNone)

    def _on_nest(self) -> None:
        with errors_shown():
            nest(self._shown)
        self.measure()

    def _on_show_3d(self, visible: bool) -> None:
        """The button has made the surfaces; they come into the middle of the views."""
        layout = slicer.app.layoutManager()
        if not visible or self._shown is None or layout is None:
            return
        if self._shown.GetDisplayNode() is not None:
            self._shown.GetDisplayNode().SetVisibility3D(True)
        for index in range(layout.threeDViewCount):
            layout.threeDWidget(index).threeDView().resetFocalPoint()

    def _on_jump(self) -> None:
        jump(self._examined.lesions.largest[self._ui.lesionSelector.currentIndex])
