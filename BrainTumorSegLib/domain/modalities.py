"""The four sequences: titles, orders, and which of several files or series is which."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import ModalityError
from .sequence_names import (
    FLAIR,
    MODALITIES,
    T1,
    T1CE,
    T2,
    case_of_segmentation,
    case_of_sequence,
    denies_agent,
    from_name,
    gives_agent,
    is_segmentation,
    is_something_else,
    stem,
)
from .series_kinds import number, other_kind

__all__ = [
    "DECATHLON_ORDER",
    "FLAIR",
    "MODALITIES",
    "REFERENCE_ORDER",
    "T1",
    "T1CE",
    "T2",
    "TITLES",
    "Recognition",
    "alternatives",
    "assign",
    "beginnings",
    "by_case",
    "case_of_segmentation",
    "case_of_sequence",
    "from_name",
    "is_segmentation",
    "listed",
    "recognise",
    "reference_of",
    "stem",
    "taken",
]

TITLES = {T1: "T1", T1CE: "T1ce", T2: "T2", FLAIR: "FLAIR"}

# The reference grid is that of the first of these that is given: the sharpest sequence comes first.
REFERENCE_ORDER = (T1CE, T1, FLAIR, T2)

# Channels of the Medical Segmentation Decathlon, Task01_BrainTumour.
DECATHLON_ORDER = (FLAIR, T1, T1CE, T2)


def listed(names: Sequence[str]) -> str:
    """Names as in a sentence: "A", "A and B", "A, B and C"."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def alternatives(groups: Iterable[Sequence[str]]) -> list[str]:
    """Groups of sequences, of each of which one is enough, in words: "T1", "T2 or FLAIR"."""
    return [" or ".join(TITLES[name] for name in group) for group in groups]


def taken(modalities: Sequence[str], optional: Sequence[str]) -> str:
    """Which sequences a model takes, and which of them may be missing, in words."""
    names = ", ".join(TITLES[name] for name in modalities)
    if not optional:
        return f"{names}, all of them needed"
    if set(optional) == set(modalities):
        return f"{names}; any of them may be missing, not all"
    return f"{names}; {listed([TITLES[name] for name in optional])} may be missing"


def assign(paths: Iterable[Path]) -> dict[str, Path]:
    """Assign files to modalities by name; files that speak of none are left out.

    Raises:
        ModalityError: two files speak of the same modality.
    """
    found: dict[str, Path] = {}
    for path in sorted(paths):
        modality = from_name(stem(path))
        if modality is None:
            continue
        if modality in found:
            raise ModalityError(
                f"Both {found[modality].name} and {path.name} look like {TITLES[modality]}.",
                f"Say which one to use: --{modality} FILE.",
            )
        found[modality] = path
    return {modality: found[modality] for modality in MODALITIES if modality in found}


def beginnings(name: str) -> Iterator[str]:
    """What a name begins with, up to whole words, the shortest first: for ``P1_t1.nii`` nothing, ``P1``, ``P1_t1``."""
    return (name[:end] for end, letter in enumerate(name) if end == 0 or not letter.isalnum())


