"""BraTS in all its layouts, and the Decathlon's Task01_BrainTumour.

BraTS 2018 and 2019: ``HGG|LGG/<case>/<case>_t1.nii.gz``; 2020 and 2021 without the grade folder; 2023:
``<case>/<case>-t1n.nii.gz``. Decathlon: ``imagesTr/<case>.nii.gz`` with four channels, ``labelsTr/<case>.nii.gz``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from BrainTumorSegLib.domain.case import Case, check_image
from BrainTumorSegLib.domain.errors import InputError, RequestError
from BrainTumorSegLib.domain.grid import Grid, check_overlap
from BrainTumorSegLib.domain.labels import decide_convention, read_labels
from BrainTumorSegLib.domain.modalities import TITLES, case_of_segmentation, stem
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.evaluation.pairs import values_of
from BrainTumorSegLib.io.case_folder import find_case, read_case
from BrainTumorSegLib.io.registry import is_image, names_segments, read_label_map, read_volume

from .case import DataSet, noting


@dataclass(frozen=True)
class BratsCase:
    """A case with its expert segmentation: paths only.

    Attributes:
        id: name of the patient.
        images: folder of the sequences, or the Decathlon's one file.
        segmentation: label map.
        convention: of the label map, see :data:`BrainTumorSegLib.domain.labels.CONVENTIONS`.
    """

    id: str
    images: Path
    segmentation: Path
    convention: str = "auto"

    @property
    def reading(self) -> str:
        """The convention."""
        return self.convention

    def files(self) -> list[Path]:
        """Every file that the case is read from.

        Raises:
            ModalityError: the names in its folder are not understood.
        """
        found = find_case(self.images)
        return [*found.files.values(), *filter(None, [found.channels]), self.segmentation]

    def load(self, modalities: tuple[str, ...] = ()) -> tuple[Case, Volume]:
        """The images, and the label map on their grid in the convention of the library.

        Raises:
            InputError: names all that is wrong with the case: files that are damaged or missing, ``modalities``
                that are not there, labels outside the convention, a segmentation on another grid.
        """
        problems: list[str] = []
        images = self._read_images(problems)
        stored = labels = None
        with noting(problems):
            if names_segments(self.segmentation):
                stored = read_label_map(self.segmentation)
                labels = stored.array
            else:
                stored = read_volume(self.segmentation)
                labels = read_labels(stored.array, self.convention, str(self.segmentation))
        if not problems:
            problems = [f"{self.images} holds no {TITLES[name]}" for name in modalities if name not in images]
        case = Case(self.id, images) if images else None
        if case is not None:
            for volume in images.values():
                with noting(problems):
                    check_overlap(volume, case.reference_volume)
            problems += misplaced(stored, case.reference_volume) if stored else []
        if problems or case is None or labels is None:
            raise InputError(f"{'; '.join(problems)}.", "Mend the files or take the patient out.")
        return case, case.reference_volume.with_array(labels)

    def _read_images(self, problems: list[str]) -> dict[str, Volume]:
        """Usable images by modality; what is wrong with the others is added to ``problems``."""
        images: dict[str, Volume] = {}
        with noting(problems):
            if not self.images.is_dir():
                return dict(read_case(self.images).images)
            for modality, path in find_case(self.images).files.items():
                with noting(problems):
                    volume = read_volume(path)
                    check_image(volume, modality)
                    images[modality] = volume
        return images


def misplaced(segmentation: Volume, image: Volume) -> list[str]:
    """What keeps the voxels of a segmentation from being those of the image."""
    if segmentation.shape != image.shape:
        return [f"{segmentation.source} has shape {segmentation.shape}, its images {image.shape}"]
    # Headers of one patient differ by rounding; half a voxel off is another place.
    apart = np.linalg.norm(Grid.of(segmentation).corners() - Grid.of(image).corners(), axis=1).max()
    return [f"{segmentation.source} lies {apart:.1f} mm beside its images"] if apart > min(image.spacing) / 2 else []


def find_brats(folder: Path, labels: str = "auto", option: str = "data.labels in the recipe") -> DataSet:
    """The labelled cases of a folder, in any of the layouts; no image is read but the label maps, where ``labels`` is
    ``auto``: one convention holds for all of them. ``option`` is where the user names it, for messages.

    Raises:
        RequestError: the folder holds none, two of one name, or label maps of different conventions.
    """
    cases = find_cases(folder)
    if (folder / "imagesTr").is_dir():
        if labels not in ("auto", "decathlon"):
            raise RequestError(
                f"{folder} is of the Decathlon, whose labels are not {labels}.", f"Name {option}: decathlon."
            )
        return DataSet(cases)
    paths = [case.segmentation for case in cases.values()]
    chosen = labels
    if labels == "auto":
        with ThreadPoolExecutor() as pool:
            values = zip(map(str, paths), pool.map(_values, paths), strict=True)
            found = {path: seen for path, seen in values if seen}
        chosen = decide_convention(found, reference=True, option=option)
    return DataSet({name: dataclasses.replace(case, convention=chosen) for name, case in cases.items()}, labels=chosen)


def _values(path: Path) -> frozenset[int] | None:
    """Voxel values of a label map; None of one that cannot be read, as its case will say."""
    try:
        return values_of(path)
    except RequestError:
        return None


def find_cases(folder: Path) -> dict[str, BratsCase]:
    """Case id → labelled case, in any of the layouts. No image is opened.

    Raises:
        RequestError: the folder holds none, or two of one name.
    """
    decathlon = (folder / "imagesTr").is_dir()
    found: dict[str, BratsCase] = {}
    twice = []
    for case in _decathlon(folder) if decathlon else _brats(folder):
        if found.setdefault(case.id, case) is not case:
            twice.append(f"{found[case.id].segmentation} and {case.segmentation}")
    if twice:
        raise RequestError(f"{folder} holds patients twice: {'; '.join(twice)}.", "Rename or remove one of each.")
    if not found:
        raise RequestError(
            f"{folder} holds no labelled case.",
            "It must hold <case>/<case>_seg.nii.gz with its sequences, or imagesTr and labelsTr.",
        )
    return found


def _brats(folder: Path) -> Iterator[BratsCase]:
    for path in sorted(folder.rglob("[!.]*")):
        if is_image(path) and case_of_segmentation(path) is not None and path.is_file():
            yield BratsCase(path.parent.name, path.parent, path)


def _decathlon(folder: Path) -> Iterator[BratsCase]:
    for path in sorted((folder / "imagesTr").glob("[!.]*.nii*")):  # hidden: what macOS leaves in the archive
        label = folder / "labelsTr" / path.name
        if label.is_file():
            yield BratsCase(stem(path), path, label, "decathlon")
