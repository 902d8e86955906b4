"""Where the images come from: nodes, names or files; which sequence a node holds; whose images they are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.errors import BrainTumorSegError, InputError, ModalityError, RequestError
from BrainTumorSegLib.domain.json_values import json_of
from BrainTumorSegLib.domain.modalities import MODALITIES, TITLES, Recognition, assign, recognise
from BrainTumorSegLib.domain.session import Candidate, Origin, Session, choose_session
from BrainTumorSegLib.io import dicom
from BrainTumorSegLib.io.case_folder import CaseFiles, find_case
from BrainTumorSegLib.io.mrml import ATTRIBUTE, check_volume
from BrainTumorSegLib.io.registry import is_image

STUDY_DATE = slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMStudyDateAttributeName()
# What tells the kind of a series that was read from files which no database knows, as JSON.
_KIND = f"{ATTRIBUTE}series"
# Tags as the database of the application names them -> keywords of DICOM.
_TAGS = {
    "0008,103E": "SeriesDescription",
    "0018,0010": "ContrastBolusAgent",
    "0018,0081": "EchoTime",
    "0018,0080": "RepetitionTime",
    "0018,0082": "InversionTime",
    "0010,0020": "PatientID",
    "0020,000D": "StudyInstanceUID",
    "0008,1030": "StudyDescription",
    "0008,0020": "StudyDate",
    "0008,0021": "SeriesDate",
    "0008,0022": "AcquisitionDate",
    "0008,0031": "SeriesTime",
    "0008,0032": "AcquisitionTime",
    "0008,0008": "ImageType",
    "0018,1030": "ProtocolName",
    "0018,0015": "BodyPartExamined",
    "0018,0020": "ScanningSequence",
    "0018,0025": "AngioFlag",
    "0018,9087": "DiffusionBValue",
}


def resolve(given: Mapping[str, Any]) -> dict[str, Any]:
    """Modality → volume node or file, from nodes, ids, names or files; None is left out.

    Raises:
        ModalityError: nothing is given, or one thing twice.
        InputError, GeometryError: no such node or file, or an unusable one.
    """
    found = {modality: find(value) for modality, value in given.items() if value is not None}
    if not found:
        raise ModalityError(_("No image was given."), _("Give some of t1, t1ce, t2, flair."))
    seen: dict[str, str] = {}
    for modality, source in found.items():
        key = str(source.resolve()) if isinstance(source, Path) else source.GetID()
        if key in seen:
            raise ModalityError(
                _("{name} was given as {first} and as {second}.").format(
                    name=name_of(source), first=TITLES[seen[key]], second=TITLES[modality]
                ),
                _("Give each image once."),
            )
        seen[key] = modality
        if not isinstance(source, Path):
            check_volume(source)
    return {modality: found[modality] for modality in MODALITIES if modality in found}


def find(value: Any) -> Any:
    """A node or file, from itself, its id, its name or its path.

    Raises:
        InputError: there is none.
        RequestError: several volumes have the name.
    """
    if not isinstance(value, (str, Path)):
        if not hasattr(value, "IsA"):
            raise InputError(_("{value} is no volume node, name or file.").format(value=repr(value)), _("Give one."))
        if value.GetScene() is None or not slicer.mrmlScene.IsNodePresent(value):
            raise InputError(_("{name} is not in the scene.").format(name=value.GetName()), _("Load it again."))
        return value
    if isinstance(value, str):
        # One of another kind is refused by what it is.
        node = _node_called(value, "vtkMRMLVolumeNode") or _node_called(value, "vtkMRMLNode")
        if node is not None:
            return node
    path = Path(value)
    if not path.is_file():
        text = _("There is neither a node nor a file called {name}.")
        raise InputError(text.format(name=value), _("Check the name."))
    return path


def find_segmentation(value: Any, *, or_labels: bool = False) -> Any:
    """A segmentation node, from itself, its id or its name.

    Args:
        value: what is given.
        or_labels: whether a label volume will do.

    Raises:
        RequestError: there is none of that name, or more than one, or what is given is something else.
    """
    kinds = ("vtkMRMLSegmentationNode", *(("vtkMRMLLabelMapVolumeNode",) if or_labels else ()))
    if isinstance(value, str):
        node = _node_called(value, *kinds)
        if node is None:
            raise RequestError(_("There is no segmentation called {name}.").format(name=value), _("Check the name."))
        return node
    if not (hasattr(value, "IsA") and any(value.IsA(kind) for kind in kinds)):
        name = value.GetName() if hasattr(value, "GetName") else repr(value)
        raise RequestError(_("{name} is no segmentation.").format(name=name), _("Give a segmentation or its name."))
    return value


def find_volume(value: Any) -> Any:
    """A volume node, from itself, its id or its name; None for None.

    Raises:
        RequestError, InputError: there is none, or more than one of the name, or what is given is something else.
    """
    if value is None:
        return None
    node = find(value)
    if isinstance(node, Path):
        raise RequestError(_("{name} is a file.").format(name=node), _("Load it, and give its node or name."))
    return node


def _node_called(name: str, *kinds: str) -> Any:
    """The node of these kinds that has a name or an id; None where there is none.

    Raises:
        RequestError: more than one has it: they may be two patients'.
    """
    nodes = [node for kind in kinds for node in slicer.util.getNodesByClass(kind)]
    named = (node for node in nodes if node.GetName() == name and not node.GetHideFromEditors())
    found = [node for node in nodes if node.GetID() == name] or list(named)
    if len(found) > 1:
        ids = ", ".join(node.GetID() for node in found)
        raise RequestError(
            _("{count} nodes are called {name}.").format(count=len(found), name=name),
            _("Give the node itself or its id ({ids}).").format(ids=ids),
        )
    return found[0] if found else None


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
        InputError: none speaks of any, or it is no patient's folder.
    """
    given = list(paths)
    if len(given) == 1 and given[0].is_dir():
        found = dict(find_case(given[0]).files)
    else:
        found = assign(file for file in given if file.is_file() and is_image(file) and file.name[0] != ".")
    if not found:
        where = given[0] if given else _("This")
        raise InputError(
            _("{where} holds no file whose name speaks of T1, T1ce, T2 or FLAIR.").format(where=where),
            _("Load the images one by one and choose them below."),
        )
    return found


