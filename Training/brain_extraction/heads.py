"""Heads with brain masks, as they are found on disk, brought to what the network takes and kept there.

Three kinds of folder, the layout of each being that of the data as published:

``lgg``: the LGG set (Buda 2019) and masks beside it, ``brain_masks/<patient>_brain.nii.gz``, slices as at hand.
``heads``: whole heads ``<person>/<image>.nii.gz``, masks ``<person>/<image>_brain.nii.gz`` in a folder of masks.
``brats``: skull-stripped patients, around which heads are made (:mod:`.synthesis`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from BrainTumorSegLib.domain.grid import Grid
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import read_volume
from BrainTumorSegLib.preprocessing.brain_extraction.included import network_image
from BrainTumorSegLib.preprocessing.resampling import onto

# Of the LGG images, whose spacing is lost.
_LGG_IN_PLANE_MM = 0.94
LGG_CHANNELS = ("t1", "flair", "t1ce")
# Room for a skull around a brain that fills its grid, in voxels.
_ROOM = 14


@dataclass(frozen=True)
class Head:
    """One person's images on one grid (LPS, 2 mm), each 0 to 255.

    Attributes:
        person: whom it shows.
        images: uint8 ``(N, Z, Y, X)``.
        brain: uint8 ``(Z, Y, X)``, the share of each voxel that is brain, 255 for all of it.
        known: bool ``(Z, Y, X)``, where images and mask are real and not interpolated across slices that are missing.
        distance: of stripped brains, uint8 ``(Z, Y, X)``: mm from the brain, else empty.
    """

    person: str
    images: np.ndarray
    brain: np.ndarray
    known: np.ndarray
    distance: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.uint8))


@dataclass(frozen=True)
class LggStack:
    """A patient of the LGG set as published, and the brain as HD-BET found it in FLAIR.

    Attributes:
        numbers: of the slices at hand; of training patients some are missing.
        images: sequence → uint8 ``(N, Y, X)``; a T1 that repeats FLAIR is missing and left out.
        brain: bool ``(N, Y, X)``.
        affine: of the stack where no slice is missing; spacing as it is assumed.
    """

    patient: str
    numbers: list[int]
    images: dict[str, np.ndarray]
    brain: np.ndarray
    affine: np.ndarray


def keep(heads: Iterator[Head], folder: Path) -> None:
    """Write heads as files of one kind; a folder that is there is whole and stays."""
    if folder.is_dir():
        return
    part = folder.with_name(f".{folder.name}.part")
    part.mkdir(parents=True, exist_ok=True)
    for number, head in enumerate(heads):
        np.savez(part / f"{number:04d}.npz", **dataclasses.asdict(head))
    part.rename(folder)


def kept(folder: Path) -> list[Head]:
    """The heads of a folder."""
    found = []
    for file in sorted(folder.glob("*.npz")):
        with np.load(file, allow_pickle=False) as data:
            found.append(Head(**{name: data[name] for name in data.files} | {"person": str(data["person"])}))
    return found


def lgg_heads(folder: Path, patients: tuple[str, ...]) -> Iterator[Head]:
    """Patients of the LGG set: each channel is an image."""
    for patient in patients:
        stack = read_lgg(folder, patient)
        here = np.asarray(stack.numbers) - stack.numbers[0]
        size = int(here[-1]) + 1
        volumes = [Volume(_between(image, here, size), stack.affine) for image in stack.images.values()]
        prepared, grids = zip(*(network_image(volume) for volume in volumes), strict=True)
        own = Grid.of(volumes[0])
        signed = np.stack([_signed_distance(part) for part in stack.brain])
        brain = onto((_between(signed, here, size) > 0).astype(np.float32), own, grids[0])
        known = np.zeros(own.shape, dtype=np.float32)
        known[here[_among_others(here)]] = 1
        yield _head(patient, list(prepared), brain, onto(known, own, grids[0]) >= 0.5)


def whole_heads(folder: Path, masks: Path, people: tuple[str, ...]) -> Iterator[Head]:
    """Every image of these people that has a mask, by itself, since their sequences lie on grids of their own."""
    for file in sorted(file for person in people for file in (masks / person).glob("*_brain.nii.gz")):
        volume = read_volume(folder / file.parent.name / file.name.replace("_brain.nii.gz", ".nii.gz"))
        mask = read_volume(file)
        image, grid = network_image(volume)
        brain = onto((mask.array > 0).astype(np.float32), Grid.of(mask), grid)
        yield _head(file.parent.name, [image], brain, np.ones(brain.shape, dtype=bool))


def stripped_brains(folder: Path, patients: tuple[str, ...]) -> Iterator[Head]:
    """The four sequences of skull-stripped patients, with room around the brain."""
    for patient in patients:
        volumes = [read_volume(folder / patient / f"{patient}_{name}.nii.gz") for name in ("t1", "t1ce", "t2", "flair")]
        prepared, grids = zip(*(network_image(volume) for volume in volumes), strict=True)
        filled = np.any([volume.array > 0 for volume in volumes], axis=0)
        filled = ndimage.binary_fill_holes(ndimage.binary_closing(filled, iterations=2))
        brain = onto(filled.astype(np.float32), Grid.of(volumes[0]), grids[0])
        images = [np.pad(image, _ROOM) for image in prepared]
        brain = np.pad(brain, _ROOM)
        away = 2.0 * ndimage.distance_transform_edt(brain < 0.5)
        head = _head(patient, images, brain, np.ones(brain.shape, dtype=bool))
        yield dataclasses.replace(head, distance=np.minimum(away, 255).astype(np.uint8))


def _head(person: str, images: list[np.ndarray], brain: np.ndarray, known: np.ndarray) -> Head:
    stored = np.stack([np.round(255 * image).astype(np.uint8) for image in images])
    return Head(person, stored, np.round(255 * brain).astype(np.uint8), known)


def read_lgg(folder: Path, patient: str) -> LggStack:
    """A patient of the LGG set, and HD-BET's mask."""
    from PIL import Image

    files = {
        int(file.stem.rsplit("_", 1)[1]): file
        for file in (folder / "kaggle_3m" / patient).glob("*.tif")
        if not file.stem.endswith("_mask")
    }
    numbers = sorted(files)
    pixels = np.stack([np.asarray(Image.open(files[number])) for number in numbers])
    mask = read_volume(folder / "brain_masks" / f"{patient}_brain.nii.gz")
    affine = np.diag([-_LGG_IN_PLANE_MM, -_LGG_IN_PLANE_MM, mask.spacing[0], 1.0])
    distinct = [c for c in (0, 1, 2) if c == 1 or not np.array_equal(pixels[..., c], pixels[..., 1])]
    images = {LGG_CHANNELS[c]: pixels[..., c] for c in distinct}
    return LggStack(patient, numbers, images, mask.array > 0, affine)