def by_case(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """Case → its sequences, where files of one folder are several patients'; empty where they are one's.

    They are several where a sequence is there twice and the names begin differently (``A_t1, A_flair, B_t1, B_flair``),
    with more than one sequence for some of them, or the same for all. ``P1_thick_t1ce`` beside ``P1_t1ce`` is P1's.
    """
    groups: dict[str, dict[Path, str]] = {}
    for path in sorted(paths):
        if modality := from_name(stem(path)):
            groups.setdefault(case_of_sequence(path), {})[path] = modality
    longer_ones: dict[str, list[str]] = {}
    for longer in groups:
        for name in beginnings(longer):
            if name in groups:
                longer_ones.setdefault(name, []).append(longer)
    for name in sorted(longer_ones, key=len):
        for longer in longer_ones[name]:
            if name in groups and longer in groups and min(len(groups[name]), len(groups[longer])) == 1:
                groups[name] |= groups.pop(longer)
    given = [modality for group in groups.values() for modality in group.values()]
    sequences = [set(group.values()) for group in groups.values()]
    alike = all(one == sequences[0] for one in sequences)
    several = len(groups) > 1 and "" not in groups and (alike or max(map(len, sequences)) > 1)
    return {name: list(groups[name]) for name in sorted(groups)} if several and len(set(given)) < len(given) else {}


def reference_of(given: Iterable[str]) -> str:
    """The modality whose grid carries the result."""
    names = set(given)
    return next(modality for modality in REFERENCE_ORDER if modality in names)


@dataclass(frozen=True)
class Recognition:
    """What a series seems to be.

    Attributes:
        modality: one of :data:`MODALITIES`.
        by: what it is known by: ``inversion time``, ``name``, ``series description``, ``protocol name`` or ``timing``.
        text: the name, description or times that say so.
        agent: the contrast agent, where that made a T1 a T1ce.
        rank: the higher, the more certain.
    """

    modality: str
    by: str
    text: str
    agent: str = ""
    rank: int = 0

    @property
    def reason(self) -> str:
        """What it is known by, in words."""
        by = {"inversion time": self.text, "timing": self.text}.get(self.by, self.by)
        return f"{by}, contrast agent {self.agent}" if self.agent else by


def recognise(name: str, tags: Mapping[str, str] | None = None) -> Recognition | None:
    """Which sequence a series is, by its name and its DICOM tags; None where they do not tell, or say something else.

    Args:
        name: of the file or node.
        tags: values by keyword of DICOM: ``SeriesDescription``, ``ContrastBolusAgent``, ``EchoTime``,
            ``RepetitionTime``, ``InversionTime`` (in ms), ``ProtocolName``, and those of :func:`.other_kind`; those
            that are not known are left out.
    """
    tags = tags or {}
    agent = tags.get("ContrastBolusAgent", "")
    agent = agent if gives_agent(agent) else ""
    description = tags.get("SeriesDescription", "")
    if is_something_else(name) or (from_name(name) is None and other_kind(tags)):
        return None  # echo and repetition time of SWI are those of a T1
    by_times = _from_times(tags, agent)
    if by_times == FLAIR:  # no name tells it better: some call their FLAIR a T2
        return Recognition(FLAIR, "inversion time", _times(tags), rank=4)
    protocol = tags.get("ProtocolName", "")
    for text, by, rank in ((name, "name", 3), (description, "series description", 2), (protocol, "protocol name", 1)):
        modality = from_name(text)
        if modality == FLAIR and by != "name" and by_times in (T1, T1CE):  # "T1 FLAIR": fluid is dark, as in every T1
            modality = T1
        if modality == T1 and agent and not denies_agent(text):
            return Recognition(T1CE, by, text, agent, rank)
        if modality is not None:
            return Recognition(modality, by, text, rank=rank)
    if by_times is None:
        return None
    return Recognition(by_times, "timing", _times(tags), agent if by_times == T1CE else "", 1)


def _from_times(tags: Mapping[str, str], agent: str) -> str | None:
    """Weighting from echo, repetition and inversion time, within what clinical protocols use."""
    echo, repetition, inversion = (number(tags.get(f"{name}Time")) for name in ("Echo", "Repetition", "Inversion"))
    if echo is None:
        return None
    if inversion is not None and inversion >= 1500 and echo >= 60:
        return FLAIR
    short_inversion = inversion is not None and 300 <= inversion < 1500  # MPRAGE, IR-SPGR
    if echo < 30 and (short_inversion or (repetition is not None and repetition < 1200)):
        return T1CE if agent else T1
    if echo >= 60 and not inversion and (repetition or 0) >= 2000:
        return T2
    return None


def _times(tags: Mapping[str, str]) -> str:
    """The times, in words."""
    known = {"TE": tags.get("EchoTime"), "TR": tags.get("RepetitionTime"), "TI": tags.get("InversionTime")}
    return ", ".join(f"{name} {value} ms" for name, value in known.items() if value)
