"""Regions, voxel labels and the label conventions of the BraTS years and the Decathlon.

Inside this library voxel labels are always those of BraTS 2023: 0 background, 1 necrotic and
non-enhancing core (NCR), 2 peritumoral oedema and invaded tissue (ED), 3 enhancing tumour (ET).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from .errors import InputError, LabelError, RequestError

BACKGROUND, NCR, ED, ET = 0, 1, 2, 3


@dataclass(frozen=True)
class Region:
    """A region of evaluation: the union of voxel labels, as BraTS defines them (Baid 2021).

    ``code`` is what DICOM calls it (CID 7168), ``scheme^value^meaning``; the unions have none of their own.
    """

    name: str
    title: str
    labels: frozenset[int]
    colour: tuple[int, int, int]
    code: str


_NEOPLASM = "SCT^108369006^Neoplasm"

# Tissue classes: what a voxel's one label says.

TISSUES: dict[str, Region] = {
    tissue.name: tissue
    for tissue in (
        Region("NCR", "Necrotic and non-enhancing core", frozenset({NCR}), (140, 90, 200), "SCT^6574001^Necrosis"),
        Region("ED", "Peritumoral oedema and invaded tissue", frozenset({ED}), (90, 180, 220), "SCT^79654002^Edema"),
        Region("ET", "Enhancing tumour", frozenset({ET}), (230, 60, 60), "NCIt^C113842^Enhancing Lesion"),
    )
}

REGIONS: dict[str, Region] = {
    region.name: region
    for region in (
        Region("ET", "Enhancing tumour", frozenset({ET}), (230, 60, 60), "NCIt^C113842^Enhancing Lesion"),
        Region("TC", "Tumour core", frozenset({ET, NCR}), (240, 200, 60), _NEOPLASM),
        Region("WT", "Whole tumour", frozenset({ET, NCR, ED}), (70, 170, 90), _NEOPLASM),
    )
}

# Voxel value in the file -> voxel label here.
CONVENTIONS: dict[str, dict[int, int]] = {
    "brats2023": {0: 0, 1: NCR, 2: ED, 3: ET},
    "brats2021": {0: 0, 1: NCR, 2: ED, 4: ET},
    "brats2024": {0: 0, 1: NCR, 2: ED, 3: ET, 4: 0},  # 4 is the cavity of a resection, outside all regions
    "decathlon": {0: 0, 1: ED, 2: NCR, 3: ET},
    "whole": {0: 0, 1: ED, 255: ED},  # WT alone; a voxel of it that is no core is ED here
}
WRITABLE = ("brats2023", "brats2021")

# Programs that resample or smooth leave labels that differ from whole numbers by rounding.
_WHOLE = 1e-3

# Composed from the outside in: a voxel of an inner region overwrites the outer one. A voxel of TC that
# is not ET is NCR; one of WT that is not TC is ED. A model that knows only WT thus writes label 2.
_LABEL_OF_REGION = (("WT", ED), ("TC", NCR), ("ET", ET))


def to_regions(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Boolean masks of ET, TC and WT from a label map in the convention of this library."""
    return {name: np.isin(labels, list(region.labels)) for name, region in REGIONS.items()}


def from_regions(regions: Mapping[str, np.ndarray]) -> np.ndarray:
    """Label map (uint8) from region masks; each region is taken to contain the inner ones."""
    if not regions or not set(regions) <= set(REGIONS):
        raise RequestError(f"Regions must be some of {', '.join(REGIONS)}, got {sorted(regions)}.")
    labels = np.zeros(next(iter(regions.values())).shape, dtype=np.uint8)
    for name, label in _LABEL_OF_REGION:
        if name in regions:
            labels[np.asarray(regions[name], dtype=bool)] = label
    return labels


def label_values(values: np.ndarray, source: str = "the label map") -> tuple[np.ndarray, frozenset[int]]:
    """Voxel values of a file as whole numbers, and which of them occur; floats count to within 1e-3.

    Raises:
        InputError: a value is no whole number.
    """
    whole = values.astype(np.uint8) if values.dtype == bool else values
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            whole = np.rint(values)
            sound = np.isfinite(values).all() and np.abs(values - whole).max(initial=0) <= _WHOLE
        if not sound or np.abs(whole).max(initial=0) > np.iinfo(np.int64).max / 2:
            raise InputError(f"{source} holds values that are not whole numbers.", "Give a label map, not an image.")
        whole = whole.astype(np.int64)
    return whole, frozenset(int(value) for value in np.unique(whole))


def read_labels(values: np.ndarray, convention: str = "auto", source: str = "the label map") -> np.ndarray:
    """Translate voxel values of a file to the labels of this library.

    Args:
        values: label map as stored; floats are accepted when they are whole numbers.
        convention: ``auto`` (BraTS up to 2021 or 2023) or one of :data:`CONVENTIONS`.
        source: named in the error message.

    Raises:
        LabelError: a value is not part of the convention, or 3 and 4 occur together.
    """
    whole, found = label_values(values, source)
    mapping = CONVENTIONS[decide_convention([found], convention, source)]
    unknown = sorted(found - set(mapping))
    if unknown:
        raise LabelError(
            f"{source} holds label {unknown[0]}, which the convention {convention} does not have.",
            f"Name another convention: {', '.join(CONVENTIONS)}.",
        )
    table = np.zeros(max(mapping) + 1, dtype=np.uint8)
    for value, label in mapping.items():
        table[value] = label
    return table[whole]


def decide_convention(found: Iterable[frozenset[int]], asked: str, source: str, *, strict: bool = False) -> str:
    """The one convention of all label maps of a folder.

    Args:
        found: values that occur in each of them.
        asked: a name, or ``auto`` for BraTS up to 2021 or 2023, whichever all of them fit.
        source: what they are, for the message.
        strict: refuse also what is mostly something else: 1 alone is rather a mask of the whole tumour than a core.

    Raises:
        RequestError: the name is not known.
        LabelError: they fit neither, or can be read in two ways.
    """
    if asked != "auto":
        if asked not in CONVENTIONS:
            raise RequestError(f"Unknown label convention {asked!r}.", f"Known: {', '.join(CONVENTIONS)}.")
        return asked
    values = frozenset().union(*found)
    remedy = f"Name its label convention: {', '.join(CONVENTIONS)}."
    if strict and values - {0} in ({1}, {255}):
        raise LabelError(
            f"{source} holds label {max(values)} alone: that may be the whole tumour, or its necrotic core.", remedy
        )
    if values <= {0, 1, 2, 3}:
        return "brats2023"
    if values <= {0, 1, 2, 4}:
        return "brats2021"
    raise LabelError(
        f"{source} holds labels {sorted(values)}, which fit neither BraTS 2021 (0, 1, 2, 4) nor BraTS 2023 (0 to 3).",
        remedy,
    )


def write_labels(labels: np.ndarray, convention: str = "brats2023") -> np.ndarray:
    """Translate labels of this library (uint8) to the values of a file."""
    if convention not in WRITABLE:
        raise RequestError(f"Cannot write label convention {convention!r}.", f"Choose {' or '.join(WRITABLE)}.")
    table = np.zeros(4, dtype=np.uint8)
    for value, label in CONVENTIONS[convention].items():
        table[label] = value
    return table[labels]
