"""The four sequences and how file names spell them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from .errors import ModalityError

T1, T1CE, T2, FLAIR = "t1", "t1ce", "t2", "flair"
MODALITIES = (T1, T1CE, T2, FLAIR)
TITLES = {T1: "T1", T1CE: "T1ce", T2: "T2", FLAIR: "FLAIR"}

# The reference grid is that of the first of these that is given: the sharpest sequence comes first.
REFERENCE_ORDER = (T1CE, T1, FLAIR, T2)

# Channels of the Medical Segmentation Decathlon, Task01_BrainTumour.
DECATHLON_ORDER = (FLAIR, T1, T1CE, T2)

_SPELLINGS: dict[str, tuple[str, ...]] = {
    T1: ("t1", "t1n", "t1w", "t1pre"),
    T1CE: ("t1c", "t1ce", "t1gd", "t1post", "t1km", "t1wce"),
    T2: ("t2", "t2w"),
    FLAIR: ("flair", "t2f", "fla", "t2flair"),
}
# Words that make a T1 one with contrast agent: behind it, as in "T1 MPRAGE Gd", and before it, where short ones may be
# initials. BIDS says it by an entity, as in sub-01_ce-gadolinium_T1w.
_AGENT_BEFORE = {"contrast", "postcontrast", "gadolinium"}
_AGENT_BEHIND = _AGENT_BEFORE | {"ce", "gd", "gad", "km", "post", "postgd", "postgad"}
_AGENT_DENIED = {"pre", "no", "non", "none", "without"}
_BIDS_AGENT = re.compile(r"(?:^|_)ce-([a-z0-9]+)")
# A name that ends so is a label map or a mask, whatever its case is called.
_NO_SEQUENCE = {"seg", "segmentation", "label", "labels", "mask", "brainmask"}
IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")


def listed(names: Sequence[str]) -> str:
    """Names as in a sentence: "A", "A and B", "A, B and C"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def taken(modalities: Sequence[str], optional: Sequence[str]) -> str:
    """Which sequences a model takes, and which of them may be missing, in words."""
    names = ", ".join(TITLES[name] for name in modalities)
    if not optional:
        return f"{names}, all of them needed"
    if set(optional) == set(modalities):
        return f"{names}; any of them may be missing, not all"
    return f"{names}; {listed([TITLES[name] for name in optional])} may be missing"


def stem(path: Path | str) -> str:
    """File name without its (possibly double) image suffix."""
    name = Path(path).name
    for suffix in IMAGE_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return Path(name).stem


def is_image(path: Path | str) -> bool:
    """Whether the name ends like a volume this library reads."""
    return Path(path).name.lower().endswith(IMAGE_SUFFIXES)


def from_name(name: str) -> str | None:
    """The modality a file or node name speaks of, or None.

    The name is cut into words at anything but letters and digits; the last word (or pair of words) that
    spells a modality decides, because a name begins with the case and ends with the sequence. Names of
    segmentations and masks speak of none. A T1 is one with contrast agent (T1ce) where words around it say so.
    """
    bare = (stem(name) if is_image(name) else name).lower()
    words = [word for word in re.split(r"[^a-z0-9]+", bare) if word]
    if words and words[-1] in _NO_SEQUENCE:
        return None
    for end in range(len(words), 0, -1):
        for length in (2, 1):
            begin = max(end - length, 0)
            spelling = "".join(words[begin:end])
            for modality, spellings in _SPELLINGS.items():
                if spelling in spellings:
                    agent = modality == T1 and _tells_of_agent(bare, words, begin, end)
                    return T1CE if agent else modality
    return None


def _tells_of_agent(name: str, words: Sequence[str], begin: int, end: int) -> bool:
    """Whether a name, or the words around those from ``begin`` to ``end`` that spell T1, tell of contrast agent."""
    entity = _BIDS_AGENT.search(name)
    if entity and entity[1] not in _AGENT_DENIED:
        return True
    for i, word in enumerate(words):
        telling = _AGENT_BEFORE if i < begin else _AGENT_BEHIND if i >= end else ()
        if word in telling and (i == 0 or words[i - 1] not in _AGENT_DENIED):
            return True
    return False


def assign(paths: Iterable[Path]) -> dict[str, Path]:
    """Assign files to modalities by name; files that speak of none are left out.

    Raises:
        ModalityError: two files speak of the same modality.
    """
    found: dict[str, Path] = {}
    for path in sorted(paths):
        modality = from_name(path.name)
        if modality is None:
            continue
        if modality in found:
            raise ModalityError(
                f"Both {found[modality].name} and {path.name} look like {TITLES[modality]}.",
                f"Say which one to use: --{modality} FILE.",
            )
        found[modality] = path
    return {modality: found[modality] for modality in MODALITIES if modality in found}


def reference_of(given: Iterable[str]) -> str:
    """The modality whose grid carries the result."""
    names = set(given)
    return next(modality for modality in REFERENCE_ORDER if modality in names)
