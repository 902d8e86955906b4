"""Which of many images are one session's four sequences: for the nodes of a scene and the series of a folder alike.

A scene or a folder often holds several sessions, and a session several images of one sequence. One session is chosen,
the most complete one, of those the latest; in it the best image of each sequence. All else is left out with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .modalities import MODALITIES, TITLES, Recognition, by_case, listed

# A sequence that only echo and repetition time suggest is less sure than one that a name or an inversion time tells.
_BY_TIMING = 1
# What decides between several images of one sequence, the weightiest first; places of :func:`_merit`.
_BETTER = (
    *("is sound", "is surer", "covers the head", "is an original", "has thinner slices", "has smaller voxels"),
    *("is named more clearly", "was acquired later"),
)
# Slices that reach this far, in mm, show a head from the vertex to below the ventricles.
_WHOLE_HEAD_MM = 100.0


@dataclass(frozen=True)
class Origin:
    """Whose image it is, and of when; empty where that is not known.

    Attributes:
        patient: patient's ID.
        study: what tells the study from others, such as its instance UID.
        date: of the acquisition, else of the study: ``YYYYMMDD``.
        time: of the acquisition: ``HHMMSS``, perhaps with fractions.
        title: what the study is called.
    """

    patient: str = ""
    study: str = ""
    date: str = ""
    title: str = ""
    time: str = ""

    @property
    def is_silent(self) -> bool:
        """Whether nothing tells whose it is, and of when."""
        return not (self.patient or self.study or self.date)

    @property
    def words(self) -> str:
        """What tells the study from others, for people."""
        day = f"{self.date[:4]}-{self.date[4:6]}-{self.date[6:8]}" if len(self.date) == 8 else self.date
        return day or self.title or self.study


@dataclass(frozen=True, eq=False)
class Candidate:
    """An image that may be one of the sequences.

    Attributes:
        source: the image itself: a node, a series, a file.
        name: of the image, for people.
        recognition: what it seems to be; None where nothing tells.
        origin: whose and of when.
        spacing: voxel size in mm, in any order; empty where it is not known.
        reach_mm: how far its slices reach; 0 where it is not known.
        derived: whether it was computed from other images.
        fault: what is amiss with an image that is chosen only where there is no other; empty if nothing is.
        unusable: why it cannot be an input, whatever it is called; empty if it can.
        file: that it was loaded from, where that is known.
    """

    source: Any
    name: str
    recognition: Recognition | None
    origin: Origin = field(default_factory=Origin)
    spacing: tuple[float, ...] = ()
    reach_mm: float = 0.0
    derived: bool = False
    fault: str = ""
    unusable: str = ""
    file: Path | None = None

    @property
    def modality(self) -> str:
        """What it seems to be; empty where nothing tells, or it cannot be an input."""
        return self.recognition.modality if self.recognition and not self.unusable else ""


@dataclass(frozen=True)
class Session:
    """What was chosen of many images.

    Attributes:
        chosen: modality → image.
        left_out: the other images, each with the reason.
        warnings: sentences about the choice that a reader of the result must see.
    """

    chosen: dict[str, Candidate]
    left_out: tuple[tuple[Candidate, str], ...] = ()
    warnings: tuple[str, ...] = ()


def choose_session(candidates: Iterable[Candidate], study: str = "") -> Session:
    """The images of one session: the most complete one, of those the latest, of those the first.

    Images of studies of the same patient and day, and such as tell nothing of theirs, stand in for sequences that
    it lacks. Of two images of a sequence :data:`_BETTER` says which is chosen.

    Args:
        candidates: of which to choose.
        study: what tells the study, where it is settled; the most complete one by default.
    """
    given = list(candidates)
    sessions = _sessions(each for each in given if each.modality)
    wanted = [key for key in sessions if study in ("", key[1])]
    best = max(wanted, key=lambda key: (len(_sound(sessions[key])), _latest(sessions[key])), default=())
    main = sessions.get(best, [])
    beside = [each for key, group in sessions.items() if key != best for each in group if _stands_in(each, main)]
    chosen = _best(beside) | _best(main)
    chosen = {modality: chosen[modality] for modality in MODALITIES if modality in chosen}
    left_out = [(each, _why_left(each, chosen, main)) for each in given if each not in chosen.values()]
    missed = [] if study else _missed(sessions, main)
    return Session(chosen, tuple(left_out), (*missed, *_mixture(chosen)))


def patients_of(origins: Mapping[str, Origin]) -> dict[str, str]:
    """Modality → patient, if the images that tell one do not agree; else empty."""
    found = {modality: origin.patient for modality, origin in origins.items() if origin.patient}
    return found if len(set(found.values())) > 1 else {}


def mixed(origins: Mapping[str, Origin]) -> tuple[str, ...]:
    """Sentences that images which are used together are not of one patient, study or day; those that tell are asked."""
    if patients := patients_of(origins):
        told = ", ".join(f"{TITLES[modality]}: {patient}" for modality, patient in patients.items())
        return (f"The images are of different patients ({told}).",)
    days = _by(origins, "date")
    if len(days) > 1:
        told = "; ".join(f"{group} of {Origin(date=day).words}" for day, group in sorted(days.items()))
        return (f"The images are of different days ({told}): the tumour may have changed between them.",)
    studies = _by(origins, "study")
    if len(studies) > 1:
        return (f"The images are of {len(studies)} studies ({'; '.join(studies.values())}).",)
    return ()


def _by(origins: Mapping[str, Origin], name: str) -> dict[str, str]:
    """Value of a field → the sequences that have it, in words; those that lack it are left out."""
    groups: dict[str, list[str]] = {}
    for modality, origin in origins.items():
        if value := getattr(origin, name):
            groups.setdefault(value, []).append(TITLES[modality])
    return {value: listed(titles) for value, titles in groups.items()}


def _sessions(candidates: Iterable[Candidate]) -> dict[tuple[str, ...], list[Candidate]]:
    """Those of one patient and study together; where nothing tells a study, those of one case."""
    given = list(candidates)
    case_of = _cases([each for each in given if each.origin.is_silent])
    found: dict[tuple[str, ...], list[Candidate]] = {}
    for each in given:
        origin = each.origin
        key = (origin.patient, origin.study or origin.date, case_of.get(each, ""))
        found.setdefault(key, []).append(each)
    return found


def _cases(untold: Sequence[Candidate]) -> dict[Candidate, str]:
    """Image → its case, where names begin differently, or else where files lie in folders of their own; else nothing.

    A folder may be that of a case, or of one of its sequences.
    """
    # A folder of its own keeps images of the same name apart.
    named = {Path(str(number), f"{each.name.replace('/', '-')}.nii"): each for number, each in enumerate(untold)}
    if groups := by_case(named):
        return {named[path]: case for case, paths in groups.items() for path in paths}
    for up in (1, 2):
        folders: dict[str, list[Candidate]] = {}
        for each in untold:
            if each.file is not None:
                folders.setdefault(str(Path(*each.file.parts[:-up])), []).append(each)
        if _are_cases(list(folders.values())):
            return {each: folder for folder, group in folders.items() for each in group}
    return {}


def _are_cases(groups: Sequence[Sequence[Candidate]]) -> bool:
    """Whether groups hold a sequence twice between them, and one of them more than one sequence."""
    sequences = [_modalities(group) for group in groups]
    held = sum(map(len, sequences))
    return held > len(set().union(*sequences)) and held > len(sequences)


def _modalities(group: Iterable[Candidate]) -> set[str]:
    return {each.modality for each in group}


def _sound(group: Iterable[Candidate]) -> set[str]:
    return {each.modality for each in group if not each.fault}


def _latest(group: Iterable[Candidate]) -> tuple[str, str]:
    """Date and time of the last image."""
    return max((each.origin.date, each.origin.time) for each in group)


def _stands_in(each: Candidate, main: Sequence[Candidate]) -> bool:
    """Whether an image may stand in for a sequence that the session lacks."""
    if not main:
        return False
    origin, first = each.origin, main[0].origin
    if origin.is_silent:
        return not first.is_silent  # among names alone, those of another case are another's
    return origin.patient == first.patient and bool(origin.date) and origin.date in {one.origin.date for one in main}


def _best(group: Iterable[Candidate]) -> dict[str, Candidate]:
    """Modality → its best image."""
    found: dict[str, Candidate] = {}
    for each in sorted(group, key=_merit, reverse=True):  # stable: of equals the first
        found.setdefault(each.modality, each)
    return found


def _merit(each: Candidate) -> tuple[float, ...]:
    """The larger, the better; what each place means is in :data:`_BETTER`."""
    rank = each.recognition.rank if each.recognition else 0
    time = each.origin.time.split(".")[0]
    return (
        not each.fault,
        rank > _BY_TIMING,
        not 0 < each.reach_mm < _WHOLE_HEAD_MM,
        not each.derived,
        -round(max(each.spacing, default=0.0), 1),
        -round(math.prod(each.spacing), 1),
        rank,
        float(time) if time.isdecimal() else 0.0,  # what was repeated was repeated for a reason
    )


def _why_none(each: Candidate) -> str:
    return each.unusable or "neither name nor tags tell of T1, T1ce, T2 or FLAIR"


def _why_left(each: Candidate, chosen: Mapping[str, Candidate], main: Sequence[Candidate]) -> str:
    """Why an image was not chosen, as what follows its name in a list."""
    if not each.modality:
        return _why_none(each)
    if each not in main and not _stands_in(each, main):
        return _other_session(each.origin, main[0].origin if main else Origin())
    better = chosen[each.modality]
    pairs = zip(_BETTER, _merit(each), _merit(better), strict=True)
    reason = next((why for why, one, other in pairs if one != other), "came first")
    if each not in main and better in main:
        reason = "is of the study itself"
    also = f", since this one {each.fault}" if each.fault else ""
    return f"a second {TITLES[each.modality]}; {better.name} {reason}{also}"


def _other_session(origin: Origin, main: Origin) -> str:
    if origin.patient != main.patient and origin.patient and main.patient:
        return f"of another patient ({origin.patient})"
    if origin.words and origin.words != main.words:
        return f"of another study ({origin.words})"
    return "of another case" if origin.is_silent else "of another study"


def _missed(sessions: Mapping[tuple[str, ...], Sequence[Candidate]], main: Sequence[Candidate]) -> list[str]:
    """That a later session of the same patient holds less."""
    if not main:
        return []
    patient, (latest, _) = main[0].origin.patient, _latest(main)
    return [
        f"A later study ({group[0].origin.words}) holds {listed(_titles(group))} only; the more complete one of "
        f"{main[0].origin.words} was chosen."
        for group in sessions.values()
        if latest and group[0].origin.patient == patient and _latest(group)[0] > latest
    ]


def _titles(group: Iterable[Candidate]) -> list[str]:
    found = _modalities(group)
    return [TITLES[modality] for modality in MODALITIES if modality in found]


def _mixture(chosen: Mapping[str, Candidate]) -> tuple[str, ...]:
    """What the chosen images do not share; also that some tell nothing while others do."""
    origins = {modality: each.origin for modality, each in chosen.items()}
    silent = [modality for modality, origin in origins.items() if origin.is_silent]
    if not silent or len(silent) == len(origins):
        return mixed(origins)
    names = listed([f"{TITLES[modality]} ({chosen[modality].name})" for modality in silent])
    return (*mixed(origins), f"Nothing tells which study {names} is of; check that it belongs to the others.")
