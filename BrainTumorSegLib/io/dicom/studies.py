"""Which folders below a root hold a patient's DICOM series: one a study."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from itertools import islice
from pathlib import Path

from ...domain.errors import RequestError
from ..tree import folders_below
from .headers import read_header
from .series import is_dicom_file

# Files of a folder that are looked at for a first DICOM file: each may have one of another kind beside it, named first.
_LOOKED_AT = 1000


def study_folders(root: Path, passed_over: Collection[Path] = ()) -> dict[Path, str]:
    """Folder → why its series cannot be told from another study's; empty where they can.

    A study's folder is the highest one below the root that holds no other's series. Of each folder of files the first
    one's header counts.

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
    for study, folders in places.items():
        shared = Path(os.path.commonpath(folders))
        if len(holders[shared]) > 1:
            found[shared] = "its folders of series belong to several studies; give each study a folder of its own"
            continue
        while shared not in (root, root / shared.name) and holders[shared.parent] == {study}:
            shared = shared.parent
        found[shared] = ""
    inside = [folder for folder in damaged if any(folder.is_relative_to(other) for other in found)]
    return dict(sorted((found | {f: why for f, why in damaged.items() if f not in inside}).items()))


def _first_files(root: Path, passed_over: Collection[Path]) -> Iterator[tuple[Path, Path]]:
    """Folders with DICOM files, and the first of each one's."""
    for folder, files in folders_below(root, passed_over):
        file = next(filter(is_dicom_file, islice(files, _LOOKED_AT)), None)
        if file is not None:
            yield folder, file
