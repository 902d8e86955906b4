"""Regions, tissue classes, and the label conventions of the BraTS years and the Decathlon.

Inside this library voxel labels are always those of BraTS 2023: 0 background, 1 necrotic and
non-enhancing core (NCR), 2 peritumoral oedema and invaded tissue (ED), 3 enhancing tumour (ET). Models that tell other
tissues have labels of their own, from 5 on: 4 is enhancing tumour in files up to 2021.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import InputError, RequestError

BACKGROUND, NCR, ED, ET = 0, 1, 2, 3
OWN_FIRST, OWN_LAST = 5, 255
# Colours of what has none of its own, in turn; none is that of a region or tissue here.
_OWN_COLOURS = ((214, 120, 60), (60, 150, 140), (190, 90, 150), (120, 140, 60), (90, 110, 190), (160, 120, 100))

# Some tools store labels as floats, scaled and back; so far from a whole number one is still meant.
WHOLE_NUMBER_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Code:
    """A coded concept of DICOM: scheme, value, meaning; of context group CID 7168 where it has one that fits."""

    scheme: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Region:
    """A union of voxel labels: a region as BraTS evaluates them (Baid 2021), or a tissue class.

    Attributes:
        name: short name, such as ``ET``.
        title: name for people.
        labels: voxel labels of this library that make it up.
        colour: red, green, blue, 0 to 255.
        code: what it is in DICOM.
        opacity: of its surface in 3D, 0 to 1; outer ones let the inner ones shine through.
    """

    name: str
    title: str
    labels: frozenset[int]
    colour: tuple[int, int, int]
    code: Code
    opacity: float = 1.0


_ENHANCING = Code("NCIt", "C113842", "Enhancing Lesion")
_NECROSIS = Code("SCT", "6574001", "Necrosis")
_OEDEMA = Code("SCT", "79654002", "Edema")
_NEOPLASM = Code("SCT", "108369006", "Neoplasm")  # the unions have no code of their own

REGIONS: dict[str, Region] = {
    region.name: region
    for region in (
        Region("ET", "Enhancing tumour", frozenset({ET}), (230, 60, 60), _ENHANCING),
        Region("TC", "Tumour core", frozenset({ET, NCR}), (240, 200, 60), _NEOPLASM, 0.5),
        Region("WT", "Whole tumour", frozenset({ET, NCR, ED}), (70, 170, 90), _NEOPLASM, 0.3),
    )
}
# What one voxel can be; enhancing tumour is a region as well.
TISSUES: dict[str, Region] = {
    tissue.name: tissue
    for tissue in (
        Region("NCR", "Necrotic and non-enhancing core", frozenset({NCR}), (140, 90, 200), _NECROSIS, 0.6),
        Region("ED", "Peritumoral oedema and invaded tissue", frozenset({ED}), (90, 180, 220), _OEDEMA, 0.3),
        REGIONS["ET"],
    )
}


def own_region(name: str, labels: Collection[int], number: int, colour: Sequence[int] = ()) -> Region:
    """A region of a model's own, with a code of this program's own scheme.

    Args:
        name: as the model has it, also the title.
        labels: from :data:`OWN_FIRST` on.
        number: which of the model's own it is, for a colour where it has none.
        colour: red, green, blue.
    """
    red, green, blue = colour or _OWN_COLOURS[number % len(_OWN_COLOURS)]
    value = "".join(c if c.isalnum() and c.isascii() else "-" for c in name.upper())[:16]
    return Region(name, name, frozenset(labels), (red, green, blue), Code("99BRAINTUMORSEG", value, name[:64]), 0.7)


# A tissue class is what two neighbouring regions differ by: only who knows both can tell it.
_TELLING_REGIONS = {"NCR": {"ET", "TC"}, "ED": {"TC", "WT"}, "ET": {"ET"}}


def tissues_of(regions: Collection[str]) -> dict[str, Region]:
    """The tissue classes that a model or a label map tells apart which knows these regions."""
    return {name: tissue for name, tissue in TISSUES.items() if _TELLING_REGIONS[name] <= set(regions)}


def label_names(regions: Collection[str] = tuple(REGIONS)) -> dict[int, str]:
    """Voxel label → what it stands for in a label map that was composed of these regions.

    A label stands for the outer region as a whole where the inner one is not known: 2 for WT where WT is all.
    """
    tellable = tissues_of(regions)
    names = {BACKGROUND: "background"}
    for label, tissue, region in ((NCR, "NCR", "TC"), (ED, "ED", "WT"), (ET, "ET", "ET")):
        if tissue in tellable or region in regions:
            names[label] = tissue if tissue in tellable else region
    return names


@dataclass(frozen=True)
class Convention:
    """How files spell voxel labels.

    Attributes:
        name: key in :data:`CONVENTIONS`.
        title: for people, with the meaning of the values.
        values: voxel value in the file → voxel label here.
        regions: those that it can tell.
    """

    name: str
    title: str
    values: Mapping[int, int]
    regions: tuple[str, ...] = tuple(REGIONS)

    def fits(self, found: Collection[int]) -> bool:
        """Whether a label map that holds these values can follow it."""
        return set(found) <= set(self.values) and not {1, 255} <= set(found)


CONVENTIONS: dict[str, Convention] = {
    convention.name: convention
    for convention in (
        Convention("brats2023", "BraTS 2023 (1 NCR, 2 ED, 3 ET)", {0: 0, 1: NCR, 2: ED, 3: ET}),
        Convention("brats2021", "BraTS up to 2021 (1 NCR, 2 ED, 4 ET)", {0: 0, 1: NCR, 2: ED, 4: ET}),
        Convention(
            "brats2024",
            "BraTS 2024, after treatment (1 NETC, 2 SNFH, 3 ET, 4 resection cavity, which is in no region)",
            {0: 0, 1: NCR, 2: ED, 3: ET, 4: 0},
        ),
        Convention("decathlon", "Medical Segmentation Decathlon (1 ED, 2 NCR, 3 ET)", {0: 0, 1: ED, 2: NCR, 3: ET}),
        Convention("whole", "whole tumour alone (1 or 255)", {0: 0, 1: ED, 255: ED}, ("WT",)),
    )
}
# Of the values that fit no convention, a message shows this many; with more of them the file is an image.
_SHOWN = 8
WRITABLE = ("brats2023", "brats2021")

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


def from_masks(masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Label map (uint8) from masks of regions, tissue classes or both; classes decide where both say something.

    Segments are drawn by hand and need not lie inside each other: a region contains the inner ones.
    """
    regions = {name: mask for name, mask in masks.items() if name in REGIONS}
    labels = from_regions(regions) if regions else np.zeros(next(iter(masks.values())).shape, np.uint8)
    for name in ("ED", "NCR", "ET"):
        if name in masks:
            labels[masks[name]] = min(TISSUES[name].labels)
    return labels


