"""The images of one patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .errors import InputError, ModalityError
from .modalities import MODALITIES, TITLES, listed, reference_of
from .volume import Volume, touching_border


@dataclass(frozen=True)
class Case:
    """Named sequences of one patient, each on its own grid.

    Attributes:
        id: name for outputs and reports.
        images: modality → volume of shape ``(Z, Y, X)``.
        reference: modality whose grid carries the result.
        warnings: sentences about how the images were read, that a reader of the result must see.
        stacked: the volumes are 2D images put upon each other, without a place in space.
    """

    id: str
    images: Mapping[str, Volume]
    reference: str = ""
    warnings: tuple[str, ...] = ()
    stacked: bool = False

    def __post_init__(self) -> None:
        unknown = set(self.images) - set(MODALITIES)
        if unknown or not self.images:
            what = f"Unknown modality {sorted(unknown)[0]!r}." if unknown else "No image was given."
            raise ModalityError(what, f"Give some of {', '.join(MODALITIES)}.")
        cleaned = {modality: without_outer_nan(volume) for modality, volume in self.images.items()}
        changed = [TITLES[name] for name, volume in cleaned.items() if volume is not self.images[name]]
        if changed:
            warning = f"Voxels of {listed(changed)} outside the brain are NaN; they were taken for background."
            object.__setattr__(self, "images", cleaned)
            object.__setattr__(self, "warnings", (*self.warnings, warning))
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


def without_outer_nan(volume: Volume) -> Volume:
    """The same with 0 for NaN where all NaN lie outside the brain, connected to the border; else the volume itself."""
    if volume.array.dtype.kind != "f" or volume.array.ndim != 3:
        return volume
    unknown = np.isnan(volume.array)
    if not unknown.any():
        return volume
    inner = unknown & ~touching_border(unknown)
    return volume if inner.any() else volume.with_array(np.where(unknown, 0, volume.array))


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
