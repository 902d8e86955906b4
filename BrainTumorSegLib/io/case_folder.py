"""The files of a patient: which are there, and which sequence each is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..domain.case import Case
from ..domain.errors import InputError, ModalityError
from ..domain.modalities import DECATHLON_ORDER, TITLES, assign, from_name, is_image, stem
from ..domain.volume import Volume
from .registry import read_volume


def case_from_files(files: Mapping[str, Path | str], case_id: str = "", reference: str = "") -> Case:
    """Read one file a modality."""
    paths = {modality: Path(path) for modality, path in files.items()}
    seen: dict[Path, str] = {}
    for modality, path in paths.items():
        other = seen.setdefault(path.resolve(), modality)
        if other != modality:
            raise ModalityError(
                f"{path} was given as {TITLES[other]} and as {TITLES[modality]}.", "Give each file once."
            )
    images = {modality: read_volume(path) for modality, path in paths.items()}
    return Case(case_id or _common_name(list(paths.values())), images, reference)


def read_case(path: Path | str, files: Mapping[str, Path] | None = None) -> Case:
    """Read a case folder (files recognised by name) or a Decathlon file with four channels.

    Args:
        path: folder or file.
        files: modality → file for a folder where names do not tell, or not all.

    Raises:
        InputError: the path does not exist or holds no image.
        ModalityError: two files speak of one modality, or none is recognised.
    """
    path = Path(path)
    if path.is_dir():
        return case_from_files(find_images(path, files), case_id=path.resolve().name)
    if files:
        raise ModalityError(f"{path} was given as a case beside single sequences.", "Give the one or the others.")
    volume = read_volume(path, channels=True)
    if volume.array.ndim != 4 or volume.array.shape[0] != len(DECATHLON_ORDER):
        raise InputError(
            f"{path} alone is no case: a Decathlon file has four channels (FLAIR, T1, T1ce, T2).",
            "Name each sequence: --t1 FILE --t1ce FILE --t2 FILE --flair FILE.",
        )
    images = {
        modality: Volume(volume.array[index], volume.affine, f"{path} channel {index}")
        for index, modality in enumerate(DECATHLON_ORDER)
    }
    return Case(stem(path), images)


def find_images(folder: Path, files: Mapping[str, Path] | None = None) -> dict[str, Path]:
    """Modality → file for the images of a case folder: those of ``files``, the others by name.

    Raises:
        ModalityError: two files speak of one modality, or none is recognised.
    """
    files = dict(files or {})
    images = [path for path in folder.iterdir() if path.is_file() and is_image(path) and path.name[0] != "."]
    found = assign(path for path in images if from_name(path.name) not in files) | files
    if not found:
        raise ModalityError(
            f"{folder} holds no file whose name speaks of T1, T1ce, T2 or FLAIR.",
            "Name each sequence: --t1 FILE --t1ce FILE --t2 FILE --flair FILE.",
        )
    return found


def _common_name(paths: list[Path]) -> str:
    """Case name of files such as ``P1_t1.nii.gz`` and ``P1_flair.nii.gz``: what their names share."""
    names = [stem(path) for path in paths]
    shared = names[0]
    while not all(name.startswith(shared) for name in names):
        shared = shared[:-1]
    if len(names) > 1:  # whole words only: "P1_t" is what P1_t1 and P1_t2 share
        shared = re.sub(r"[^-_. ]*$", "", shared).rstrip("-_. ")
    return shared or paths[0].resolve().parent.name or "case"
