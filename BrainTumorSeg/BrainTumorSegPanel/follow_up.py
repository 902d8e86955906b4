"""The panel's follow-up: how the tumour changed since an earlier examination."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.io.staging import atomic
from BrainTumorSegLib.runner import POLL_SECONDS

from .change import ChangeRun, Examination, days_between, image_of
from .earlier_contours import EarlierContours
from .edits import EditWatch
from .sources import origin_of
from .tables import change_table, fill
from .turns import Turns
from .widgets import ask_file_to_save, errors_shown, plain, show_error, show_text
from .wording import panel_words


class FollowUpPart:
    """The earlier examination, the button, progress, what changed, and the page about it."""

    def __init__(
        self,
        ui: Any,
        result: Callable[[], Any],
        is_open: Callable[[], bool],
        start: Callable[..., ChangeRun],
        log: Callable[[str], None],
        turns: Turns,
    ) -> None:
        """``result`` gives the segmentation that is shown, which is the later one.

        ``start`` begins a comparison of two examinations, with the days between; ``log`` takes the engine's words.
        """
        self._ui, self._result, self._start, self._log, self._turns = ui, result, start, log, turns
        self._run: ChangeRun | None = None
        self._told: tuple[Any, ...] = ()  # of which the table tells, or the run will
        self._filled: dict[str, tuple[Any, Any]] = {}  # earlier, later → segmentation, image that was filled in for it
        self._dated = 0  # days that dates told last, or that are of other examinations
        self._report = ""
        self._moved: np.ndarray | None = None  # by registration, from the earlier head to the later one
        self._contours = EarlierContours()
        self._watch = EditWatch(self.refresh, is_open)
        self._timer = qt.QTimer()
        self._timer.setInterval(round(1000 * POLL_SECONDS))
        self._timer.connect("timeout()", self._poll)
        ui.earlierSelector.connect("currentNodeChanged(vtkMRMLNode*)", self.refresh)
        for selector in (ui.earlierImageSelector, ui.laterImageSelector):
            selector.connect("currentNodeChanged(vtkMRMLNode*)", self._on_image)
        ui.daysSpinBox.connect("valueChanged(int)", self.refresh)
        ui.followUpButton.connect("clicked()", self._on_compare)
        ui.cancelFollowUpButton.connect("clicked()", self.cancel)
        ui.followUpReportButton.connect("clicked()", self._on_report)
        ui.earlierContoursButton.connect("clicked()", self._on_contours)
        turns.join(self)
        show_text(ui.followUpStatusLabel, "")
        self.refresh()

    @property
    def under_way(self) -> str:
        """What runs, as a sentence; empty if nothing does."""
        return _("Two examinations are being compared.") if self._run else ""

    def refresh(self, *_arguments: Any) -> None:
        """Forget a comparison that is not of what is chosen, as it is now, and say what is missing."""
        ui = self._ui
        self._fill_image("earlier", ui.earlierSelector.currentNode(), ui.earlierImageSelector)
        self._fill_image("later", self._result(), ui.laterImageSelector)
        if self._told != self._chosen():
            self._forget()
        reason = self._turns.under_way or self._missing()
        ui.followUpButton.enabled = not reason
        ui.followUpButton.toolTip = reason or _("Say how the tumour changed between the two examinations.")
        ui.cancelFollowUpButton.visible = ui.followUpProgressBar.visible = self._run is not None

    def _missing(self) -> str:
        """Why nothing can be compared; empty if it can."""
        earlier, later = self._ui.earlierSelector.currentNode(), self._result()
        images = self._ui.earlierImageSelector.currentNode(), self._ui.laterImageSelector.currentNode()
        if later is None:
            return _("Segment first, or choose a segmentation above: it is the later one.")
        if earlier is None:
            return _("Choose the earlier segmentation.")
        if earlier is later:
            return _("The earlier segmentation is the result itself; choose another.")
        if images[0] is not None and images[0] is images[1]:
            return _("Both examinations have the same image; choose that of each.")
        if (days_between(*images) or 0) < 0:
            return _("The earlier image is of a later date than the other; exchange the two results.")
        return ""

    def cancel(self) -> None:
        """Stop; nothing is told."""
        if self._run is not None:
            self._run.cancel()
            show_text(self._ui.followUpStatusLabel, _("Cancelling…"))

    def close(self) -> None:
        """The panel goes away."""
        self._timer.stop()
        if self._run is not None:
            self._run.close()
            self._run = None
        self._forget()

    def _nodes(self) -> tuple[Any, ...]:
        ui = self._ui
        boxes = ui.earlierSelector, ui.earlierImageSelector, ui.laterImageSelector
        return self._result(), *(box.currentNode() for box in boxes)

    def _chosen(self) -> tuple[Any, ...]:
        return *self._nodes(), self._ui.daysSpinBox.value, self._watch.state

    def _forget(self) -> None:
        if self._report:
            show_text(self._ui.followUpStatusLabel, "")
        self._told, self._report, self._moved = (), "", None
        self._watch.watch()
        fill(self._ui.followUpTable, None)
        self._contours.remove()
        self._ui.earlierContoursButton.checked = False
        self._show_buttons()

    def _show_buttons(self) -> None:
        ui = self._ui
        ui.followUpTable.visible = ui.followUpReportButton.visible = bool(self._report)
        ui.earlierContoursButton.visible = self._moved is not None

    def _fill_image(self, when: str, node: Any, box: Any) -> None:
        """The image that a segmentation was made on is known where it was made in this scene.

        A run may have put the result of another image into the same node. Days that were typed are of the examinations
        before, unless the image is the same.
        """
        image = image_of(node) if node is not None else None
        before = self._filled.get(when, (None, None))
        if before == (node, image):
            return
        self._filled[when] = node, image
        if before[0] is not None and (before[1] or before[0]) is not (image or node):
            self._dated = self._ui.daysSpinBox.value
        box.setCurrentNode(image)
        self._on_image()

    def _on_image(self, *_arguments: Any) -> None:
        """Dates of DICOM series say how long it was between them; what was typed stays where they say nothing."""
        days = days_between(self._ui.earlierImageSelector.currentNode(), self._ui.laterImageSelector.currentNode())
        box = self._ui.daysSpinBox
        if days is not None or box.value == self._dated:  # of the images before
            box.value = self._dated = max(days or 0, 0)
        self.refresh()

    def _on_compare(self) -> None:
        ui = self._ui
        with errors_shown():
            earlier = Examination(ui.earlierSelector.currentNode(), ui.earlierImageSelector.currentNode())
            later = Examination(self._result(), ui.laterImageSelector.currentNode())
            if self._confirmed(earlier, later):
                self._forget()
                self._run = self._start(earlier, later, ui.daysSpinBox.value or None)
                self._watch.watch(*self._nodes())
                self._told = self._chosen()
                ui.followUpProgressBar.value = 0
                self._timer.start()
        self._turns.changed()

    def _confirmed(self, *examinations: Examination) -> bool:
        """Ask where they are of two patients by headers or the subject hierarchy: one may have been anonymised.

        Without an image its segmentation may tell, and nothing else does: no heads are compared then.
        """
        patients = {origin_of(each.image or each.node).patient for each in examinations} - {""}
        if len(patients) < 2:
            return True
        text = _("The examinations are of two patients ({patients}). Compare them all the same?")
        return bool(slicer.util.confirmOkCancelDisplay(plain(text.format(patients=", ".join(sorted(patients))))))

    def _poll(self) -> None:
        run = self._run
        if run is None:
            return
        state = run.state
        if state == "running":
            self._ui.followUpProgressBar.value = round(100 * run.progress)
            if not run.cancelling:
                show_text(self._ui.followUpStatusLabel, run.message)
            return
        self._timer.stop()
        self._run = None
        for line in run.log:
            self._log(line)
        words = {"cancelled": _("Cancelled."), "failed": _("It failed.")}
        show_text(self._ui.followUpStatusLabel, words.get(state, ""), warns=state == "failed")
        with errors_shown():
            if state == "done":
                self._show(run)
        error = run.error
        run.close()
        self._turns.changed()
        if state == "failed" and error is not None:
            show_error(error, run.log)

    def _show(self, run: ChangeRun) -> None:
        """What changed, unless the examinations are others by now."""
        found = run.result()
        ui = self._ui
        if self._told != self._chosen():
            text = _("Something else is chosen by now, or was edited or moved: compare again.")
            show_text(ui.followUpStatusLabel, text, warns=True)
            return
        fill(ui.followUpTable, change_table(found["regions"]))
        self._report, motion = run.report, found["registration"]
        self._moved = np.asarray(motion["matrix"]) if motion else None
        self._show_buttons()
        note = _(
            "By size alone, as RANO has it, by diameters (2D) and by volume (3D): complete (CR), partial (PR), minor"
            " response (MR), stable (SD), progressive disease (PD). Clinical state and corticosteroids are not known."
        )
        warnings = [panel_words(text) for text in found["warnings"]]
        show_text(ui.followUpStatusLabel, "\n".join([*warnings, note]), warns=bool(warnings))
        for line in warnings:
            self._log(line)

    def _on_contours(self) -> None:
        """The earlier contours beside the later ones, on the later image; a second click takes them away."""
        ui = self._ui
        with errors_shown():
            if ui.earlierContoursButton.checked and self._moved is not None:
                self._contours.show(ui.earlierSelector.currentNode(), self._result(), self._moved)
            else:
                self._contours.remove()

    def _on_report(self) -> None:
        """The page is saved where the user says, and opened."""
        proposed = f"{self._result().GetName()} change.html"
        path = ask_file_to_save(_("Save report"), proposed, "HTML (*.html)")
        if path is None:
            return
        with errors_shown():
            with atomic(path) as part:
                part.write_text(self._report, encoding="utf-8")
            qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path)))
