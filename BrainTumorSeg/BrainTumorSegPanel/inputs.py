"""The panel's images: automatic assignment with its reasons, how they lie, loading and dropping of a case."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.errors import BrainTumorSegError
from BrainTumorSegLib.domain.modalities import MODALITIES, TITLES, listed, reference_of
from BrainTumorSegLib.domain.session import Session, mixed
from BrainTumorSegLib.io import mrml
from BrainTumorSegLib.io.sample_patient import SAMPLE
from BrainTumorSegLib.preprocessing.plan import Plan, plan_of

from .preprocessing import Looks
from .sources import (
    dicom_choice,
    load_case,
    load_series,
    origins_of,
    reason_of,
    resolve,
    session_of,
    unusable,
    volumes_of_scene,
)
from .widgets import errors_shown


class DropFilter(qt.QObject):
    """Takes files that are dropped on a widget."""

    def __init__(self, dropped: Callable[[list[Path]], None]) -> None:
        qt.QObject.__init__(self)
        self.dropped = dropped

    def eventFilter(self, target: Any, event: Any) -> bool:  # noqa: N802 - Qt's name
        """Qt asks this of every event of the widget."""
        kind = event.type()
        if kind in (qt.QEvent.DragEnter, qt.QEvent.DragMove) and event.mimeData().hasUrls():
            event.acceptProposedAction()
            return True
        if kind == qt.QEvent.Drop:
            event.acceptProposedAction()
            self.dropped([Path(url.toLocalFile()) for url in event.mimeData().urls()])
            return True
        return False


class InputsPart:
    """T1, T1ce, T2 and FLAIR; their selectors are bound to the parameter node."""

    def __init__(
        self, ui: Any, parameters: Callable[[], Any], wanted: Callable[[], str], log: Callable[[str], None]
    ) -> None:
        """``wanted`` says what the model wants to see: the ``extracted`` brain or the whole ``head``."""
        self._ui, self._parameters, self._wanted, self._log = ui, parameters, wanted, log
        self._looks = Looks()
        self._reasons: dict[str, tuple[str, str]] = {}  # modality → id of the node that was guessed, and why
        self._said: list[str] = []  # of the last assignment: what was left out, and what is to be watched
        self._problem = ""
        ui.assignButton.connect("clicked()", self.assign)
        ui.loadFolderButton.connect("clicked()", self._on_load_folder)
        ui.sampleButton.connect("clicked()", self._on_sample)
        self._filter = DropFilter(self.load)
        ui.dropLabel.installEventFilter(self._filter)

    def volumes(self) -> dict[str, Any]:
        """Modality → chosen node."""
        parameters = self._parameters()
        if parameters is None:
            return {}
        nodes = {modality: getattr(parameters, modality) for modality in MODALITIES}
        return {modality: node for modality, node in nodes.items() if node is not None}

    @property
    def problem(self) -> str:
        """Why the chosen images cannot be segmented; empty if they can."""
        return self._problem

    def assign(self) -> None:
        """Choose the volumes of one session among those of the scene."""
        session = session_of(volumes_of_scene())
        self._use(session)
        if not session.chosen:
            slicer.util.infoDisplay(
                _("No volume's name or DICOM tags speak of T1, T1ce, T2 or FLAIR. Choose the images by hand.")
            )

    def _use(self, session: Session) -> None:
        """Choose a session's images, and say what was left out.

        For what it lacks, an image that was chosen by hand stays, unless it is known to be something else.
        """
        chosen = {modality: found.source for modality, found in session.chosen.items()}
        known = [*chosen.values(), *(found.source for found, _reason in session.left_out if found.recognition)]
        kept = {modality: node for modality, node in self.volumes().items() if node not in known}
        self._choose({modality: (kept | chosen).get(modality) for modality in MODALITIES})
        self._reasons = {
            modality: (found.source.GetID(), reason_of(found.recognition))
            for modality, found in session.chosen.items()
            if found.recognition
        }
        others = [f"{found.name} ({reason.rstrip('.')})" for found, reason in session.left_out if found.recognition]
        self._say([*session.warnings, *_left_out(others)] if session.chosen else [])
        self.refresh()

    def _say(self, lines: list[str]) -> None:
        """What is to be known of an assignment, below its button and in the log."""
        self._said = lines
        for line in lines:
            self._log(line)

    def load(self, paths: Sequence[Path]) -> None:
        """Load a case folder, of files or DICOM series, or the files of a case, and choose its images."""
        with errors_shown():
            choice = dicom_choice(paths)
            nodes = load_series(choice) if choice else load_case(paths)
            reasons = choice.reasons if choice else dict.fromkeys(nodes, _("file name"))
            self._choose(dict.fromkeys(MODALITIES) | nodes)
            self._reasons = {modality: (node.GetID(), reasons[modality]) for modality, node in nodes.items()}
            left_out = [f"{name} ({why})" for name, why in choice.left_out.items()] if choice else []
            self._say([*(choice.warnings if choice else ()), *_left_out(left_out)])
            slicer.util.setSliceViewerLayers(background=nodes[reference_of(nodes)], fit=True)
            self.refresh()

    def refresh(self) -> None:
        """Say of each image how it lies on the reference, and why it was chosen."""
        nodes = self.volumes()
        self._problem = ""
        plan = self._plan(nodes)
        for modality in MODALITIES:
            label = getattr(self._ui, f"{modality}InfoLabel")
            label.text = self._describe(modality, nodes, plan) if modality in nodes else ""
            label.visible = bool(label.text)
        self._show_session(nodes)
        if not self._problem and nodes:
            try:
                resolve(nodes)
            except BrainTumorSegError as error:
                self._problem = error.sentence()

    def _show_session(self, nodes: dict[str, Any]) -> None:
        """What the images do not share; and of the last assignment what it left out, while it stands."""
        ids = {modality: node.GetID() for modality, node in nodes.items()}
        stands = all(ids.get(modality) == identifier for modality, (identifier, _reason) in self._reasons.items())
        lines = self._said if stands else []
        lines = [*lines, *(line for line in mixed(origins_of(nodes)) if line not in lines)]
        self._ui.sessionInfoLabel.text = "\n".join(lines)
        self._ui.sessionInfoLabel.visible = bool(lines)

    def _describe(self, modality: str, nodes: dict[str, Any], plan: Plan | None) -> str:
        node = nodes[modality]
        reference = reference_of(nodes)
        problem = unusable(node)
        if problem:
            self._problem = self._problem or problem
            return problem
        if plan is None:
            return ""
        line = _lies(modality, nodes, plan)
        if modality not in plan.registered and mrml.alignment(node, nodes[reference]) is mrml.Alignment.APART:
            self._problem = self._problem or _(
                "{title} and {reference} do not overlap in space; choose images of one session, or let them be "
                "registered (Preprocessing, under Advanced)."
            ).format(title=TITLES[modality], reference=TITLES[reference])
        identifier, reason = self._reasons.get(modality, ("", ""))
        if reason and identifier == node.GetID():
            line += " " + _("Assigned by its {reason}.").format(reason=reason)
        return line

    def _plan(self, nodes: dict[str, Any]) -> Plan | None:
        """What a run would do to the images that can be used; None where the reference cannot."""
        usable = {modality: node for modality, node in nodes.items() if not unusable(node)}
        if not usable or reference_of(nodes) not in usable:
            return None
        chosen = self._parameters()
        return plan_of(
            {modality: mrml.grid_of_volume(node) for modality, node in usable.items()},
            {modality: self._looks.of(node) for modality, node in usable.items()},
            reference_of(nodes),
            chosen.preprocessing.value,
            masked=chosen.brainMask is not None,
            brain=self._wanted(),
        )

    def _choose(self, nodes: dict[str, Any]) -> None:
        parameters = self._parameters()
        if parameters is None:
            return
        with slicer.util.NodeModify(parameters):
            for modality, node in nodes.items():
                setattr(parameters, modality, node)

    def _on_load_folder(self) -> None:
        folder = qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), _("Case folder"))
        if folder:
            self.load([Path(folder)])

    def _on_sample(self) -> None:
        with errors_shown():
            import SampleData

            nodes = SampleData.SampleDataLogic().downloadSamples(SAMPLE)
            self._use(session_of(node for node in nodes if node is not None))


def _left_out(images: list[str]) -> list[str]:
    """One line, or none."""
    return [_("Left out: {images}.").format(images="; ".join(images))] if images else []


def _lies(modality: str, nodes: dict[str, Any], plan: Plan) -> str:
    """How an image lies on the reference, and what will be done to it."""
    reference = reference_of(nodes)
    lies = mrml.alignment(nodes[modality], nodes[reference])
    done = [_("registered")] if modality in plan.registered else []
    if not done and lies is mrml.Alignment.RESAMPLED:
        done.append(_("resampled"))
    if modality in plan.stripped:
        done.append(_("skull-stripped"))
    if modality == reference:
        lines = [_("Reference: the result lies on its grid.")]
        lines += [_("It will be {done}.").format(done=listed(done))] if done else []
    else:
        place = {
            mrml.Alignment.SAME: _("Same grid as {reference}"),
            mrml.Alignment.RESAMPLED: _("Another grid than {reference}"),
            mrml.Alignment.APART: _("Far apart from {reference}"),
        }[lies].format(reference=TITLES[reference])
        lines = [_("{place}: will be {done}.").format(place=place, done=listed(done)) if done else f"{place}."]
    if modality in plan.unfit:
        lines.append(_("It shows a whole head, and will not be skull-stripped."))
    return " ".join(lines)
