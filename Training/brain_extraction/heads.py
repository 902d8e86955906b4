"""Heads with brain masks, as they are found on disk, brought to what the network takes and kept there.

Three kinds of folder, the layout of each being that of the data as published:

``lgg``: the LGG set (Buda 2019), masks ``<patient>_brain.nii.gz`` in a folder of masks, slices that miss filled in.
``heads``: whole heads ``<person>/<image>.nii.gz``, masks ``<person>/<image>_brain.nii.gz`` in a folder of masks.
``brats``: skull-stripped patients, around which heads are made (:mod:`.synthesis`).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from BrainTumorSegLib.domain.grid import Grid
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import read_volume
from BrainTumorSegLib.preprocessing.brain_extraction.included import network_image
from BrainTumorSegLib.preprocessing.resampling import onto

from ..datasets.cache import stamps

# Of the LGG images, whose spacing is lost: in plane, and over all slices. Where that makes slices this thick, the
# stack shows a part of the head only.
_LGG_IN_PLANE_MM, _LGG_EXTENT_MM, _LGG_THICKEST_MM = 0.94, 145.0, 9.0
LGG_CHANNELS = ("t1", "flair", "t1ce")
_MASK = "_brain.nii.gz"
# Where slices miss over more than this, neither what is filled in there nor the mask beside it is to be trusted.
_LONGEST_GAP_MM = 7.0
# Room for a skull around a brain that fills its grid, in voxels.
_ROOM = 14


@dataclass(frozen=True)
class Head:
    """One person's images on one grid (LPS, 2 mm), each 0 to 255.

    Attributes:
        person: whom it shows.
        images: uint8 ``(N, Z, Y, X)``.
        brain: uint8 ``(Z, Y, X)``, the share of each voxel that is brain, 255 for all of it.
        known: bool ``(Z, Y, X)``, where images and mask are real: neither interpolated nor beside a long gap.
        distance: of stripped brains, uint8 ``(Z, Y, X)``: mm from the brain, else empty.
    """

    person: str
    images: np.ndarray
    brain: np.ndarray
    known: np.ndarray
    distance: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.uint8))


@dataclass(frozen=True)
class LggStack:
    """A patient of the LGG set as published.

    Attributes:
        here: which slices of the whole stack are at hand; of training patients some are missing.
        images: sequence → uint8 ``(N, Y, X)``; a T1 that repeats FLAIR is missing and left out.
        affine: of the whole stack; spacing as it is assumed.
    """

    patient: str
    here: np.ndarray
    images: dict[str, np.ndarray]
    affine: np.ndarray

    def volume(self, name: str) -> Volume:
        """The whole stack of a sequence, float32, slices that are missing interpolated."""
        slices, here = self.images[name], self.here
        whole = np.empty((int(here[-1]) + 1, *slices.shape[1:]), dtype=np.float32)
        for index in range(len(whole)):
            after = int(np.searchsorted(here, index))
            if here[after] == index:
                whole[index] = slices[after]
                continue
            before = after - 1
            share = (index - here[before]) / (here[after] - here[before])
            whole[index] = (1 - share) * slices[before] + share * slices[after]
        return Volume(whole, self.affine, f"{self.patient} {name}")

    def sound(self) -> np.ndarray:
        """Of the slices at hand, those that no long gap is beside.

        HD-BET sees three dimensions: where a gap is filled in, its mask may be off by centimetres, beside it, too.
        """
        gaps = np.diff(self.here, prepend=self.here[0] - 1, append=self.here[-1] + 1) - 1
        long = gaps * self.affine[2, 2] > _LONGEST_GAP_MM
        return np.asarray(self.here[~(long[:-1] | long[1:])])


def place(cache: Path, source: str, people: Sequence[str], masks: Sequence[Path] = ()) -> Path:
    """The folder of a source's heads: another one for other people or other masks."""
    text = json.dumps([sorted(people), stamps(masks)])
    return cache / f"{source}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


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


def lgg_masks(masks: Path, patients: Sequence[str]) -> list[Path]:
    """The masks of those patients of the LGG set who have one."""
    files = (masks / f"{patient}{_MASK}" for patient in patients)
    return [file for file in files if file.is_file()]


def lgg_heads(folder: Path, masks: Path, patients: Sequence[str]) -> Iterator[Head]:
    """Patients of the LGG set who have a mask: each channel is an image; what counts are sound slices."""
    for file in lgg_masks(masks, patients):
        patient = file.name.removesuffix(_MASK)
        stack, mask = read_lgg(folder, patient), read_volume(file)
        prepared, grids = zip(*(network_image(stack.volume(name)) for name in stack.images), strict=True)
        own = Grid.of(mask)
        brain = onto((mask.array > 0).astype(np.float32), own, grids[0])
        known = np.zeros(own.shape, dtype=np.float32)
        known[stack.sound()] = 1
        yield _head(patient, list(prepared), brain, onto(known, own, grids[0]) >= 0.5)


def head_masks(masks: Path, people: Sequence[str]) -> list[Path]:
    """The masks of whole heads of these people."""
    return sorted(file for person in people for file in (masks / person).glob(f"*{_MASK}"))


def whole_heads(folder: Path, masks: Path, people: Sequence[str]) -> Iterator[Head]:
    """Every image of these people that has a mask, by itself, since their sequences lie on grids of their own."""
    for file in head_masks(masks, people):
        volume = read_volume(folder / file.parent.name / file.name.replace(_MASK, ".nii.gz"))
        mask = read_volume(file)
        image, grid = network_image(volume)
        brain = onto((mask.array > 0).astype(np.float32), Grid.of(mask), grid)
        yield _head(file.parent.name, [image], brain, np.ones(brain.shape, dtype=bool))


def stripped_brains(folder: Path, patients: Sequence[str]) -> Iterator[Head]:
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


def lgg_slices(folder: Path, patient: str) -> list[Path]:
    """The files of a patient of the LGG set in the order of their numbers."""
    files = (folder / "kaggle_3m" / patient).glob("*.tif")
    return sorted((file for file in files if not file.stem.endswith("_mask")), key=_number)


def read_lgg(folder: Path, patient: str) -> LggStack:
    """A patient of the LGG set."""
    from PIL import Image

    files = lgg_slices(folder, patient)
    here = np.array([_number(file) - _number(files[0]) for file in files])
    pixels = np.stack([np.asarray(Image.open(file)) for file in files])
    spacing = _LGG_EXTENT_MM / (int(here[-1]) + 1)
    affine = np.diag([-_LGG_IN_PLANE_MM, -_LGG_IN_PLANE_MM, spacing, 1.0])
    distinct = [c for c in (0, 1, 2) if c == 1 or not np.array_equal(pixels[..., c], pixels[..., 1])]
    return LggStack(patient, here, {LGG_CHANNELS[c]: pixels[..., c] for c in distinct}, affine)


def is_whole(stack: LggStack) -> bool:
    """Whether a stack reaches over a whole head."""
    return bool(stack.affine[2, 2] <= _LGG_THICKEST_MM)


def _number(file: Path) -> int:
    return int(file.stem.rsplit("_", 1)[1])