def found_values(values: np.ndarray, source: str = "the label map") -> frozenset[int]:
    """The distinct values of a label map as stored; floats within 1e-3 of whole numbers are these.

    Raises:
        InputError: it holds something else.
    """
    present = np.unique(values)
    if not np.all(np.isfinite(present)) or np.any(np.abs(present - np.round(present)) > WHOLE_NUMBER_TOLERANCE):
        raise InputError(f"{source} holds values that are not whole numbers.", "Give a label map, not an image.")
    return frozenset(int(value) for value in np.round(present))


def decide_convention(
    found: Mapping[str, Collection[int]],
    asked: str = "auto",
    *,
    reference: bool = False,
    option: str = "the label convention",
) -> str:
    """The one convention that all label maps of a folder, or of a training set, follow.

    ``auto`` takes {0, 1, 2, 3} for BraTS 2023 and {0, 1, 2, 4} for BraTS up to 2021, over all files together: one that
    holds 0, 1 and 2 alone follows the others. Files whose values fit no convention at all do not decide for the rest;
    reading them fails.

    Args:
        found: file, or another name for messages → values it holds, as from :func:`found_values`.
        asked: a name of :data:`CONVENTIONS`, which is the answer, or ``auto``.
        reference: these are references: what can be read in two ways is refused. Predictions of 0 and 1 alone are
            read as BraTS 2023.
        option: where the user names the convention, for messages.

    Raises:
        RequestError: there is no such convention.
        InputError: the values fit more than one, or none; the remedy has the names to choose from.
    """
    if asked != "auto":
        if asked not in CONVENTIONS:
            raise RequestError(f"Unknown label convention {asked!r}.", f"Known: {', '.join(CONVENTIONS)}.")
        return asked
    if not found:
        return "brats2023"
    known = {source: values for source, values in found.items() if _fitting(values)}
    union = frozenset().union(*(known or found).values())
    if union <= {0, 1, 2, 3}:
        if reference and 1 in union and union <= {0, 1}:
            raise _refusal(known, (1,), "the whole tumour, or its core alone", ("whole", "brats2023"), option)
        return "brats2023"
    if union <= {0, 1, 2, 4}:
        return "brats2021"
    if union <= {0, 1, 2, 3, 4}:
        if any({3, 4} <= set(values) for values in known.values()):
            raise _refusal(known, (3, 4), "4 beside 3 is a resection cavity in BraTS 2024", ("brats2024",), option)
        raise _refusal(known, (3, 4), "they can be read in two ways", ("brats2024", "brats2021", "brats2023"), option)
    if union <= {0, 1, 255}:
        raise _refusal(known, (255,), "a mask of the whole tumour, it seems", ("whole",), option)
    others = tuple(sorted(union - {0, 1, 2}))
    names = tuple(CONVENTIONS) if len(union) <= _SHOWN else ()
    raise _refusal(known or found, others, "no label convention that is known here", names, option)


