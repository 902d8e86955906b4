"""Comparing a result with a reference segmentation, by whatever the library measures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from slicer.i18n import tr as _

from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.io import mrml

from .edits import EditWatch
from .tables import comparison_table, fill
from .widgets import errors_shown


def compare_nodes(result: Any, reference: Any) -> dict[str, dict[str, Any]]:
    """Region → measure → value, for the regions that both speak of, on the grid of the result.

    Args:
        result: segmentation node.
        reference: segmentation or label volume node; brought onto the result's grid (nearest neighbour) if need be.

    Raises:
        BrainTumorSegError: a node holds no known region, labels that can be read in two ways, or both are the same.
    """
    from BrainTumorSegLib import evaluate
    from BrainTumorSegLib.domain.grid import Grid, check_overlap
    from BrainTumorSegLib.domain.labels import REGIONS
    from BrainTumorSegLib.preprocessing.resampling import resample

    if result is reference:
        raise RequestError(_("A segmentation cannot be compared with itself."), _("Choose another reference."))
    asked = mrml.known_regions(result)
    first, second = mrml.labels_of(result), mrml.labels_of(reference, asked)
    check_overlap(second, first)
    array = resample(second.array, Grid.of(second), Grid.of(first), nearest=True)
    measures = evaluate(first.array, array, first.spacing)
    known = set(asked) & set(mrml.known_regions(reference))
    unknown = set(REGIONS) - known
    return {region: dict(values) for region, values in measures.items() if region not in unknown}


class ComparisonPart:
    """The reference, the button and the table."""

    def __init__(self, ui: Any, result: Callable[[], Any], is_open: Callable[[], bool]) -> None:
        """``result`` gives the segmentation that is shown."""
        self._ui, self._result = ui, result
        self._compared: tuple[Any, ...] = ()  # what the table tells of
        self._watch = EditWatch(self.refresh, is_open)
        ui.compareButton.connect("clicked()", self._on_compare)
        ui.referenceSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.refresh)
        self.refresh()

    def refresh(self, *_arguments: Any) -> None:
        """Forget a comparison that is not of these two as they are, and say what is missing."""
        node = self._result()
        reason = ""
        if node is None:
            reason = _("Segment first, or choose a segmentation above.")
        elif self._ui.referenceSelector.currentNode() is None:
            reason = _("Choose the reference.")
        elif self._ui.referenceSelector.currentNode() is node:
            reason = _("The reference is the result itself; choose another.")
        self._ui.compareButton.enabled = not reason
        self._ui.compareButton.toolTip = reason or _("Measure the agreement of the result with the reference.")
        if self._compared != self._pair():
            self.close()

    def close(self) -> None:
        """The panel goes away, or the comparison holds no more."""
        self._compared = ()
        self._watch.watch()
        fill(self._ui.comparisonTable, None)
        self._ui.comparisonTable.visible = False

    def _pair(self) -> tuple[Any, ...]:
        return self._result(), self._ui.referenceSelector.currentNode(), self._watch.state

    def _on_compare(self) -> None:
        with errors_shown():
            from BrainTumorSegLib.evaluation.metrics import MEASURES

            measures = compare_nodes(self._result(), self._ui.referenceSelector.currentNode())
            fill(self._ui.comparisonTable, comparison_table(measures, MEASURES))
            self._ui.comparisonTable.visible = True
            self._watch.watch(self._result(), self._ui.referenceSelector.currentNode())
            self._compared = self._pair()
