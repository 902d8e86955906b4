"""The panel's run: what is asked before it, the buttons and bar while it goes on, what becomes of its end."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.errors import BrainTumorSegError, CancelledError, DeviceShortageError
from BrainTumorSegLib.domain.modalities import reference_of
from BrainTumorSegLib.domain.session import mixed, patients_of
from BrainTumorSegLib.io import mrml
from BrainTumorSegLib.runner import POLL_SECONDS

from . import setup
from .diagnostics import LogPart
from .forecast import Kind, forecast
from .inputs import InputsPart
from .models import ModelsPart
from .run import SegmentationRun
from .sources import origins_of
from .turns import Turns
from .views import is_edited, predecessors
from .widgets import duration, errors_shown, plain, show_error, show_text


class SegmentPart:
    """Apply, Cancel, progress."""

    def __init__(
        self,
        ui: Any,
        logic: Any,
        parts: tuple[InputsPart, ModelsPart, LogPart],
        parameters: Callable[[], Any],
        finished: Callable[[Any, SegmentationRun, Collection[str]], None],
        turns: Turns,
    ) -> None:
        """``parameters`` gives the parameter node of the scene.

        ``finished`` takes the node of a result, its run, and the ids of edited results that it may hide.
        """
        self._ui, self._logic, self._parameters, self._finished = ui, logic, parameters, finished
        self._inputs, self._models, self._log = parts
        self._turns = turns
        self._run: SegmentationRun | None = None
        self._kind: Kind | None = None
        self._started = 0.0
        self._asked: dict[str, Any] = {}  # what the run was given, to be repeated on another device
        self._given_up: set[str] = set()
        self._to_install = ""
        self._told_of: list[str] = []  # ids of the images that the status is of
        self._timer = qt.QTimer()
        self._timer.setInterval(round(1000 * POLL_SECONDS))
        self._timer.connect("timeout()", self._poll)
        ui.applyButton.connect("clicked()", self._on_apply)
        ui.cancelButton.connect("clicked()", self.cancel)
        turns.join(self)
        show_text(ui.statusLabel, "")

    @property
    def under_way(self) -> str:
        """What runs, as a sentence; empty if nothing does."""
        return _("A segmentation is running.") if self._run else ""

    def enter(self) -> None:
        """The panel is opened, or packages may have come: say what cannot be, and what is still to be installed."""
        show_text(self._ui.setupLabel, setup.unfit(), warns=True)
        self._to_install = setup.to_install()

    def refresh(self) -> None:
        """The button is enabled if the run can begin; else it is said why not. Before it begins, what to expect."""
        self._forget_status()
        lacking = self._models.missing(set(self._inputs.volumes())) or self._inputs.problem
        reason = self._turns.under_way or setup.unfit() or lacking
        self._ui.applyButton.enabled = not reason
        self._ui.applyButton.toolTip = plain(reason or _("Segment the tumour."))
        self._ui.cancelButton.enabled = self._run is not None
        self._ui.cancelButton.visible = self._ui.progressBar.visible = self._run is not None
        self._show_forecast(lacking)

    def _show_forecast(self, lacking: str) -> None:
        """What to expect, or why nothing can be expected."""
        description, given = self._models.description, set(self._inputs.volumes())
        if not given:
            text = _("Load a patient's images, and click Assign automatically or choose them.")
            show_text(self._ui.forecastLabel, text)
        elif lacking or description is None:
            show_text(self._ui.forecastLabel, lacking, warns=bool(self._inputs.problem))
        else:
            told = forecast(description, given, self._kind_on(self._models.device), self._to_install)
            show_text(self._ui.forecastLabel, told.text, warns=told.warns)

    def _forget_status(self) -> None:
        """What became of a run is said until other images are chosen."""
        images = [node.GetID() for node in self._inputs.volumes().values()]
        if images != self._told_of and self._run is None:
            self._told_of = images
            show_text(self._ui.statusLabel, "")

    def _kind_on(self, device: str) -> Kind:
        return Kind.of(self._models.model, device, self._inputs.plan, self._parameters().tta)

    def cancel(self) -> None:
        """Stop; the scene stays as it was, also where the run has just ended and its result is not in it yet."""
        if self._run is None:
            return
        self._run.cancel()
        if self._run.state != "done":
            show_text(self._ui.statusLabel, _("Cancelling…"))
            return
        self.close()
        show_text(self._ui.statusLabel, _("Cancelled."))
        self._turns.changed()

    def close(self) -> None:
        """The panel goes away."""
        self._timer.stop()
        if self._run:
            self._run.close()
            self._run, self._asked = None, {}

    def _on_apply(self) -> None:
        show_text(self._ui.statusLabel, "")
        try:
            if self._confirmed():
                self._logic.ensureDependencies()
                self._models.refresh_devices()
                self._start(self._chosen(), self._kind_on(self._models.device))
        except CancelledError as declined:
            show_text(self._ui.statusLabel, declined.sentence())
        except Exception as error:
            show_error(error)
        self.enter()
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
        if not _may_be_replaced(output):
            return False
        self._given_up = self._to_be_hidden(output)
        return True

    def _to_be_hidden(self, output: Any) -> set[str]:
        """Ids of former results on the same image that were edited, and that the user lets be hidden."""
        nodes = self._inputs.volumes()
        edited = [node for node in predecessors(nodes[reference_of(nodes)]) if node is not output and is_edited(node)]
        if not edited:
            return set()
        question = _("{names} was edited by hand, and stays in the scene. Hide it when the new result is shown?")
        names = ", ".join(node.GetName() for node in edited)
        hidden = slicer.util.confirmYesNoDisplay(plain(question.format(names=names)))
        return {node.GetID() for node in edited} if hidden else set()

    def _chosen(self) -> dict[str, Any]:
        """What a run that would begin now is given."""
        chosen = self._parameters()
        return {
            **self._inputs.volumes(),
            "model": self._models.model,
            "device": self._models.device,
            "outputSegmentation": chosen.outputSegmentation,
            "content": chosen.content,
            "probabilities": chosen.probabilities,
            "surfaces": chosen.surfaces,
            "tta": chosen.tta,
            "preprocess": chosen.preprocessing.value,
            "brainExtraction": chosen.brainExtraction.value,
            "brainMask": self._inputs.brain_mask,
            "brain": chosen.brain,
            "registered": chosen.registered,
        }

    def _start(self, asked: dict[str, Any], kind: Kind) -> None:
        self._run = self._logic.segment(**asked, wait=False)
        self._asked, self._kind, self._started = asked, kind, time.monotonic()
        self._log.add(_("Segmenting with {model} on {device}.").format(**asked))
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
        show_text(self._ui.statusLabel, _("Cancelled.") if state == "cancelled" else "")
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
        if self._run is None:
            self._asked = {}  # it would keep images that are removed

    def _show_progress(self, run: SegmentationRun) -> None:
        self._ui.progressBar.value = round(100 * run.progress)
        if run.cancelling:
            return
        remaining = run.remaining_seconds
        text = run.message
        if remaining is not None:
            text = _("{message}; about {time} left").format(message=text, time=duration(remaining))
        show_text(self._ui.statusLabel, text)

    def _show_result(self, run: SegmentationRun) -> None:
        seconds = time.monotonic() - self._started
        node = run.result()
        if self._kind is not None:
            self._kind.took(seconds)
        text = _("Done in {time}.").format(time=duration(seconds))
        if run.warnings:
            text += " " + _("Read the warnings under Results.")
        show_text(self._ui.statusLabel, text, warns=bool(run.warnings))
        for line in (_volumes(run), *run.warnings):
            self._log.add(line)
        self._finished(node, run, self._given_up)

    def _on_failure(self, error: Exception, run: SegmentationRun) -> None:
        self._log.add(error.sentence() if isinstance(error, BrainTumorSegError) else str(error))
        show_text(self._ui.statusLabel, _("It failed."), warns=True)
        if not isinstance(error, DeviceShortageError):
            show_error(error, run.log)
        elif slicer.util.confirmYesNoDisplay(
            plain(f"{error} {_('Segment again on the CPU? It is slower and needs no GPU memory.')}")
        ):
            with errors_shown():
                self._repeat_on_cpu()

    def _repeat_on_cpu(self) -> None:
        """The same images and choices, whatever is chosen by now."""
        if self._kind is not None and _may_be_replaced(self._asked["outputSegmentation"]):
            self._start({**self._asked, "device": "cpu"}, dataclasses.replace(self._kind, device="cpu"))


def _may_be_replaced(output: Any) -> bool:
    """Ask before segments are replaced that were edited by hand or made elsewhere."""
    if output is None or not mrml.holds_other_work(output):
        return True
    question = _("The segments ET, TC, WT, NCR and ED of {name} were edited or made elsewhere. Replace them?")
    return bool(slicer.util.confirmOkCancelDisplay(plain(question.format(name=output.GetName()))))


def _volumes(run: SegmentationRun) -> str:
    """The regions' volumes, and the expected Dice of those that were found."""
    texts = []
    for name, sizes in run.measurements.items():
        expected = (
            _(" (expected Dice {value:.2f})").format(value=run.confidence[name]) if name in run.confidence else ""
        )
        texts.append(f"{name} {sizes.volume_ml:.1f} mL{expected}")
    return ", ".join(texts)
