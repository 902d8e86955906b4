"""Where the images come from: nodes, names or files; which sequence a node holds; whose images they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.domain import modalities
from BrainTumorSegLib.domain.errors import InputError, ModalityError
from BrainTumorSegLib.domain.modalities import FLAIR, MODALITIES, T1, T1CE, T2, TITLES, from_name, is_image
from BrainTumorSegLib.io.mrml import check_volume

SERIES_DESCRIPTION, CONTRAST_AGENT = "0008,103E", "0018,0010"
ECHO_TIME, REPETITION_TIME, INVERSION_TIME = "0018,0081", "0018,0080", "0018,0082"
PATIENT_ID = "0010,0020"
_TAGS = (SERIES_DESCRIPTION, CONTRAST_AGENT, ECHO_TIME, REPETITION_TIME, INVERSION_TIME)

_ENHANCED = re.compile(r"\+ ?(c|gd|km)\b|\b(gd|gado\w*|post|contrast|ce|km)\b", re.IGNORECASE)
_NATIVE = re.compile(r"\b(pre|native|nativ|without|non[- ]?contrast)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Guess:
    """A volume that seems to be of a sequence; the higher the rank, the surer."""

    modality: str
    node: Any
    reason: str
    rank: int


def resolve(given: Mapping[str, Any]) -> dict[str, Any]:
    """Modality → volume node or file, from nodes, ids, names or files; None is left out.

    Raises:
        ModalityError: nothing is given, or one thing twice.
        InputError, GeometryError: no such node or file, or an unusable one.
    """
    found = {modality: _resolve(value) for modality, value in given.items() if value is not None}
    if not found:
        raise ModalityError("No image was given.", "Give some of t1, t1ce, t2, flair.")
    seen: dict[str, str] = {}
    for modality, source in found.items():
        key = str(source.resolve()) if isinstance(source, Path) else source.GetID()
        if key in seen:
            raise ModalityError(
                f"{name_of(source)} was given as {TITLES[seen[key]]} and as {TITLES[modality]}.",
                "Give each image once.",
            )
        seen[key] = modality
        if not isinstance(source, Path):
            check_volume(source)
    return {modality: found[modality] for modality in MODALITIES if modality in found}


def _resolve(value: Any) -> Any:
    if not isinstance(value, (str, Path)):
        if not hasattr(value, "IsA"):
            raise InputError(f"{value!r} is no volume node, name or file.", "Give one of these.")
        if value.GetScene() is None or not slicer.mrmlScene.IsNodePresent(value):
            raise InputError(f"{value.GetName()} is not in the scene.", "Load it again.")
        return value
    if isinstance(value, str):
        node = slicer.mrmlScene.GetNodeByID(value) or slicer.mrmlScene.GetFirstNodeByName(value)
        if node is not None:
            return node
    path = Path(value)
    if not path.is_file():
        raise InputError(f"There is neither a node nor a file called {value}.", "Check the name.")
    return path


def name_of(source: Any) -> str:
    """Name of a node or file."""
    return source.name if isinstance(source, Path) else str(source.GetName())


def volumes_of_scene() -> list[Any]:
    """The images among the nodes of the scene, in the order in which they came."""
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [node for node in nodes if not node.IsA("vtkMRMLLabelMapVolumeNode") and not node.GetHideFromEditors()]


def case_files(paths: Iterable[Path]) -> dict[str, Path]:
    """Modality → file, for the files of a case: a folder, or the files themselves; by name.

    Raises:
        ModalityError: two files speak of one modality.
        InputError: none speaks of any.
    """
    given = list(paths)
    files = [file for path in given for file in (sorted(path.iterdir()) if path.is_dir() else [path])]
    found = modalities.assign(file for file in files if file.is_file() and is_image(file) and file.name[0] != ".")
    if not found:
        where = given[0] if given else _("This")
        raise InputError(
            _("{where} holds no file whose name speaks of T1, T1ce, T2 or FLAIR.").format(where=where),
            _("Load the images one by one and choose them below."),
        )
    return found


def load_case(paths: Iterable[Path]) -> dict[str, Any]:
    """Load the images of a case; all of them or none.

    Raises:
        ModalityError, InputError: see :func:`case_files`; or a file cannot be read.
    """
    nodes: dict[str, Any] = {}
    for modality, file in case_files(paths).items():
        try:
            nodes[modality] = slicer.util.loadVolume(str(file), {"show": False})
        except RuntimeError as error:
            for node in nodes.values():
                _remove(node)
            raise InputError(_("{file} cannot be read.").format(file=file), _("Copy it again.")) from error
    return nodes


def _remove(volume: Any) -> None:
    """A volume with what was made for it alone."""
    for part in (volume.GetDisplayNode(), volume.GetStorageNode(), volume):
        if part is not None:
            slicer.mrmlScene.RemoveNode(part)


def assign(nodes: list[Any]) -> dict[str, Guess]:
    """The surest guess for each sequence; the one loaded first among equals."""
    best: dict[str, Guess] = {}
    for found in filter(None, map(guess, nodes)):
        other = best.get(found.modality)
        if other is None or found.rank > other.rank:
            best[found.modality] = found
    return {modality: best[modality] for modality in MODALITIES if modality in best}


def guess(node: Any) -> Guess | None:
    """Which sequence a volume is, by its name, else by its DICOM series description, else by its timing."""
    tags = dicom_tags(node)
    for text, what, rank in (
        (node.GetName(), _("name"), 3),
        (tags.get(SERIES_DESCRIPTION, ""), _("series description “{text}”"), 2),
    ):
        modality = from_name(text)
        if modality is not None:
            reason = what.format(text=text)
            if modality == T1 and not _NATIVE.search(text):
                agent = tags.get(CONTRAST_AGENT, "")
                if agent or _ENHANCED.search(text):
                    sign = _("contrast agent {agent}").format(agent=agent) if agent else _("contrast")
                    return Guess(T1CE, node, f"{reason}, {sign}", rank)
            return Guess(modality, node, reason, rank)
    modality = _from_timing(tags)
    if modality is None:
        return None
    times = {"TE": tags.get(ECHO_TIME), "TR": tags.get(REPETITION_TIME), "TI": tags.get(INVERSION_TIME)}
    reason = ", ".join(f"{name} {value} ms" for name, value in times.items() if value)
    if modality == T1CE:
        reason += ", " + _("contrast agent {agent}").format(agent=tags[CONTRAST_AGENT])
    return Guess(modality, node, reason, 1)


def _from_timing(tags: Mapping[str, str]) -> str | None:
    """Weighting from echo, repetition and inversion time in ms, within what clinical protocols use."""
    echo, repetition, inversion = (_number(tags.get(tag)) for tag in (ECHO_TIME, REPETITION_TIME, INVERSION_TIME))
    if echo is None:
        return None
    if inversion is not None and inversion >= 1500 and echo >= 60:
        return FLAIR
    short_inversion = inversion is not None and 300 <= inversion < 1500  # MPRAGE, IR-SPGR
    if echo < 30 and (short_inversion or (repetition is not None and repetition < 1200)):
        return T1CE if tags.get(CONTRAST_AGENT) else T1
    if echo >= 60 and not inversion and (repetition or 0) >= 2000:
        return T2
    return None


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def dicom_tags(node: Any, tags: tuple[str, ...] = _TAGS) -> dict[str, str]:
    """The tags of the first file that a volume was loaded from; none where it did not come from DICOM."""
    uids = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    if not uids or database is None:
        return {}
    values = {tag: str(database.instanceValue(uids[0], tag) or "").strip() for tag in tags}
    return {tag: value for tag, value in values.items() if value}


def different_patients(sources: Mapping[str, Any]) -> dict[str, str]:
    """Modality → patient ID, if the images that tell one do not agree; else empty."""
    found = {}
    for modality, source in sources.items():
        if not isinstance(source, Path):
            patient = dicom_tags(source, (PATIENT_ID,)).get(PATIENT_ID) or _patient_of_tree(source)
            if patient:
                found[modality] = patient
    return found if len(set(found.values())) > 1 else {}


def _patient_of_tree(node: Any) -> str:
    """The patient that a node is under in the subject hierarchy."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    own = tree.GetItemByDataNode(node) if tree is not None else 0
    item = tree.GetItemAncestorAtLevel(own, "Patient") if own else 0  # 0 stands for none
    if not item:
        return ""
    return tree.GetItemUID(item, "DICOM") or str(tree.GetItemName(item))


def patients_sentence(patients: Mapping[str, str]) -> str:
    """That images are of different patients, in words."""
    listed = ", ".join(f"{TITLES[modality]}: {patient}" for modality, patient in patients.items())
    return _("The images are of different patients ({listed}).").format(listed=listed)
