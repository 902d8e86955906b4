"""The panel's folder of patients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from BrainTumorSegLib.runner import POLL_SECONDS

from .diagnostics import LogPart
from .folder import CaseOutcome, FolderRun, open_case
from .models import ModelsPart
from .tables import Table, fill
from .turns import Turns
from .widgets import errors_shown, remember, setting, show_error, show_text
from .wording import panel_words

_NAMED = 5


class CohortPart:
    """Folders in and out, progress, and what became of each patient."""

    def __init__(
        self,
        ui: Any,
        logic: Any,
        parts: tuple[ModelsPart, LogPart],
        parameters: Callable[[], Any],
        opened: Callable[[Any], None],
        turns: Turns,
    ) -> None:
        """``parameters`` gives the parameter node of the scene.

        ``opened`` takes the segmentation of a patient that was opened from the table.
        """
        self._ui, self._logic, self._parameters, self._opened = ui, logic, parameters, opened
        self._models, self._log = parts
        self._turns = turns
        self._run: FolderRun | None = None
        self._cases: list[CaseOutcome] = []
        self._seen: list[str] | None = None  # states that the table shows
        self._timer = qt.QTimer()
        self._timer.setInterval(round(1000 * POLL_SECONDS))
        self._timer.connect("timeout()", self._poll)
        ui.cohortInputPath.currentPath = setting("CohortInput")
        ui.cohortOutputPath.currentPath = setting("CohortOutput")
        for path in (ui.cohortInputPath, ui.cohortOutputPath):
            path.connect("currentPathChanged(QString)", self.refresh)
        ui.cohortRunButton.connect("clicked()", self._on_run)
        ui.cohortCancelButton.connect("clicked()", self.cancel)
        # Not what Qt calls activated: a single click on some desktops, and not Return on a Mac.
        ui.cohortTable.connect("cellDoubleClicked(int,int)", self._on_open)
        for key in ("Return", "Enter"):
            shortcut = qt.QShortcut(qt.QKeySequence(key), ui.cohortTable)
            shortcut.setContext(qt.Qt.WidgetShortcut)
            shortcut.connect("activated()", self._on_enter)
        turns.join(self)
        self.refresh()

    @property
    def under_way(self) -> str:
        """What runs, as a sentence; empty if nothing does."""
        return _("Patients are being segmented.") if self._run else ""

    def cancel(self) -> None:
        """Stop; what is finished stays."""
        if self._run is not None:
            self._run.cancel()

    def close(self) -> None:
        """The panel goes away."""
        self._timer.stop()
        if self._run is not None:
            self._run.cancel()
            self._run.wait()
            self._run = None

    def refresh(self, *_arguments: Any) -> None:
        """Say why the button is disabled."""
        reason = self._turns.under_way
        if not reason and not Path(self._ui.cohortInputPath.currentPath or "?").is_dir():
            reason = _("Choose the folder of patients.")
        if not reason and not self._ui.cohortOutputPath.currentPath:
            reason = _("Choose the output folder.")
        self._ui.cohortRunButton.enabled = not reason
        self._ui.cohortRunButton.toolTip = reason or _("Segment the patients of the folder; those that are done stay.")
        self._ui.cohortCancelButton.enabled = self._run is not None

    def _on_run(self) -> None:
        source, destination = self._ui.cohortInputPath.currentPath, self._ui.cohortOutputPath.currentPath
        with errors_shown():
            self._run = self._start(Path(source), Path(destination))
            if self._run is not None:
                remember("CohortInput", source)
                remember("CohortOutput", destination)
                self._seen, self._cases = None, self._run.cases
                self._timer.start()
                self._show(self._run)
        self._turns.changed()

    def _start(self, source: Path, destination: Path) -> FolderRun | None:
        """Begin; None where the user declined."""
        if not self._models.licence_accepted():
            return None
        self._logic.ensureDependencies()
        chosen = self._parameters()
        run: FolderRun = self._logic.segmentFolder(
            source,
            destination,
            model=self._models.model,
            device=self._models.device,
            wait=False,
            preprocess=chosen.preprocessing.value,
            brainExtraction=chosen.brainExtraction.value,
            tta=chosen.tta,
        )
        return run

    def _on_enter(self) -> None:
        self._on_open(self._ui.cohortTable.currentRow())

    def _on_open(self, row: int, _column: int = 0) -> None:
        """A patient that is done is loaded, images and result; ``row`` is -1 where none is current."""
        case = self._cases[row] if 0 <= row < len(self._cases) else None
        if case is not None and case.label_map is not None:
            with errors_shown():
                self._opened(open_case(case))

    def _poll(self) -> None:
        run = self._run
        if run is None:
            return
        state = run.state  # before its last words are taken over
        run.poll()
        self._show(run)
        if state == "running":
            return
        self._timer.stop()
        self._run = None
        for line in run.log:
            self._log.add(line)
        for name, why in run.left_out.items():
            self._log.add(_("Left out: {name} ({why}).").format(name=name, why=why))
        self._ui.cohortProgressBar.value = 0
        counts = {name: sum(case.state == name for case in run.cases) for name in ("done", "failed")}
        text = _("{done} segmented, {failed} failed, of {count}.").format(**counts, count=len(run.cases))
        if not run.cases:
            text = _("Cancelled.") if state == "cancelled" else _("It failed.")
        if run.left_out:
            text += " " + _("Left out: {names}; the log says why.").format(names=_few(list(run.left_out)))
        show_text(self._ui.cohortStatusLabel, text, warns=counts["failed"] > 0 or bool(run.error))
        self._turns.changed()
        if run.error:
            show_error(run.error, run.log)

    def _show(self, run: FolderRun) -> None:
        self._ui.cohortProgressBar.value = round(100 * run.progress)
        show_text(self._ui.cohortStatusLabel, run.message)
        states = [case.state for case in run.cases]
        if states != self._seen:  # the table is made anew only when something has changed
            self._seen = states
            rows = tuple((case.name, _state(case), _volumes(case)) for case in run.cases)
            fill(self._ui.cohortTable, Table((_("Patient"), _("State"), _("Volumes (mL)")), rows))


def _few(names: list[str]) -> str:
    return ", ".join([*names[:_NAMED], *(["…"] if len(names) > _NAMED else [])])


def _state(case: CaseOutcome) -> str:
    words = {
        "waiting": _("waiting"), "done": _("done"), "cancelled": _("cancelled"),
        "failed": _("failed: {error}").format(error=panel_words(case.error)),
    }  # fmt: skip
    return words[case.state]


def _volumes(case: CaseOutcome) -> str:
    return ", ".join(f"{region} {sizes.volume_ml:.1f}" for region, sizes in case.measurements.items())
