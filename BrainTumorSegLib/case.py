"""The images of one patient."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import InputError, ModalityError
from .modalities import DECATHLON_ORDER, MODALITIES, TITLES, assign, from_name, is_image, reference_of, stem
from .volume import Volume, read_volume


@dataclass(frozen=True)
class Case:
    """Named sequences of one patient, each on its own grid.

    Attributes:
        id: name for outputs and reports.
        images: modality → volume of shape ``(Z, Y, X)``.
        reference: modality whose grid carries the result.
    """

    id: str
    images: Mapping[str, Volume]
    reference: str = ""

    def __post_init__(self) -> None:
        unknown = set(self.images) - set(MODALITIES)
        if unknown or not self.images:
            what = f"Unknown modality {sorted(unknown)[0]!r}." if unknown else "No image was given."
            raise ModalityError(what, f"Give some of {', '.join(MODALITIES)}.")
        for modality, volume in self.images.items():
            check_image(volume, modality)
        if not self.reference:
            object.__setattr__(self, "reference", reference_of(self.images))
        elif self.reference not in self.images:
            raise ModalityError(f"The reference {self.reference} is not among the images.", "Choose one that is given.")

    @property
    def modalities(self) -> tuple[str, ...]:
        """The given modalities in canonical order."""
        return tuple(modality for modality in MODALITIES if modality in self.images)

    @property
    def reference_volume(self) -> Volume:
        """The volume on whose grid the result lies."""
        return self.images[self.reference]

    @classmethod
    def from_files(cls, files: Mapping[str, Path | str], case_id: str = "", reference: str = "") -> Case:
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
        return cls(case_id or _common_name(list(paths.values())), images, reference)

    @classmethod
    def from_path(cls, path: Path | str, files: Mapping[str, Path] | None = None) -> Case:
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
            return cls.from_files(find_images(path, files), case_id=path.resolve().name)
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
        return cls(stem(path), images)


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


def check_image(volume: Volume, modality: str) -> None:
    """Refuse what no network can use: not 3D, not finite, empty.

    Raises:
        InputError: with the file named.
    """
    title = TITLES.get(modality, modality)
    if volume.array.ndim != 3 or 0 in volume.array.shape:
        raise InputError(f"{title} ({volume.source}) is not a 3D image.", "Give one 3D file a sequence.")
    with np.errstate(over="ignore"):  # networks compute in float32: what it cannot hold is infinite too
        finite = volume.array.dtype.kind != "f" or np.isfinite(volume.array.astype(np.float32, copy=False)).all()
    if not finite:
        raise InputError(
            f"{title} ({volume.source}) holds NaN or infinite voxels.", "Replace them (say, by 0) and try again."
        )
    inside = volume.array[volume.array != 0]
    if not inside.size:
        raise InputError(
            f"{title} ({volume.source}) is zero everywhere.", "Export it again; leave it out if there is none."
        )
    if inside.min() == inside.max():
        raise InputError(
            f"{title} ({volume.source}) has the same value wherever it is not 0: that is a mask, not an image.",
            "Give the image; leave it out if there is none.",
        )


def _common_name(paths: list[Path]) -> str:
    """Case name of files such as ``P1_t1.nii.gz`` and ``P1_flair.nii.gz``: what their names share."""
    names = [stem(path) for path in paths]
    shared = names[0]
    while not all(name.startswith(shared) for name in names):
        shared = shared[:-1]
    if len(names) > 1:  # whole words only: "P1_t" is what P1_t1 and P1_t2 share
        shared = re.sub(r"[^-_. ]*$", "", shared).rstrip("-_. ")
    return shared or paths[0].resolve().parent.name or "case"
