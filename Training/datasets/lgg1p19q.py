"""LGG-1p19qDeletion (Erickson 2017, doi 10.7937/K9/TCIA.2017.dwehtz9v): T2 and post-contrast T1, NIfTI.

``<patient>_T1.nii.gz``, ``<patient>_T2.nii.gz`` and ``<patient>-Segmentation.nii.gz``, in a folder of the patient or
all together. Three axial slices of each tumour are annotated; of the others nothing is known, so their voxels are
labelled :data:`~.case.UNKNOWN_LABEL` and count in no loss and no measure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from BrainTumorSegLib.domain.case import Case, check_image
from BrainTumorSegLib.domain.errors import InputError, RequestError
from BrainTumorSegLib.domain.grid import Grid, check_overlap
from BrainTumorSegLib.domain.modalities import T1CE, T2, TITLES, stem
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import is_image, read_volume
from BrainTumorSegLib.preprocessing.resampling import onto

from .brats import misplaced
from .case import UNKNOWN_LABEL, WHOLE_TUMOUR, DataSet, noting

# What a name ends with → what the file holds; the T1 is the one after contrast.
_ROLES = {T1CE: r"[-_ ]T1(?:c|ce|gd|post)?", T2: r"[-_ ]T2w?", "labels": r"[-_ ]seg(?:mentation|m)?"}
_NAME = re.compile("|".join(f"(?P<{role}>{ending})$" for role, ending in _ROLES.items()), re.IGNORECASE)


@dataclass(frozen=True)
class SparseCase:
    """A patient of whom a few axial slices are annotated: paths only, and what is wrong with these, in words."""

    id: str
    images: tuple[tuple[str, Path], ...]
    segmentation: Path | None
    problems: tuple[str, ...] = ()

    @property
    def reading(self) -> str:
        """Annotated slices alone, and nothing known beyond the segmentation."""
        return "; ".join(["lgg1p19q, its own grid alone", *self.problems])

    def files(self) -> list[Path]:
        """Images and label map."""
        return [*(path for _, path in self.images), *([self.segmentation] if self.segmentation else [])]

    def load(self, modalities: tuple[str, ...] = ()) -> tuple[Case, Volume]:
        """Images; labels 0 and 2 on the annotated slices, unknown on all others and beyond the segmentation's grid.

        Raises:
            InputError: names all that is wrong with the case.
        """
        problems = [*self.problems]
        volumes: dict[str, Volume] = {}
        for modality, path in self.images:
            with noting(problems):
                volume = read_volume(path)
                check_image(volume, modality)
                volumes[modality] = volume
        stored = self._read_labels(problems)
        if not problems:
            problems = [f"{self.id} has no {TITLES[name]}" for name in modalities if name not in volumes]
        case = Case(self.id, volumes) if volumes else None
        if case is not None:
            for volume in volumes.values():
                with noting(problems):
                    check_overlap(volume, case.reference_volume)
            problems += self._misplaced(stored, volumes) if stored else []
        if problems or case is None or stored is None:
            raise InputError(f"{'; '.join(problems)}.", "Mend the files or take the patient out.")
        target = Grid.of(case.reference_volume)
        # Resampling writes 0 outside, which would be healthy: one more than each label moves, and unknown becomes 0.
        moved = onto(stored.array + np.uint8(1), Grid.of(stored), target, nearest=True)
        return case, case.reference_volume.with_array(moved - np.uint8(1))

    def _read_labels(self, problems: list[str]) -> Volume | None:
        """The label map with its unannotated slices marked; what is wrong with it is added to ``problems``."""
        with noting(problems):
            if self.segmentation is None:
                raise InputError(f"{self.id} has no segmentation.")
            stored = read_volume(self.segmentation)
            if len(np.unique(stored.array)) > 2 or stored.array.min() < 0:
                raise InputError(f"{self.segmentation} is no mask of 0 and one other value.")
            if not stored.array.any():
                raise InputError(f"{self.segmentation} has no annotated slice.")
            return stored.with_array(mark_unknown(stored))
        return None

    @staticmethod
    def _misplaced(stored: Volume, volumes: dict[str, Volume]) -> list[str]:
        """What is wrong where the label map lies on the grid of none of the images."""
        complaints = [misplaced(stored, volume) for volume in volumes.values()]
        return [] if any(not complaint for complaint in complaints) else complaints[0]


def mark_unknown(stored: Volume) -> np.ndarray:
    """A mask → labels 0 and 2 on the axial slices that hold any of it, :data:`~.case.UNKNOWN_LABEL` on the others."""
    codes = stored.orientation
    axis = 2 - next(index for index, code in enumerate(codes) if code in "SI")  # arrays are (Z, Y, X), codes (x, y, z)
    others = tuple(other for other in range(3) if other != axis)
    annotated = (stored.array != 0).any(axis=others, keepdims=True)
    labels = np.where(stored.array != 0, WHOLE_TUMOUR, 0)
    return np.where(annotated, labels, UNKNOWN_LABEL).astype(np.uint8)


def find_lgg1p19q(folder: Path) -> DataSet:
    """The patients of the set; nothing is read.

    Raises:
        RequestError: the folder holds none.
    """
    found: dict[str, dict[str, Path]] = {}
    twice: dict[str, list[str]] = {}
    for patient, role, path in _files(folder):
        other = found.setdefault(patient, {}).setdefault(role, path)
        if other != path:
            twice.setdefault(patient, []).append(f"patient {patient} is there twice: {other} and {path}")
    if not found:
        raise RequestError(f"{folder} holds no patient.", "It must hold <patient>_T1, _T2 and -Segmentation .nii.gz.")
    cases = {
        patient: SparseCase(
            patient,
            tuple((name, roles[name]) for name in (T1CE, T2) if name in roles),
            roles.get("labels"),
            tuple(twice.get(patient, ())),
        )
        for patient, roles in sorted(found.items())
    }
    return DataSet(cases)


def _files(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Patient, role and path of each file."""
    for path in sorted(folder.rglob("[!.]*")):
        name = stem(path)
        match = _NAME.search(name) if is_image(path) and path.is_file() else None
        if match:
            yield name[: match.start()], str(match.lastgroup), path
