"""Which series of a patient's folder are the sequences, and why the others are not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np

from ...domain.errors import InputError, ModalityError
from ...domain.modalities import MODALITIES, TITLES, listed, recognise
from ...domain.series_kinds import other_kind
from ...domain.session import Candidate, Origin, Session, choose_session
from ...domain.volume import Volume
from ..tree import files_below
from .headers import Header, readable_date
from .series import Found, Series, find_series, is_dicom_file, read_series

_OTHERS = "Name the series to use, each by its folder or any one of its files: --t1 SERIES --t1ce SERIES …"
_NAMED = "named in the request"

# A series of fewer slices shows no whole head.
_FEWEST_SLICES = 8


@dataclass(frozen=True)
class Choice:
    """The series of one patient that are used.

    Attributes:
        series: modality → series.
        reasons: modality → what it is known by.
        left_out: name of a series or file → why.
        warnings: sentences that a reader of the result must see.
    """

    series: Mapping[str, Series] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def read(self, modality: str) -> Volume:
        """The volume of a series.

        Raises:
            InputError: its pixels cannot be read.
        """
        return read_series(self.series[modality], self.reasons[modality])


def holds_dicom(folder: Path, most: int = 1000) -> bool:
    """Whether some of the files below a folder is DICOM."""
    return any(map(is_dicom_file, islice(files_below(folder), most)))


def names_dicom(path: Path) -> bool:
    """Whether a path that stands for one sequence is a series: its folder, or one of its files."""
    return path.is_dir() or (path.is_file() and is_dicom_file(path))


def series_at(path: Path) -> Series:
    """The series that its folder, or any one of its files, stands for.

    Raises:
        InputError: the folder holds none, or several.
    """
    folder = path if path.is_dir() else path.parent
    found = find_series(sorted(files_below(folder)) if path.is_dir() else _files_in(folder), folder)
    inside = [series for series in found.series if path.is_dir() or path in series.files]
    images = [series for series in inside if series.first.modality == "MR" and series.first.frames] or inside
    if not images:
        damage = "".join(f" {name} {why}." for name, why in found.left_out.items() if folder / name in found.damaged)
        raise InputError(f"{path} holds no DICOM images.{damage}", "Give the folder of a series, or one of its files.")
    if len(images) > 1:
        raise InputError(
            f"{path} holds {len(images)} series: {listed([series.name for series in images])}.",
            f"Give one file of the one, such as {images[0].files[0]}.",
        )
    return images[0]


def choose_named(files: Mapping[str, Path]) -> Choice:
    """The series that were named for their modality.

    Args:
        files: modality → folder or file of its series; files of other formats are passed over.

    Raises:
        InputError: one is no series, or makes no volume, or they are of several patients.
        ModalityError: one was named twice.
    """
    return _named({modality: series_at(path) for modality, path in files.items() if names_dicom(path)})


def choose(folder: Path, files: Mapping[str, Path], study: str = "") -> Choice:
    """The series of a folder that are the patient's sequences.

    Args:
        folder: with DICOM files at any depth.
        files: modality → folder or file of its series, or a file of another format, where tags do not tell.
        study: instance UID, or date where it has none, of the one to take; by default the best one is.

    Raises:
        InputError: the folder holds no MR images, no such study, or several patients'; or a sequence's only series is
            faulty.
        ModalityError: no series is recognised, or one was named twice.
    """
    found = find_series(sorted(files_below(folder)), folder)
    named = {modality: _named_in(found, path) for modality, path in files.items() if names_dicom(path)}
    mine = _named(named)
    used = [series.files for series in named.values()]
    others = [series for series in found.series if series.files not in used]
    _check_one_patient([*named.values(), *(series for series in others if series.first.modality == "MR")])
    _check_mr(folder, found)
    candidates = [_candidate(series) for series in others]
    left_out = {
        each.name: f"{TITLES[each.modality]}, for which another one was named"
        for each in candidates
        if each.modality in files
    }
    if study and study not in {series.first.study or series.first.date for series in found.series}:
        raise InputError(f"{folder} holds no study {study}.", "Give another one's Study Instance UID, or none.")
    study = study or next((series.first.study for series in named.values()), "")
    session = choose_session((each for each in candidates if each.name not in left_out), study)
    left_out |= {each.name: why for each, why in session.left_out} | dict(found.left_out)
    return _checked(folder, mine, session, left_out, found)


def _named(named: Mapping[str, Series]) -> Choice:
    seen: dict[tuple[Path, ...], str] = {}
    for modality, series in named.items():
        other = seen.setdefault(series.files, modality)
        if other != modality:
            raise ModalityError(f"{series} was given as {TITLES[other]} and as {TITLES[modality]}.", "Give each once.")
        _check_usable(modality, series)
    _check_one_patient(named.values())
    studies = {series.first.study: series for series in named.values()}
    dates = [readable_date(series.first.date) for series in studies.values()]
    mixed = [f"The sequences are of {len(studies)} studies ({listed(dates)})."] if len(studies) > 1 else []
    return Choice(dict(named), dict.fromkeys(named, _NAMED), warnings=(*mixed, *_departures(named)))


def _candidate(series: Series) -> Candidate:
    """What a series tells of itself."""
    first, unusable = series.first, _why_none(series)
    stacked = None if unusable or series.problem else series.stack()
    edges = np.linalg.norm(stacked.affine[:3, :3], axis=0) if stacked else np.zeros(0)
    return Candidate(
        source=series,
        name=series.name,
        recognition=recognise("", series.tags),
        origin=Origin(first.patient, first.study, first.date, time=first.time),
        spacing=tuple(map(float, edges)),
        reach_mm=float(edges[2] * len(stacked.frames)) if stacked else 0.0,
        derived="DERIVED" in series.tags.get("ImageType", "").upper().split("\\"),
        fault=series.problem if not unusable else "",
        unusable=unusable,
    )


def _checked(folder: Path, mine: Choice, session: Session, left_out: Mapping[str, str], found: Found) -> Choice:
    """The choice with those that were found, if they can be used."""
    best = session.chosen
    if not best and not mine.series:
        known = ", ".join(f"{name}: {why}" for name, why in list(left_out.items())[:5])
        raise ModalityError(f"{folder} holds no series that tags tell to be T1, T1ce, T2 or FLAIR ({known}).", _OTHERS)
    damaged = [path.relative_to(folder).as_posix() for path in found.damaged]
    for modality, candidate in best.items():
        _check_usable(modality, candidate.source, damaged)
    own = {modality: candidate.source for modality, candidate in best.items()}
    warnings = [*mine.warnings, *session.warnings, *_departures(own)]
    if damaged:
        warnings.append(f"Damaged DICOM files were left out ({listed(damaged)}); no slice is missing between others.")
    series = {**mine.series, **own}
    reasons = {**mine.reasons, **{name: each.recognition.reason for name, each in best.items() if each.recognition}}
    order = [modality for modality in MODALITIES if modality in series]
    return Choice({name: series[name] for name in order}, reasons, left_out, tuple(warnings))


def _departures(chosen: Mapping[str, Series]) -> list[str]:
    """How slices depart from a regular grid, in sentences."""
    return [
        f"{TITLES[modality]} ({series}) {warning}."
        for modality, series in chosen.items()
        for warning in series.stack().warnings
    ]


def _files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _named_in(found: Found, path: Path) -> Series:
    """The series that a path stands for, with those of its files that lie elsewhere in the case's folder."""
    named = series_at(path)
    whole = (series for series in found.series if {file.resolve() for file in named.files} <= _resolved(series))
    return next(whole, named)


