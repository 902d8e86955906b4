"""The cases below a folder, and why the rest of it is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from ..domain.errors import InputError, OutputError
from ..io import dicom
from ..io.case_folder import DECATHLON, LEVELS, CaseFiles, find_cases
from ..io.outputs import sequence_of
from ..io.registry import is_image
from ..io.tree import folders_below
from .outcome import read_outcome

# Of a BIDS data set, what holds no raw images.
_NOT_RAW = ("derivatives", "sourcedata", "code")
# Of the Decathlon's and nnU-Net's.
_LABELS = ("labelsTr", "labelsTs")
_DIVIDED = "each study in it is a case now; the result of this name is of before, stays as it is and is in no table"


@dataclass(frozen=True)
class Cohort:
    """What a folder of patients holds.

    Attributes:
        root: the folder.
        cases: in the order of their names; one that cannot be read has a ``problem``.
        left_out: name of a folder or file below the root → why it is no case.
    """

    root: Path
    cases: tuple[CaseFiles, ...]
    left_out: Mapping[str, str]


def find_cohort(root: Path, output: Path, others: Iterable[Path] = ()) -> Cohort:
    """The cases below a folder.

    Args:
        root: BraTS, BIDS, Decathlon or nnU-Net data, files whose names begin alike, or folders of DICOM series.
        output: where results go; what lies there is no case.
        others: folders where more is written, which hold no case either.

    Raises:
        InputError: the folder does not exist, or holds no case.
        OutputError: it lies in the output folder, or is one of the others.
    """
    root, output = root.absolute(), output.absolute()
    if root.resolve().is_relative_to(output.resolve()):
        raise OutputError(
            f"The folder of patients {root} lies in the output folder {output}.", "Choose another output folder."
        )
    passed_over = {}
    for folder in (output, *others):
        if folder.resolve() == root.resolve():
            raise OutputError(f"{folder} is the folder of patients.", "Choose another folder for what is written.")
        passed_over[_as_below(root, folder)] = "the output folder" if folder == output else "an output folder"
    if (root / "dataset_description.json").is_file():
        passed_over |= {root / name: "not among the raw images of a BIDS data set" for name in _NOT_RAW}
    passed_over |= {root / name: "labels of the data set" for name in _LABELS}
    found = sorted(find_cases(root, passed_over), key=lambda case: case.id)
    left_out = _left_out(root, found, passed_over)
    if not found:
        why = "".join(f" {name}: {reason}." for name, reason in list(left_out.items())[:5])
        raise InputError(
            f"{root} holds no case.{why}",
            "It should hold a folder a patient with files named like t1.nii.gz, a BIDS data set, imagesTr of a"
            " Decathlon data set, or folders of DICOM series.",
        )
    cases = sorted((each for case in found for each in _by_study(case)), key=lambda case: case.id)
    divided = {case.id for case in found} - {case.id for case in cases}
    left_out |= {name: _DIVIDED for name in sorted(divided) if (old := read_outcome(output, name)) and old.is_done}
    return Cohort(root, tuple(_told_apart(cases)), left_out)


def _by_study(case: CaseFiles) -> list[CaseFiles]:
    """The cases of a folder of DICOM series: one, or one a study where files of several lie in it.

    One study keeps the folder's name, so that its result is known whatever else the folder held.
    """
    if not case.folder or case.own or case.problem:
        return [case]
    studies = dicom.studies_below(case.folder)
    return [dataclasses.replace(case, id=f"{case.id}_{study.label}", study=study) for study in studies] or [case]


def _as_below(root: Path, folder: Path) -> Path:
    """A folder by the name that it has when the root is walked through, whatever links it was named by."""
    real = folder.resolve()
    return root / real.relative_to(root.resolve()) if real.is_relative_to(root.resolve()) else folder.absolute()


def _told_apart(found: list[CaseFiles]) -> list[CaseFiles]:
    """Cases of one name, by whatever letters, cannot have a result each: none of them is run."""
    names: dict[str, list[CaseFiles]] = {}
    for case in found:
        names.setdefault(case.id.casefold(), []).append(case)
    for alike in names.values():
        for number, case in enumerate(alike if len(alike) > 1 else ()):
            problem = f"{len(alike)} cases are called {case.id}; rename their folders or files"
            found[found.index(case)] = dataclasses.replace(case, id=f"{case.id}-{number + 1}", problem=problem)
    return found


def _left_out(root: Path, found: list[CaseFiles], passed_over: Mapping[Path, str]) -> dict[str, str]:
    """Entries of the root in which no case was found, or what lies too deep below one → why."""
    shared = {id(case.beside): case.beside for case in found}  # of a folder with many cases once
    files = chain((path for case in found for path in case.own), *shared.values())
    used = chain(((path, path.parent) for path in files), ((each.folder, each.folder) for each in found if each.folder))
    tops: dict[tuple[str, ...], set[Path]] = {}  # entry of the root → folders of its cases
    for path, home in used:
        if path.is_relative_to(root):
            tops.setdefault(path.relative_to(root).parts[:1], set()).add(home)
    reasons = {}
    for entry in sorted(root.iterdir()):
        hidden = entry.name.startswith(".")
        if hidden or () in tops or not (entry.is_dir() or is_image(entry)):
            continue
        homes = tops.get((entry.name,))
        if homes is None:
            reasons[entry.name] = passed_over.get(entry) or _why(entry, root, passed_over)
        elif not homes & {entry, root} and (deep := _nearest(root, _held(entry, {*passed_over, *homes}))):
            outer, image = deep
            reasons[image.relative_to(root).as_posix()] = _too_deep(outer)
    return reasons


def _held(folder: Path, passed_over: Collection[Path]) -> dict[Path, list[Path]]:
    """Folders with images → these."""
    folders = ((place, list(filter(is_image, files))) for place, files in folders_below(folder, passed_over))
    return {place: images for place, images in folders if images}


def _too_deep(home: Path) -> str:
    return f"lies deeper than is looked; give {home} itself as the folder of patients"


def _why(entry: Path, root: Path, passed_over: Mapping[Path, str]) -> str:
    if entry.is_file():
        return "its name speaks of no sequence, or of no case"
    held = _held(entry, passed_over)
    if not held:
        inside = next((why for path, why in passed_over.items() if path.is_relative_to(entry) and path.is_dir()), "")
        return "it holds no image" + (f" but in {inside}" if inside else "")
    if deep := _nearest(root, held):
        home, image = deep
        return f"{image.relative_to(entry)} {_too_deep(home)}"
    image = next(iter(held.values()))[0]
    return f"no name of its images speaks of T1, T1ce, T2 or FLAIR, as {image.relative_to(entry)}"


def _nearest(root: Path, held: Mapping[Path, list[Path]]) -> tuple[Path, Path] | None:
    """Of what lies too deep, that nearest to the root: derivatives and the like lie deeper than what they are of."""
    return min(_deep(root, held), key=lambda each: len(each[0].parts), default=None)


def _deep(root: Path, held: Mapping[Path, list[Path]]) -> Iterator[tuple[Path, Path]]:
    """What lies deeper below the root than cases are looked for: a folder that would hold a case, an image of it."""
    for folder, images in held.items():
        levels = folder.relative_to(root).parts
        named = next(filter(sequence_of, images), None)
        if named and len(levels) > LEVELS:
            yield root.joinpath(*levels[:-LEVELS]), named
        elif folder.name in DECATHLON and folder.parent != root and find_cases(folder):
            yield folder.parent, images[0]