def _fitting(found: Collection[int]) -> list[str]:
    return [name for name, convention in CONVENTIONS.items() if convention.fits(found)]


def _refusal(
    found: Mapping[str, Collection[int]], telling: Sequence[int], why: str, names: Sequence[str], option: str
) -> InputError:
    """The error for values that decide nothing: names a file for each of the first telling values."""
    examples: dict[str, None] = {}
    for value in telling[:2]:
        source = next((source for source, values in found.items() if value in values), None)
        if source is not None:
            values = [str(value) for value in sorted(found[source])]
            more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
            examples[f"{source} holds labels [{', '.join(values[:_SHOWN])}]{more}"] = None
    remedy = f"Name {option}: {' or '.join(names)}." if names else "Give label maps of tumours, not images."
    return InputError(f"{'; '.join(examples)}: {why}.", remedy)


def read_labels(
    values: np.ndarray, convention: str = "auto", source: str = "the label map", own: Collection[int] = ()
) -> np.ndarray:
    """Translate voxel values of a file to the labels of this library.

    Args:
        values: label map as stored; floats within 1e-3 of whole numbers are accepted.
        convention: a name of :data:`CONVENTIONS`, or ``auto``: BraTS 2023 or up to 2021, by this file alone. Where
            several files belong together, let :func:`decide_convention` choose for all.
        source: named in the error message.
        own: labels of a model's own, which stay as they are.

    Returns:
        uint8 of the same shape.

    Raises:
        InputError: a value is not part of the convention, or 3 and 4 occur together.
    """
    found = found_values(values, source).difference(own)
    chosen = CONVENTIONS[decide_convention({source: found}, convention)]
    if not chosen.fits(found):
        unknown = sorted(found - set(chosen.values)) or [255]
        raise InputError(
            f"{source} holds label {unknown[0]}, which the convention {chosen.name} does not have.",
            f"Name another convention: {', '.join(_fitting(found) or CONVENTIONS)}.",
        )
    table = np.zeros(256, dtype=np.uint8)
    for value, label in chosen.values.items():
        table[value] = label
    table[list(own)] = list(own)
    return table[(np.round(values) if values.dtype.kind == "f" else values).astype(np.uint8)]


def write_labels(labels: np.ndarray, convention: str = "brats2023") -> np.ndarray:
    """Translate labels of this library (uint8) to the values of a file."""
    if convention not in WRITABLE:
        raise RequestError(f"Cannot write label convention {convention!r}.", f"Choose {' or '.join(WRITABLE)}.")
    table = np.arange(256, dtype=np.uint8)  # a model's own labels stay
    for value, label in CONVENTIONS[convention].values.items():
        table[label] = value
    return table[labels]