def _resolved(series: Series) -> set[Path]:
    return {file.resolve() for file in series.files}


def _check_usable(modality: str, series: Series, damaged: Sequence[str] = ()) -> None:
    if series.problem:
        also = f"; {listed(damaged)} cannot be read" if damaged else ""
        raise InputError(f"{TITLES[modality]} ({series}) {series.problem}{also}.", f"Export it again. {_OTHERS}")


def _check_one_patient(series: Iterable[Series]) -> None:
    """Two dates of birth are two patients, also of one identifier: hospitals count alike, and some call all alike."""
    headers = [each.first for each in series]
    patients = sorted({header.patient for header in headers})
    births = sorted({header.birth for header in headers if header.birth})
    told = patients if len(patients) > 1 else [f"one born {readable_date(birth)}" for birth in births]
    if len(told) > 1:
        raise InputError(f"The series are of {len(told)} patients: {listed(told)}.", "Give those of one.")


def _check_mr(folder: Path, found: Found) -> None:
    if not any(series.first.modality == "MR" for series in found.series):
        kinds = sorted({series.first.modality or "unknown" for series in found.series})
        what = f"only {listed(kinds)}" if kinds else "only damaged DICOM files" if found.damaged else "no images"
        raise InputError(f"{folder} holds no MR images, {what}.", "Give a folder of MR series.")


def sequence_of(header: Header, files: int) -> str:
    """The sequence that a series of so many files like one of them seems to be; empty where it is none of the four."""
    known = recognise("", header.tags)
    return "" if known is None or _why_no_image(header, files * len(header.frames)) else known.modality


def _why_none(series: Series) -> str:
    """Why a series is no candidate at all; empty where it is one, if perhaps a faulty one."""
    return _why_no_image(series.first, sum(len(header.frames) for header in series.headers))


def _why_no_image(first: Header, count: int) -> str:
    """The same of one of its headers and the number of its slices."""
    if first.modality != "MR":
        return f"{first.modality or 'unknown'}, not MR"
    if kind := other_kind(first.tags):
        return kind
    if first.colour:
        return "colour images"
    if not first.frames:
        return "its images have no place in space"
    return f"only {count} slice{'s' if count > 1 else ''}" if count < _FEWEST_SLICES else ""
