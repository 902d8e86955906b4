"""The engine's work on models: a run at a time, with its bar and Cancel below the buttons that begin it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.errors import BrainTumorSegError
from BrainTumorSegLib.runner import POLL_SECONDS, begin

from .turns import Turns
from .widgets import errors_shown, show_error, show_text


class _Work:
    """One run, and what follows it."""

    def __init__(
        self,
        arguments: Sequence[str],
        then: Callable[[dict[str, Any]], None],
        failed: Callable[[BrainTumorSegError], None],
        aside: bool,
    ) -> None:
        self.then, self.failed, self.aside = then, failed, aside
        self.run, self.close = begin(self, lambda _folder: ["models", *arguments])


class ModelWork:
    """Runs ``braintumorseg models …``, one at a time."""

    def __init__(self, ui: Any, turns: Turns, log: Callable[[str], None]) -> None:
        """``log`` takes the engine's words."""
        self._ui, self._turns, self._log = ui, turns, log
        self._work: _Work | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(round(1000 * POLL_SECONDS))
        self._timer.connect("timeout()", self._poll)
        ui.cancelModelButton.connect("clicked()", self.cancel)
        turns.join(self)
        self.say("")
        self.refresh()

    @property
    def under_way(self) -> str:
        """What runs, as a sentence; empty if nothing does, or it only downloads."""
        return _("A model is being added.") if self._work and not self._work.aside else ""

    @property
    def busy(self) -> bool:
        """Whether anything runs."""
        return self._work is not None

    def refresh(self) -> None:
        """Nothing is begun while something runs; downloads can begin beside a segmentation."""
        reason = self._turns.under_way or (_("A model is being downloaded.") if self.busy else "")
        self._ui.addModelButton.enabled = not reason
        self._ui.addModelButton.toolTip = reason or _(
            "Add a checkpoint, or a model of nnU-Net v2, a MONAI bundle or Auto3DSeg; you see first what it is."
        )
        self._ui.downloadModelButton.enabled = self._ui.publicModelSelector.count > 0 and not self.busy
        self._ui.cancelModelButton.visible = self._ui.modelProgressBar.visible = self.busy

    def say(self, text: str, *, warns: bool = False) -> None:
        """In the line below the bar."""
        show_text(self._ui.modelStatusLabel, text, warns=warns)

    def start(
        self,
        arguments: Sequence[str],
        then: Callable[[dict[str, Any]], None],
        failed: Callable[[BrainTumorSegError], None] = show_error,
        *,
        aside: bool = False,
    ) -> None:
        """Begin a run.

        Args:
            arguments: of ``braintumorseg models``.
            then: takes its result.
            failed: takes its error.
            aside: whether it leaves memory and cores to other runs, as a download does; what follows waits for them.

        Raises:
            ExecutionError: no process can be started, or there is no place for temporary files.
        """
        self._work = _Work(arguments, then, failed, aside)
        self._timer.start()
        self._ui.modelProgressBar.value = 0
        self.say(_("Starting…"))
        self._turns.changed()

    def cancel(self) -> None:
        """Stop; nothing is added."""
        if self._work is None:
            return
        self._work.run.cancel()
        self.say(_("Cancelling…"))
        if self._work.run.state == "done":  # it waits for its turn
            self._end()
            self.say(_("Cancelled."))
            self._turns.changed()

    def close(self) -> None:
        """The panel goes away."""
        self._end()

    def _end(self) -> None:
        self._timer.stop()
        if self._work is not None:
            self._work.close()
            self._work = None

    def _poll(self) -> None:
        work = self._work
        if work is None:
            return
        run, state = work.run, work.run.state
        if state == "running":
            self._ui.modelProgressBar.value = round(100 * run.progress)
            if not run.cancelling:
                self.say(run.message)
            return
        if state == "done" and work.aside and self._turns.under_way:
            self.say(_("Downloaded. It is added when nothing else runs."))
            return
        for line in run.log:
            self._log(line)
        self._end()
        self.say(_("Cancelled.") if state == "cancelled" else _("It failed.") if state == "failed" else "")
        self._turns.changed()
        with errors_shown():
            if state == "done":
                work.then(run.answer())
            elif state == "failed" and run.error is not None:
                work.failed(run.error)
