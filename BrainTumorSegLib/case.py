"""The images of one patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .errors import InputError, ModalityError
from .modalities import DECATHLON_ORDER, MODALITIES, TITLES, assign, is_image, reference_of, stem
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
        files = {modality: Path(path) for modality, path in files.items()}
        seen: dict[Path, str] = {}
        for modality, path in files.items():
            other = seen.setdefault(path.resolve(), modality)
            if other != modality:
                raise ModalityError(f"{path} was given as {TITLES[other]} and as {TITLES[modality]}.", "Give each file once.")
        images = {modality: read_volume(path) for modality, path in files.items()}
        return cls(case_id or _common_name([path for path in files.values()]), images, reference)

    @classmethod
    def from_path(cls, path: Path | str) -> Case:
        """Read a case folder (files recognised by name) or a Decathlon file with four channels.

        Raises:
            InputError: the path does not exist or holds no image.
            ModalityError: two files speak of one modality, or none is recognised.
        """
        path = Path(path)
        if path.is_dir():
            return cls.from_files(find_images(path), case_id=path.name)
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


def find_images(folder: Path) -> dict[str, Path]:
    """Modality → file for the images of a case folder, by name."""
    images = [path for path in sorted(folder.iterdir()) if path.is_file() and is_image(path)]
    found = assign(images)
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
    if volume.array.dtype.kind == "f" and not np.isfinite(volume.array).all():
        raise InputError(f"{title} ({volume.source}) holds NaN or infinite voxels.", "Replace them (say, by 0) and try again.")
    if not volume.array.any():
        raise InputError(f"{title} ({volume.source}) is zero everywhere.", "Export it again; leave it out if there is none.")


def _common_name(paths: list[Path]) -> str:
    """Case name of files such as ``P1_t1.nii.gz`` and ``P1_flair.nii.gz``: what their names share."""
    names = [stem(path) for path in paths]
    shared = names[0]
    for name in names[1:]:
        while not name.startswith(shared):
            shared = shared[:-1]
    shared = shared.rstrip("_-. ") if len(names) > 1 else shared
    return shared if len(shared) > 2 else paths[0].resolve().parent.name or "case"