def dicom_choice(paths: Iterable[Path]) -> dicom.Choice | None:
    """Which DICOM series of a folder are the sequences; None where it is no one folder of such.

    Files whose names tell the sequences go before DICOM that lies below them, as for the command line.

    Raises:
        ModalityError, InputError: no series is recognised, they are of several patients, or one is faulty.
    """
    given = list(paths)
    if len(given) != 1 or not given[0].is_dir() or not dicom.holds_dicom(given[0]):
        return None
    chosen = find_case(given[0]).chosen
    return chosen if chosen.series else None


def load_series(choice: dicom.Choice) -> dict[str, Any]:
    """Nodes of the chosen series; all of them or none.

    Raises:
        InputError: the pixels of a series cannot be read.
    """
    volumes = {modality: choice.read(modality) for modality in choice.series}
    nodes = {}
    for modality, volume in volumes.items():
        series = choice.series[modality]
        node = slicer.util.addVolumeFromArray(volume.array, volume.affine, series.name)
        node.SetAttribute("DICOM.instanceUIDs", " ".join(header.instance for header in series.headers))
        node.SetAttribute(_KIND, json.dumps(dict(series.tags)))
        _place_in_study(node, series.first)
        nodes[modality] = node
    return nodes


def _place_in_study(node: Any, header: dicom.Header) -> None:
    """Under its patient and study in the subject hierarchy: no database knows the files, to tell whose it is."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    place = tree.GetSceneItemID()
    for level, uid, name in (
        ("Patient", header.patient, header.patient),
        ("Study", header.study, Origin(date=header.date).words or _("Study")),
    ):
        item = tree.GetItemByUID("DICOM", uid) if uid else 0  # 0 stands for none
        if uid and not item:
            item = tree.CreateHierarchyItem(place, name, level)
            tree.SetItemUID(item, "DICOM", uid)
            if level == "Study":
                tree.SetItemAttribute(item, STUDY_DATE, header.date)
        place = item or place
    tree.SetItemParent(tree.GetItemByDataNode(node) or tree.CreateItem(place, node), place)


def load_case(paths: Iterable[Path]) -> dict[str, Any]:
    """Load the images of a case, files or DICOM series; all of them or none.

    Raises:
        ModalityError, InputError: see :func:`case_files` and :func:`dicom_choice`; or a file cannot be read.
    """
    paths = list(paths)
    if choice := dicom_choice(paths):
        return load_series(choice)
    return _load_files(case_files(paths))


def load_found(case: CaseFiles) -> dict[str, Any]:
    """Load the images of a patient as they were found among others; all of them or none.

    Raises:
        ModalityError, InputError: a file or series cannot be read.
    """
    if case.channels:
        images = case.read().images
        return {
            name: slicer.util.addVolumeFromArray(image.array, image.affine, f"{case.id}_{name}")
            for name, image in images.items()
        }
    if case.files:
        return _load_files(case.files)
    if case.study and case.folder:
        return load_series(find_case(case.folder, study=case.study.uid).chosen)
    return load_case([case.folder] if case.folder else [])  # of DICOM series, which are told apart by their headers


def _load_files(files: Mapping[str, Path]) -> dict[str, Any]:
    nodes: dict[str, Any] = {}
    for modality, file in files.items():
        try:
            nodes[modality] = slicer.util.loadVolume(str(file), {"show": False})
        except RuntimeError as error:
            for node in nodes.values():
                remove_node(node)
            raise InputError(_("{file} cannot be read.").format(file=file), _("Copy it again.")) from error
    return nodes


def remove_node(node: Any) -> None:
    """A volume or segmentation with what was made for it alone."""
    for part in (node.GetDisplayNode(), node.GetStorageNode(), node):
        if part is not None:
            slicer.mrmlScene.RemoveNode(part)


def session_of(nodes: Iterable[Any]) -> Session:
    """The sequences of one session among volumes, with what was left out."""
    return choose_session(candidate(node) for node in nodes)


def candidate(node: Any) -> Candidate:
    """What a volume tells of itself: by its inversion time, its name, its DICOM series description or its timing."""
    tags = _tags_of(node)
    spacing, problem = node.GetSpacing(), unusable(node)
    return Candidate(
        source=node,
        name=node.GetName(),
        recognition=recognise(node.GetName(), tags),
        origin=origin_of(node, tags),
        spacing=spacing,
        reach_mm=0.0 if problem else spacing[2] * node.GetImageData().GetDimensions()[2],
        derived="DERIVED" in tags.get("ImageType", "").upper().split("\\"),
        unusable=problem,
        file=_file_of(node),
    )


def _file_of(node: Any) -> Path | None:
    """The file that a volume was loaded from; None where there is none."""
    storage = node.GetStorageNode()
    name = storage.GetFullNameFromFileName() if storage is not None else ""
    return Path(name) if name else None


def unusable(node: Any) -> str:
    """Why a volume cannot be segmented; empty if it can."""
    try:
        check_volume(node)
    except BrainTumorSegError as error:
        return error.sentence()
    return ""


def reason_of(found: Recognition) -> str:
    """What an image is known by, in words."""
    reasons = {
        "name": _("name"),
        "series description": _("series description “{text}”"),
        "protocol name": _("protocol name “{text}”"),
    }
    reason = reasons.get(found.by, "{text}").format(text=found.text)
    if found.agent:
        reason += ", " + _("contrast agent {agent}").format(agent=found.agent)
    return reason


def dicom_tags(node: Any, tags: tuple[str, ...]) -> dict[str, str]:
    """The tags of the first file that a volume was loaded from; none where it did not come from DICOM."""
    uids = (node.GetAttribute("DICOM.instanceUIDs") or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    if not uids or database is None:
        return {}
    values = {tag: str(database.instanceValue(uids[0], tag) or "").strip() for tag in tags}
    return {tag: value for tag, value in values.items() if value}


def _tags_of(node: Any) -> dict[str, str]:
    """Keyword → what DICOM tells of a volume: by the database, else by what was kept when it was loaded."""
    tags = {_TAGS[tag]: value for tag, value in dicom_tags(node, tuple(_TAGS)).items()}
    if tags:
        return tags
    try:
        kept = json_of(node.GetAttribute(_KIND) or "{}")
    except ValueError:  # somebody has changed it
        return {}
    return {name: str(value) for name, value in kept.items()} if isinstance(kept, dict) else {}


def origins_of(sources: Mapping[str, Any]) -> dict[str, Origin]:
    """Modality → whose image it is and of when; a file tells nothing."""
    return {
        modality: Origin() if isinstance(source, Path) else origin_of(source) for modality, source in sources.items()
    }


def origin_of(node: Any, tags: Mapping[str, str] | None = None) -> Origin:
    """Whose image a volume is and of when: by its DICOM tags, else by its place in the subject hierarchy."""
    tags = _tags_of(node) if tags is None else tags
    patient, study, date, title = _place_in_tree(node)
    day = next((tags[name] for name in ("AcquisitionDate", "SeriesDate", "StudyDate") if name in tags), date)
    time = tags.get("AcquisitionTime") or tags.get("SeriesTime", "")
    return Origin(
        tags.get("PatientID", patient),
        tags.get("StudyInstanceUID", study),
        day.replace("-", ""),
        tags.get("StudyDescription", title),
        time,
    )


def _place_in_tree(node: Any) -> tuple[str, str, str, str]:
    """Patient, study, its date and its title, as far as a volume is under them in the subject hierarchy."""
    tree = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = tree.GetItemByDataNode(node) if tree is not None else 0  # 0 stands for none
    patient, study = (tree.GetItemAncestorAtLevel(item, level) if item else 0 for level in ("Patient", "Study"))
    owner = tree.GetItemUID(patient, "DICOM") or tree.GetItemName(patient) if patient else ""
    if not study:
        return owner, "", "", ""
    date = tree.GetItemAttribute(study, STUDY_DATE) or ""
    return owner, tree.GetItemUID(study, "DICOM") or f"item {study}", date, tree.GetItemName(study)
