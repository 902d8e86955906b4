"""The panel's images: automatic assignment with its reasons, how they lie, loading and dropping of a case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import qt
import slicer
import vtk
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.errors import BrainTumorSegError
from BrainTumorSegLib.domain.modalities import MODALITIES, TITLES, reference_of
from BrainTumorSegLib.domain.session import Session, mixed
from BrainTumorSegLib.io import mrml
from BrainTumorSegLib.preprocessing.plan import Plan, plan_of

from .lies import Told, tell
from .patients import PatientPart
from .preprocessing import Looks
from .sample import load_sample
from .sources import (
    dicom_choice,
    load_case,
    load_series,
    origins_of,
    reason_of,
    resolve,
    session_of,
    unusable,
)
from .widgets import errors_shown, plain, show_text
from .wording import panel_words


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


class VolumeWatch:
    """Tells of volumes that are moved or changed: they lie or look otherwise than was said of them."""

    _EVENTS = (
        slicer.vtkMRMLTransformableNode.TransformModifiedEvent,
        slicer.vtkMRMLVolumeNode.ImageDataModifiedEvent,
        vtk.vtkCommand.ModifiedEvent,  # of origin, spacing or directions
    )

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._tags: list[tuple[Any, int]] = []
        self._nodes: list[Any] = []

    def watch(self, nodes: Iterable[Any]) -> None:
        """These, and no others any more."""
        found = list({node.GetID(): node for node in nodes}.values())
        if found == self._nodes:
            return
        for node, tag in self._tags:
            node.RemoveObserver(tag)
        self._nodes = found
        self._tags = [(node, node.AddObserver(event, self._on_event)) for node in found for event in self._EVENTS]

    def _on_event(self, _caller: Any, _event: Any) -> None:
        self._changed()


class Taker(Protocol):
    """A model, as far as the images depend on it."""

    def takes(self) -> tuple[str, ...]:
        """Its sequences."""

    def wanted(self) -> str:
        """What it wants to see: the ``extracted`` brain or the whole ``head``."""


class InputsPart:
    """T1, T1ce, T2 and FLAIR; their selectors are bound to the parameter node."""

    def __init__(self, ui: Any, parameters: Callable[[], Any], model: Taker, log: Callable[[str], None]) -> None:
        """``model`` says what the chosen model takes."""
        self._ui, self._parameters, self._model, self._log = ui, parameters, model, log
        self._looks = Looks()
        self.plan: Plan | None = None  # what a run would do; None where nothing can be said
        self._reasons: dict[str, tuple[str, str]] = {}  # modality → id of the node that was guessed, and why
        self._said: list[str] = []  # of the last assignment: what was left out, and what is to be watched
        self._problem = ""
        self.patients = PatientPart(ui, self._assign_from)
        ui.assignButton.connect("clicked()", self.assign)
        ui.loadFolderButton.connect("clicked()", self._on_load_folder)
        ui.sampleButton.connect("clicked()", self._on_sample)
        self._filter = DropFilter(self.load)
        ui.dropFrame.installEventFilter(self._filter)

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

    @property
    def brain_mask(self) -> Any:
        """Node of the mask of the brain that a run is given; None also where the model takes whole heads."""
        return self._parameters().brainMask if self._model.wanted() == "extracted" else None

    def assign(self) -> None:
        """Choose the volumes of one session among those of the patient that is chosen, else of the scene."""
        self._assign_from(self.patients.candidates())

    def _assign_from(self, candidates: list[Any]) -> None:
        session = session_of(candidates)
        self._use(session, only=candidates)
        if not session.chosen:
            slicer.util.infoDisplay(
                _("No volume's name or DICOM tags speak of T1, T1ce, T2 or FLAIR. Choose the images by hand.")
            )

    def _use(self, session: Session, only: Sequence[Any] | None = None) -> None:
        """Choose a session's images, and say what was left out.

        For what it lacks, an image that was chosen by hand stays, unless it is known to be something else, or is none
        of those that were to be chosen from.
        """
        chosen = {modality: found.source for modality, found in session.chosen.items()}
        known = [*chosen.values(), *(found.source for found, _reason in session.left_out if found.recognition)]
        before = self.volumes().items()
        kept = {name: node for name, node in before if node not in known and (only is None or node in only)}
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
        with errors_shown(), slicer.util.WaitCursor():
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
        """Say how the images lie and what will be done to them; of each what there is to notice."""
        nodes = self.volumes()
        faults = {modality: problem for modality, node in nodes.items() if (problem := unusable(node))}
        sound = {modality: node for modality, node in nodes.items() if modality not in faults}
        looks = {modality: self._looks.of(node) for modality, node in sound.items()}
        self.plan = self._plan(nodes, sound, looks)
        unused = frozenset(set(nodes) - set(self._model.takes())) if nodes else frozenset()
        told = tell(nodes, self.plan, looks, faults, unused, self._looks.swapped(sound, looks))
        for modality in MODALITIES:
            self._show_image(modality, nodes.get(modality), told)
        about_mask = self._about_mask()
        summary = " ".join(filter(None, (told.summary, about_mask)))
        show_text(self._ui.imagesInfoLabel, summary, warns=bool(told.problem or about_mask))
        self._show_session(nodes)
        self._problem = told.problem
        if not self._problem and nodes:
            try:
                resolve(nodes)
            except BrainTumorSegError as error:
                self._problem = panel_words(error.sentence())

    def _about_mask(self) -> str:
        """That the chosen mask is left out; empty where none is."""
        chosen = self._parameters()
        if chosen is None or chosen.brainMask is None or self.brain_mask is not None:
            return ""
        return str(_("The model takes whole heads, so the brain mask is not used."))

    def _show_image(self, modality: str, node: Any, told: Told) -> None:
        """The line below a selector, where there is something to notice; the rest in its tool tip."""
        identifier, reason = self._reasons.get(modality, ("", ""))
        reason = reason if node is not None and identifier == node.GetID() else ""
        line, detail = told.lines.get(modality, ""), told.details.get(modality, "")
        by = _("Assigned by its {reason}.").format(reason=reason) if reason else ""
        # The selector shows the name; anything else that decided is worth a look.
        beside = by if reason not in ("", _("name"), _("file name")) else ""
        label = getattr(self._ui, f"{modality}InfoLabel")
        show_text(label, panel_words(" ".join(filter(None, (line, beside)))), warns=bool(line))
        about = _("{title} image of the patient, as scanned or prepared.").format(title=TITLES[modality])
        getattr(self._ui, f"{modality}Selector").toolTip = plain(
            "\n".join(filter(None, (about, " ".join(filter(None, (panel_words(detail), by))))))
        )

    def _show_session(self, nodes: dict[str, Any]) -> None:
        """What the images do not share; and of the last assignment what it left out, while it stands."""
        ids = {modality: node.GetID() for modality, node in nodes.items()}
        stands = all(ids.get(modality) == identifier for modality, (identifier, _reason) in self._reasons.items())
        lines = self._said if stands else []
        apart = mixed(origins_of(nodes))
        lines = [*lines, *(line for line in apart if line not in lines)]
        show_text(self._ui.sessionInfoLabel, "\n".join(lines), warns=bool(apart))

    def _plan(self, nodes: dict[str, Any], sound: dict[str, Any], looks: dict[str, str]) -> Plan | None:
        """What a run would do to the images that can be used; None where the reference cannot."""
        if not sound or reference_of(nodes) not in sound:
            return None
        chosen = self._parameters()
        return plan_of(
            {modality: mrml.grid_of_volume(node) for modality, node in sound.items()},
            looks,
            reference_of(nodes),
            chosen.preprocessing.value,
            masked=self.brain_mask is not None,
            brain=self._model.wanted(),
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
        with errors_shown(), slicer.util.WaitCursor():
            self._use(session_of(load_sample()))


def _left_out(images: list[str]) -> list[str]:
    """One line, or none."""
    return [_("Left out: {images}.").format(images="; ".join(images))] if images else []
