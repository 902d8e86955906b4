"""Whose images are assigned, where a scene holds those of several: patients, their studies, points in time.

Patients and studies are those of the subject hierarchy, points in time those of sequence nodes, of which a volume in
the scene shows one at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from .sources import candidate, volumes_of_scene
from .widgets import chosen_value, fill_list

_TREE = slicer.vtkMRMLSubjectHierarchyNode
# Films of more pictures are no visits.
_MOST_TIMES = 50


@dataclass(frozen=True)
class Source:
    """Where images are taken from.

    Attributes:
        key: tells it from others, while the scene is open.
        title: for the list.
        item: of the subject hierarchy: a patient or a study; 0 where it is neither.
        browser, time: of a sequence and the number of a point in it, where it is one.
    """

    key: str
    title: str
    item: int = 0
    browser: Any = None
    time: int = 0

    def volumes(self) -> list[Any]:
        """Its images; of a point in time, after they were made to show it."""
        if self.browser is not None:
            self.browser.SetSelectedItemNumber(self.time)
            return _shown_by(self.browser)
        tree = _tree()
        return [node for node in volumes_of_scene() if self.item in _above(tree, node)]


def sources() -> list[Source]:
    """The patients with images, below one with several studies each of these, and the points in time of sequences."""
    tree = _tree()
    below: dict[int, list[int]] = {}
    for node in volumes_of_scene():
        patient, study = _above(tree, node)
        if patient:
            studies = below.setdefault(patient, [])
            if study and study not in studies:
                studies.append(study)
    found = []
    for patient, studies in below.items():
        name = tree.GetItemName(patient)
        found.append(Source(f"item {patient}", name, patient))
        for study in studies if len(studies) > 1 else ():
            found.append(Source(f"item {study}", f"{name}: {tree.GetItemName(study)}", study))
    return [*found, *_times()]


def _tree() -> Any:
    return _TREE.GetSubjectHierarchyNode(slicer.mrmlScene)


def _above(tree: Any, node: Any) -> tuple[int, int]:
    """Patient and study that a volume lies under; 0 stands for none."""
    item = tree.GetItemByDataNode(node)
    patient, study = (tree.GetItemAncestorAtLevel(item, level) if item else 0 for level in ("Patient", "Study"))
    return patient, study


def _times() -> list[Source]:
    """Points in time of sequences whose volumes are known for sequences of MRI."""
    found = []
    for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode"):
        count = browser.GetNumberOfItems()
        if 1 < count <= _MOST_TIMES and any(candidate(node).modality for node in _shown_by(browser)):
            found += [Source(f"{browser.GetID()} {i}", _time_title(browser, i), 0, browser, i) for i in range(count)]
    return found


def _time_title(browser: Any, index: int) -> str:
    return f"{browser.GetName()}: {time_of(browser, index)}"


def time_of(browser: Any, index: int) -> str:
    """A point in time, as its sequence names it."""
    sequence = browser.GetMasterSequenceNode()
    parts = (sequence.GetIndexName(), sequence.GetNthIndexValue(index), sequence.GetIndexUnit())
    return " ".join(part for part in parts if part)


def _shown_by(browser: Any) -> list[Any]:
    """The volumes that show a sequence's point in time."""
    return [node for node in volumes_of_scene() if browser.IsProxyNodeID(node.GetID())]


def time_shown(node: Any) -> str:
    """Which point in time a volume shows now; empty where it is of no sequence."""
    for browser in slicer.util.getNodesByClass("vtkMRMLSequenceBrowserNode"):
        if browser.IsProxyNodeID(node.GetID()) and browser.GetNumberOfItems() > 1:
            return time_of(browser, browser.GetSelectedItemNumber())
    return ""


class PatientPart:
    """The list of patients; there only where a scene has more than one to choose from."""

    def __init__(self, ui: Any, chosen: Callable[[list[Any]], None]) -> None:
        """``chosen`` takes the images of what was chosen."""
        self._ui, self._chosen = ui, chosen
        self._sources: dict[str, Source] = {}
        self._observed: tuple[Any, list[int]] = (None, [])
        self._timer = qt.QTimer()  # a patient comes with many items
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.connect("timeout()", self.refresh)
        ui.patientSelector.connect("activated(int)", self._on_chosen)
        self.refresh()

    def candidates(self) -> list[Any]:
        """The images to choose from: those of the chosen patient, else all of the scene."""
        source = self._sources.get(chosen_value(self._ui.patientSelector))
        return source.volumes() if source else volumes_of_scene()

    def refresh(self) -> None:
        """List them again."""
        self._observe(_tree())
        before = chosen_value(self._ui.patientSelector)
        self._sources = {source.key: source for source in sources()}
        entries = [(_("All of the scene"), ""), *((source.title, key) for key, source in self._sources.items())]
        fill_list(self._ui.patientSelector, entries, before)
        several = len(self._sources) > 1
        self._ui.patientSelector.visible = self._ui.patientLabel.visible = several

    def refresh_soon(self) -> None:
        """List them again when what happens to the scene now has happened."""
        self._timer.start()

    def close(self) -> None:
        """The panel goes away, or the scene is closed."""
        self._timer.stop()
        self._observe(None)

    def _observe(self, tree: Any) -> None:
        before, tags = self._observed
        if tree is before:
            return
        for tag in tags:
            before.RemoveObserver(tag)
        events = (
            _TREE.SubjectHierarchyItemAddedEvent,
            _TREE.SubjectHierarchyItemRemovedEvent,
            _TREE.SubjectHierarchyItemModifiedEvent,
            _TREE.SubjectHierarchyItemReparentedEvent,
        )
        self._observed = (tree, [tree.AddObserver(event, self._on_tree) for event in events] if tree else [])

    def _on_tree(self, _caller: Any, _event: Any) -> None:
        self.refresh_soon()

    def _on_chosen(self, _index: int) -> None:
        self._chosen(self.candidates())