def _among_others(here: np.ndarray) -> np.ndarray:
    """Which slices at hand have both neighbours, or lie at an end of the stack.

    The teacher saw the slices at hand without the gaps between them, and takes a neck for a brain in single ones.
    """
    gaps = np.diff(here, prepend=here[0] - 1, append=here[-1] + 1)
    return np.asarray((gaps[:-1] == 1) & (gaps[1:] == 1))


def _signed_distance(mask: np.ndarray) -> np.ndarray:
    """Pixels from the border of a mask, positive inside; where there is no border, far from it."""
    if mask.all() or not mask.any():
        return np.full(mask.shape, 50.0 if mask.all() else -50.0, dtype=np.float32)
    inside = ndimage.distance_transform_edt(mask) - ndimage.distance_transform_edt(~mask)
    return np.asarray(inside - np.sign(inside) / 2, dtype=np.float32)


def _between(slices: np.ndarray, here: np.ndarray, size: int) -> np.ndarray:
    """Slices at hand ``(N, Y, X)`` → a whole stack ``(size, Y, X)`` float32, those that are missing interpolated."""
    whole = np.empty((size, *slices.shape[1:]), dtype=np.float32)
    for index in range(size):
        after = int(np.searchsorted(here, index))
        if here[after] == index:
            whole[index] = slices[after]
            continue
        before = after - 1
        share = (index - here[before]) / (here[after] - here[before])
        whole[index] = (1 - share) * slices[before] + share * slices[after]
    return whole
