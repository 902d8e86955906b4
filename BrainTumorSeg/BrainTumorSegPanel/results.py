"""The panel's results: sizes of the regions, views, lesions, and the way to the Segment Editor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.io import mrml

from .lesions import Lesion, find_lesions
from .run import show_surfaces
from .tables import Table, csv_rows, fill, measurement_table, write_csv
from .widgets import errors_shown


class ResultsPart:
    """What is known of the segmentation that is chosen in its selector, however it came about."""

    def __init__(self, ui: Any) -> None:
        self._ui = ui
        self._chosen: Any = None
        self._shown: Any = None
        self._digest = ""
        self._measurements: dict[str, Any] = {}
        self._table: Table | None = None
        self._lesions: list[Lesion] = []
        ui.copyTableButton.connect("clicked()", self._on_copy)
        ui.exportTableButton.connect("clicked()", self._on_export)
        ui.editButton.connect("clicked()", self._on_edit)
        ui.showSlicesButton.connect("clicked()", self.show_slices)
        ui.show3DButton.connect("clicked()", self._on_show_3d)
        ui.jumpButton.connect("clicked()", self._on_jump)
        self.show(None)

    @property
    def node(self) -> Any:
        """The segmentation that is shown, or None."""
        return self._shown

    def show(self, node: Any) -> None:
        """Measure a segmentation and show it, unless that is shown already."""
        if node is not self._chosen or node is None:
            self._chosen = node
            self.measure()

    def refresh(self) -> None:
        """Measure again if the segmentation was edited meanwhile."""
        usable = self._chosen is not None and bool(mrml.segment_ids(self._chosen))
        if usable and mrml.fingerprint(self._chosen) != self._digest:
            self.measure()

    def measure(self) -> None:
        """Measure what is chosen; a segmentation without segments of ours counts as none."""
        usable = self._chosen is not None and bool(mrml.segment_ids(self._chosen))
        self._shown = self._chosen if usable else None
        self._digest = mrml.fingerprint(self._chosen) if usable else ""
        self._measurements, self._lesions = {}, []
        if usable:
            with errors_shown():
                from BrainTumorSegLib.domain.measurements import measure

                labels = mrml.labels_of(self._shown)
                self._measurements = measure(labels, mrml.known_regions(self._shown))
                self._lesions = find_lesions(labels)
        self._table = measurement_table(self._measurements)
        fill(self._ui.resultsTable, self._table)
        self._show_lesions()
        self._update_buttons()

    def show_slices(self) -> None:
        """The reference image with the contours of the segments in the slice views."""
        if self._shown is None:
            return
        reference = reference_volume(self._shown)
        if reference is not None:
            slicer.util.setSliceViewerLayers(background=reference, foreground=None, label=None, fit=True)
        display = self._shown.GetDisplayNode()
        if display is not None:
            display.SetVisibility(True)
            display.SetVisibility2DOutline(True)
            display.SetVisibility2DFill(False)
        if self._lesions:
            self._jump(self._lesions[0])

    def _show_lesions(self) -> None:
        box = self._ui.lesionSelector
        box.clear()
        for number, lesion in enumerate(self._lesions, start=1):
            box.addItem(_("{number}: {volume:.2f} mL").format(number=number, volume=lesion.volume_ml))

    def _update_buttons(self) -> None:
        there = self._shown is not None
        for button in (
            self._ui.copyTableButton,
            self._ui.exportTableButton,
            self._ui.editButton,
            self._ui.showSlicesButton,
            self._ui.show3DButton,
        ):
            button.enabled = there
        self._ui.jumpButton.enabled = bool(self._lesions)
        display = self._shown.GetDisplayNode() if there else None
        surfaces = there and self._shown.GetSegmentation().ContainsRepresentation("Closed surface")
        self._ui.show3DButton.checked = bool(surfaces and display is not None and display.GetVisibility3D())

    def _on_copy(self) -> None:
        if self._table is not None:
            slicer.app.clipboard().setText(self._table.text())

    def _on_export(self) -> None:
        file = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), _("Export table"), f"{self._shown.GetName()}.csv", "CSV (*.csv)"
        )
        if file:
            path = Path(file) if Path(file).suffix else Path(f"{file}.csv")
            with errors_shown():
                case = {"segmentation": self._shown.GetName()}
                write_csv([{**case, **row} for row in csv_rows(self._measurements)], path)

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

    def _on_show_3d(self) -> None:
        visible = self._ui.show3DButton.checked
        with errors_shown():
            show_surfaces(self._shown, visible)
            layout = slicer.app.layoutManager()
            if visible and layout is not None:
                for index in range(layout.threeDViewCount):
                    layout.threeDWidget(index).threeDView().resetFocalPoint()

    def _on_jump(self) -> None:
        index = self._ui.lesionSelector.currentIndex
        if 0 <= index < len(self._lesions):
            self._jump(self._lesions[index])

    @staticmethod
    def _jump(lesion: Lesion) -> None:
        slicer.vtkMRMLSliceNode.JumpAllSlices(
            slicer.mrmlScene, *lesion.centre, slicer.vtkMRMLSliceNode.CenteredJumpSlice
        )


def reference_volume(node: Any) -> Any:
    """The volume that a segmentation was made on, or None."""
    return node.GetNodeReference(slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole())
