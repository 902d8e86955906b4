"""The panel's run: what is asked before it, the buttons and bar while it goes on, what becomes of its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.errors import BrainTumorSegError, DeviceShortageError
from BrainTumorSegLib.domain.session import mixed, patients_of
from BrainTumorSegLib.io import mrml
from BrainTumorSegLib.runner import POLL_SECONDS

from . import setup
from .diagnostics import LogPart
from .inputs import InputsPart
from .models import ModelsPart
from .run import SegmentationRun
from .sources import origins_of
from .turns import Turns
from .widgets import duration, errors_shown, plain, show_error


class SegmentPart:
    """Segment, Cancel, progress."""

    def __init__(
        self,
        ui: Any,
        logic: Any,
        parts: tuple[InputsPart, ModelsPart, LogPart],
        parameters: Callable[[], Any],
        finished: Callable[[Any, SegmentationRun], None],
        turns: Turns,
    ) -> None:
        """``parameters`` gives the parameter node of the scene, ``finished`` takes the node of a result and its run."""
        self._ui, self._logic, self._parameters, self._finished = ui, logic, parameters, finished
        self._inputs, self._models, self._log = parts
        self._turns = turns
        self._run: SegmentationRun | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(round(1000 * POLL_SECONDS))
        self._timer.connect("timeout()", self._poll)
        ui.segmentButton.connect("clicked()", self._on_segment)
        ui.cancelButton.connect("clicked()", self.cancel)
        turns.join(self)

    @property
    def under_way(self) -> str:
        """What runs, as a sentence; empty if nothing does."""
        return _("A segmentation is running.") if self._run else ""

    def refresh(self) -> None:
        """The button is enabled if the run can begin; else its tip says why not."""
        reason = self._turns.under_way or setup.too_old()
        reason = reason or self._models.missing(set(self._inputs.volumes())) or self._inputs.problem
        self._ui.segmentButton.enabled = not reason
        self._ui.segmentButton.toolTip = reason or _("Segment the tumour.")
        self._ui.cancelButton.enabled = self._run is not None

    def cancel(self) -> None:
        """Stop; the scene stays as it was."""
        if self._run:
            self._run.cancel()
            self._ui.statusLabel.text = _("Cancelling…")

    def close(self) -> None:
        """The panel goes away."""
        self._timer.stop()
        if self._run:
            self._run.close()
            self._run = None

    def _on_segment(self) -> None:
        with errors_shown():
            if self._confirmed():
                self._logic.ensureDependencies()
                self._models.refresh_devices()
                self._start(self._models.device)
        self._turns.changed()

    def _confirmed(self) -> bool:
        """Ask what only the user can decide."""
        origins = origins_of(self._inputs.volumes())
        if patients_of(origins):
            question = _("Segment them together all the same?")
            if not slicer.util.confirmOkCancelDisplay(plain(" ".join([*mixed(origins), question]))):
                return False
        if not self._models.licence_accepted():
            return False
        output = self._parameters().outputSegmentation
        if output is None or not mrml.holds_other_work(output):
            return True
        question = _("The segments ET, TC, WT, NCR and ED of {name} were edited or made elsewhere. Replace them?")
        return bool(slicer.util.confirmOkCancelDisplay(plain(question.format(name=output.GetName()))))

    def _start(self, device: str) -> None:
        chosen = self._parameters()
        self._run = self._logic.segment(
            **self._inputs.volumes(),
            model=self._models.model,
            device=device,
            outputSegmentation=chosen.outputSegmentation,
            wait=False,
            content=chosen.content,
            probabilities=chosen.probabilities,
            surfaces=chosen.surfaces,
            preprocess=chosen.preprocessing.value,
            brainExtraction=chosen.brainExtraction.value,
            brainMask=chosen.brainMask,
            brain=chosen.brain,
            registered=chosen.registered,
        )
        self._log.add(_("Segmenting with {model} on {device}.").format(model=self._models.model, device=device))
        self._timer.start()
        self._show_progress(self._run)
        self._turns.changed()

    def _poll(self) -> None:
        """Show how far the run is, and load its result when it is done."""
        run = self._run
        if run is None:
            return
        state = run.state
        if state == "running":
            self._show_progress(run)
            return
        self._timer.stop()
        self._run = None
        self._ui.progressBar.value = 0
        self._ui.statusLabel.text = _("Cancelled.") if state == "cancelled" else ""
        for line in run.log:
            self._log.add(line)
        error: Exception | None = run.error if state == "failed" else None
        try:
            if state == "done":
                self._show_result(run)
        except Exception as problem:
            error = problem
        run.close()
        self._turns.changed()
        if error is not None:
            self._on_failure(error, run)

    def _show_progress(self, run: SegmentationRun) -> None:
        self._ui.progressBar.value = round(100 * run.progress)
        if run.cancelling:
            return
        remaining = run.remaining_seconds
        text = run.message
        if remaining is not None:
            text = _("{message}; about {time} left").format(message=text, time=duration(remaining))
        self._ui.statusLabel.text = text

    def _show_result(self, run: SegmentationRun) -> None:
        node = run.result()
        volumes = _volumes(run)
        self._ui.statusLabel.text = "\n".join([volumes, *run.warnings])
        for line in (volumes, *run.warnings):
            self._log.add(line)
        self._finished(node, run)

    def _on_failure(self, error: Exception, run: SegmentationRun) -> None:
        self._log.add(error.sentence() if isinstance(error, BrainTumorSegError) else str(error))
        if not isinstance(error, DeviceShortageError):
            show_error(error, run.log)
        elif slicer.util.confirmYesNoDisplay(
            f"{error} {_('Segment again on the CPU? It is slower and needs no GPU memory.')}"
        ):
            with errors_shown():
                self._start("cpu")


def _volumes(run: SegmentationRun) -> str:
    """The regions' volumes, and the expected Dice of those that were found."""
    texts = []
    for name, sizes in run.measurements.items():
        expected = (
            _(" (expected Dice {value:.2f})").format(value=run.confidence[name]) if name in run.confidence else ""
        )
        texts.append(f"{name} {sizes.volume_ml:.1f} mL{expected}")
    return ", ".join(texts)
