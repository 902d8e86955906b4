"""Which folders below a root hold a patient's DICOM series: one a study; and which studies share a folder."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from ...domain.errors import InputError, RequestError
from ..tree import files_below, folders_below
from .choice import sequence_of
from .headers import Header, read_header
from .series import is_dicom_file

# Files of a folder that are looked at for a first DICOM file: each may have one of another kind beside it, named first.
_LOOKED_AT = 1000
# The UIDs of study and series, which lie side by side in a header, without the rest of it: there may be millions of
# files. What lies before them seldom takes so many bytes; files where it does are read in the usual way.
_UIDS = re.compile(rb"\x20\x00\x0d\x00.{4}([0-9.]+)\x00?\x20\x00\x0e\x00.{4}([0-9.]+)", re.DOTALL)
_HEAD = 1 << 14
_SEVERAL = "its folders of series belong to several studies of several patients; give each study a folder of its own"


@dataclass(frozen=True)
class Study:
    """One of the studies in a folder.

    Attributes:
        uid: its instance UID, or its date where it has none.
        date: as its files have it; empty where they have none.
        files: its own, and those of other studies of that day, which may lend it a sequence.
        label: tells it from the others: its date, or the end of its UID where it has none, ``_2`` behind a second one.
    """

    uid: str
    date: str
    files: tuple[Path, ...]
    label: str = ""


def study_folders(root: Path, passed_over: Collection[Path] = ()) -> dict[Path, str]:
    """Folder → why its series cannot be told from another study's; empty where they can.

    A study's folder is the highest one below the root that holds no other's series. Where folders of series of one
    patient's studies lie mixed, they have the folder that holds them in common, see :func:`studies_below`. Of each
    folder of files the first one's header counts.

    Args:
        root: folder with DICOM files at any depth, also behind links.
        passed_over: folders that are not looked into.
    """
    places: dict[tuple[str, str], list[Path]] = {}
    damaged: dict[Path, str] = {}
    for folder, file in _first_files(root, passed_over):
        try:
            header = read_header(file)
        except RequestError as error:  # damaged, or pydicom is not installed
            damaged[folder] = str(error)
        else:
            places.setdefault((header.patient, header.study), []).append(folder)
    holders: dict[Path, set[tuple[str, str]]] = {}
    for study, folders in places.items():
        for folder in folders:
            for outer in (folder, *folder.parents):
                holders.setdefault(outer, set()).add(study)
                if outer == root:
                    break
    found: dict[Path, str] = {}
    mixed: dict[Path, str] = {}
    for study, folders in places.items():
        shared = Path(os.path.commonpath(folders))
        if len(holders[shared]) > 1:
            mixed[shared] = _SEVERAL if len({patient for patient, _ in holders[shared]}) > 1 else ""
            continue
        while shared not in (root, root / shared.name) and holders[shared.parent] == {study}:
            shared = shared.parent
        found[shared] = ""
    # What lies in a folder of one patient's studies is a part of it.
    whole = [folder for folder, problem in mixed.items() if not problem]
    found = {f: why for f, why in (found | mixed).items() if not any(outer in f.parents for outer in whole)}
    inside = [folder for folder in damaged if any(folder.is_relative_to(other) for other in found)]
    return dict(sorted((found | {f: why for f, why in damaged.items() if f not in inside}).items()))


def _first_files(root: Path, passed_over: Collection[Path]) -> Iterator[tuple[Path, Path]]:
    """Folders with DICOM files, and the first of each one's."""
    for folder, files in folders_below(root, passed_over):
        file = next(filter(is_dicom_file, islice(files, _LOOKED_AT)), None)
        if file is not None:
            yield folder, file


def studies_below(folder: Path) -> list[Study]:
    """The studies of one patient in a folder that are a case each, by their dates; none where that is one, or none.

    Such a study holds a sequence. Of studies of one day only those are cases that lack no sequence that another of that
    day has, or the fullest one: one examination is often stored as several studies. A folder of several patients is
    not divided.

    Args:
        folder: with DICOM files at any depth.
    """
    series: dict[tuple[str, str], list[Path]] = {}
    for file in files_below(folder):
        if (uids := _uids(file)) and uids[0]:  # what has neither could not be named
            series.setdefault(uids, []).append(file)
    if len({study for study, _ in series}) < 2:
        return []
    images: dict[str, list[tuple[Header, str]]] = {}
    for (study, _), files in series.items():
        header = _first_header(files)
        if header and header.modality == "MR":
            images.setdefault(study, []).append((header, sequence_of(header, len(files))))
    if len({header.patient for group in images.values() for header, _ in group}) > 1:
        return []
    days: dict[str, dict[str, set[str]]] = {}  # day → study → its sequences
    for study, group in images.items():
        if held := {sequence for _, sequence in group if sequence}:
            days.setdefault(group[0][0].date or study, {})[study] = held
    found = []
    for studies in days.values():
        own = tuple(chain.from_iterable(files for (study, _), files in series.items() if study in studies))
        found += [Study(study, images[study][0][0].date, own) for study in _whole(studies)]
    order = {study: min(header.time for header, _ in group) for study, group in images.items()}
    found.sort(key=lambda each: (each.date, order[each.uid], each.uid))
    return _labelled(found) if len(found) > 1 else []


def _labelled(studies: Iterable[Study]) -> list[Study]:
    times: Counter[str] = Counter()
    found = []
    for study in studies:
        day = "".join(filter(str.isdecimal, study.date))[:8]
        label = day or study.uid.replace(".", "")[-8:]
        times[label] += 1
        found.append(replace(study, label=f"{label}_{times[label]}" if times[label] > 1 else label))
    return found


def _whole(studies: dict[str, set[str]]) -> list[str]:
    """Of the studies of a day those that lack nothing that another one has, or the fullest one."""
    every = set().union(*studies.values())
    whole = [study for study, sequences in studies.items() if sequences == every]
    return whole or [max(studies, key=lambda study: len(studies[study]))]


def _uids(file: Path) -> tuple[str, str] | None:
    """UIDs of a file's study, or its date where it has none, and series; None where it is no sound DICOM file."""
    with suppress(OSError, InputError):
        with file.open("rb") as stream:
            head = stream.read(_HEAD)
        if found := _UIDS.search(head):
            return found[1].decode(), found[2].decode()
        if is_dicom_file(file):
            header = read_header(file)
            return header.study or header.date, header.series
    return None


def _first_header(files: Iterable[Path]) -> Header | None:
    """Of the first file that is not damaged and has a place in space, or else of any that can be read."""
    header = None
    for file in files:
        with suppress(InputError):
            header = read_header(file)
            if header.frames:
                break
    return header
