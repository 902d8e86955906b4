"""The files of a patient: which are there, which sequence each is, what was left out; one discovery for all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..domain.case import Case
from ..domain.errors import InputError, ModalityError, RequestError
from ..domain.modalities import (
    DECATHLON_ORDER,
    MODALITIES,
    TITLES,
    assign,
    beginnings,
    by_case,
    from_name,
    is_segmentation,
    listed,
    stem,
)
from ..domain.volume import Volume
from . import dicom
from .evidence import reachable
from .images2d import channels_for, is_mask, is_slice, read_pages, slice_order, stack_slices
from .nifti import place_of
from .numbered_channels import NUMBERED, numbered_cases
from .outputs import is_on_other_grid, sequence_of
from .registry import is_image, read_volume

_BY_NAME = "Name each sequence: --t1 FILE --t1ce FILE --t2 FILE --flair FILE."
# Folders of the Decathlon's images: one file of four channels a case. nnU-Net's of that name number single sequences.
DECATHLON, LEVELS = ("imagesTr", "imagesTs"), 3  # so many levels down, names of sequences are looked for


@dataclass(frozen=True)
class CaseFiles:
    """What was found of a patient, before anything is read.

    Attributes:
        id: name for outputs and reports.
        files: modality → file.
        left_out: name of a file that was passed over → why.
        slices: 2D images that are the patient's slices, in their order, where it is such a patient.
        channels: a file that holds all sequences as its channels (Decathlon), where it is such a patient.
        beside: files that lie beside those, and are as little to be replaced; the cases of one folder share them.
        folder: that holds this case and no other, where there is one.
        chosen: the series of DICOM files among ``files``, which has one file of each.
        study: of those in the folder the one that is this case, where there are several.
        problem: why the case cannot be read, where its files cannot be told apart.
    """

    id: str
    files: Mapping[str, Path] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    slices: tuple[Path, ...] = ()
    channels: Path | None = None
    beside: tuple[Path, ...] = ()
    folder: Path | None = None
    chosen: dicom.Choice = field(default_factory=dicom.Choice)
    study: dicom.Study | None = None
    problem: str = ""

    @property
    def arguments(self) -> list[str]:
        """What names this case on the command line of ``braintumorseg segment``."""
        if self.folder:
            return [str(self.folder), *([f"--study={self.study.uid}"] if self.study else [])]
        own = (self.channels,) if self.channels else self.slices
        return [*map(str, own), *(word for name, path in self.files.items() for word in (f"--{name}", str(path)))]

    @property
    def own(self) -> tuple[Path, ...]:
        """The files that are read for this patient; of a DICOM series its first."""
        return (*self.files.values(), *self.slices, *((self.channels,) if self.channels else ()))

    @property
    def sources(self) -> tuple[Path, ...]:
        """Every file that is read for this patient, of a series all."""
        series = (file for each in self.chosen.series.values() for file in each.files)
        return tuple(dict.fromkeys((*self.own, *series)))

    @property
    def inputs(self) -> tuple[Path, ...]:
        """Every file that a run on this patient must leave as it is."""
        return (*self.sources, *self.beside)

    def read(self, modalities: Sequence[str] = MODALITIES, optional: Sequence[str] = ()) -> Case:
        """The images.

        Args:
            modalities: that the model takes, which 2D images are read as.
            optional: those of them that may be missing.

        Raises:
            InputError, GeometryError, ModalityError: a file is unusable, or the files cannot be told apart.
        """
        if self.problem:
            raise ModalityError(self.problem, _BY_NAME)
        if self.slices:
            pages = [page for path in self.slices for page in read_pages(path)]
            channels = channels_for(modalities, optional, max(len(page) for page in pages))
            return stack_slices(self.id, pages, channels, str(self.slices[0].parent))
        if self.channels:
            return _read_decathlon(self.channels)
        return case_from_files(self.files, self.id, self.chosen)


def find_case(
    paths: Path | str | Sequence[Path | str], files: Mapping[str, Path] | None = None, study: str = ""
) -> CaseFiles:
    """What there is of one patient.

    Args:
        paths: a case folder, a folder of DICOM series, a Decathlon file, or 2D images (or a folder of them).
        files: modality → file, where names do not tell, or not all; of a DICOM series its folder or any one file.
        study: instance UID of the one to take, where a folder of DICOM series holds several.

    Raises:
        RequestError: nothing was given, or what does not go together.
        InputError: a path does not exist, or holds no patient, or several.
        ModalityError: two files speak of one modality, or none is recognised.
    """
    given = [Path(path) for path in ([paths] if isinstance(paths, (str, Path)) else paths)]
    with reachable(given[0] if given else "image"):
        return _found(given, dict(files or {}), study)


def _found(given: Sequence[Path], files: dict[str, Path], study: str) -> CaseFiles:
    if len(given) == 1 and _is_dicom_folder(given[0]):
        return _dicom_case(given[0], files, study)
    if study:
        raise RequestError("A study was named, and no folder of DICOM series was given.", "Leave the study out.")
    chosen = dicom.choose_named(files)
    if not given:
        if not files:
            raise RequestError("No image was given.", "Give a case folder, or " + _BY_NAME[0].lower() + _BY_NAME[1:])
        return CaseFiles(_common_name(list(files.values())), files, chosen=chosen)
    if any(is_slice(path) for path in given):
        return _slices(given, files)
    if len(given) > 1:
        raise RequestError("Several cases were given.", "Give one a run, or name the sequences: --t1 FILE …")
    if given[0].is_dir():
        return replace(_folder(given[0], files), chosen=chosen)
    if files:
        raise ModalityError(f"{given[0]} was given as a case beside single sequences.", "Give the one or the others.")
    return CaseFiles(stem(given[0]), channels=given[0])


def find_cases(root: Path, passed_over: Collection[Path] = ()) -> list[CaseFiles]:
    """The patients below a folder: one a folder that holds images whose names tell, at most three levels down; several
    where one folder holds those of several; one a file in a Decathlon data set, or a number of files in nnU-Net's; one
    a study of DICOM series.

    A case whose files cannot be told apart is among them, with its ``problem``. Folders that are ``passed_over`` are
    not looked into.

    Raises:
        InputError: the folder does not exist.
    """
    with reachable(root):
        if not root.is_dir():
            raise InputError(f"{root} is no folder.", "Check the path.")
        return _all_found(root, set(passed_over))


def _all_found(root: Path, passed_over: set[Path]) -> list[CaseFiles]:
    folders = case_folders(root, passed_over=passed_over)
    if folders == [root]:  # a template beside the folders of the patients hides none of them
        folders += _inner_folders(root, 3, passed_over)
    found = [case for folder in folders for case in _cases_in(folder)]
    for place in _places_of_decathlon(root):
        if place not in passed_over:
            found += [CaseFiles(stem(path), channels=path) for path in _channel_files(place)]
            found += [CaseFiles(name, files) for name, files in numbered_cases(place).items()]
    for folder, problem in dicom.study_folders(root, (*passed_over, *folders)).items():
        found.append(CaseFiles(case_name(folder), folder=folder, problem=f"{folder}: {problem}" if problem else ""))
    twice = {name for name, count in Counter(case.id for case in found).items() if count > 1}
    return [replace(case, id=_full_name(case, root)) if case.id in twice else case for case in found]


def _cases_in(folder: Path) -> list[CaseFiles]:
    """The patients whose sequences are right in a folder."""
    images = tuple(path for path in sorted(_visible(folder)) if path.is_file() and is_image(path))
    groups = by_case(filter(sequence_of, images))
    if not groups:
        try:
            return [_folder(folder, {})]
        except RequestError as error:
            return [CaseFiles(case_name(folder), beside=images, folder=folder, problem=str(error))]
    named: dict[str, list[Path]] = {name: [] for name in groups}
    for path in images:
        for name in beginnings(path.name):
            if name in named:
                named[name].append(path)
    cases = []
    for name, paths in groups.items():
        left_out = {path.name: _why(path) for path in named[name] if path not in paths}
        try:
            cases.append(CaseFiles(name, assign(paths), left_out, beside=images))
        except ModalityError as error:
            cases.append(CaseFiles(name, left_out=left_out, beside=images, problem=str(error)))
    return cases


def _full_name(case: CaseFiles, root: Path) -> str:
    """A case's name with those of the folders around it."""
    if case.folder:
        return "_".join(case.folder.relative_to(root).parts) or case.id
    return "_".join((*case.inputs[0].parent.relative_to(root).parts, case.id))


def _decathlon(folder: Path) -> list[Path]:
    """The files of a Decathlon data set's images, of its root or of one of its folders."""
    return [path for place in _places_of_decathlon(folder) for path in _channel_files(place)]


def _places_of_decathlon(folder: Path) -> list[Path]:
    places = [folder] if folder.resolve().name in DECATHLON else [folder / name for name in DECATHLON]
    return [place for place in places if place.is_dir()]


def _channel_files(place: Path) -> list[Path]:
    """The files of a folder that may hold all sequences as channels."""
    files = [path for path in sorted(_visible(place)) if path.is_file() and is_image(path)]
    return [path for path in files if not from_name(stem(path)) and not NUMBERED.fullmatch(stem(path))]


def case_folders(folder: Path, depth: int = LEVELS, passed_over: Collection[Path] = ()) -> list[Path]:
    """Folders that hold sequences: this one, or those below it, at most three levels down (BIDS: subject, session)."""
    if any(sequence_of(path) for path in _visible(folder) if path.is_file() and is_image(path)):
        return [folder]
    return _inner_folders(folder, depth, passed_over)


def _inner_folders(folder: Path, depth: int, passed_over: Collection[Path] = ()) -> list[Path]:
    inner = sorted(path for path in _visible(folder) if path.is_dir() and path not in passed_over) if depth else []
    return [found for path in inner for found in case_folders(path, depth - 1, passed_over)]


def case_name(folder: Path) -> str:
    """The patient that a folder's name stands for; in a BIDS data set those of the folders around it, too."""
    folder = folder.resolve()
    entities = [part for part in folder.parts if part.startswith(("sub-", "ses-"))]
    is_inside = folder.name == "anat" or folder.name.startswith("ses-")
    return "_".join(entities) if is_inside and entities else folder.name


def _visible(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _folder(folder: Path, files: Mapping[str, Path]) -> CaseFiles:
    """A case folder, or the only one inside a folder."""
    entries = sorted(path for path in _visible(folder) if path.is_file())
    images = [path for path in entries if is_image(path)]
    open_ones = [path for path in images if sequence_of(path) not in (None, *files)]
    if groups := by_case(open_ones):
        first, *_ = groups
        one = " ".join(f"--{from_name(stem(path))} {path}" for path in groups[first])
        raise InputError(f"{folder} holds {len(groups)} cases, such as {first}.", f"Give one: {one}.")
    found = assign(open_ones) | dict(files)
    if found:
        left_out = {path.name: _why(path) for path in images if path not in found.values()}
        sequences = {name: found[name] for name in MODALITIES if name in found}
        return CaseFiles(case_name(folder), sequences, left_out, beside=tuple(images), folder=folder)
    if any(is_slice(path) for path in entries):
        return _slices([path for path in entries if is_slice(path)], {}, folder.resolve().name)
    inner = [path for path in case_folders(folder) if path != folder]
    if len(inner) == 1:
        return _folder(inner[0], files)
    if inner:
        what = "the root of a BIDS data set" if (folder / "dataset_description.json").is_file() else "a folder of cases"
        raise InputError(
            f"{folder} is {what}: it holds {len(inner)}, such as {inner[0].relative_to(folder)}.", "Give one of them."
        )
    if volumes := _decathlon(folder):
        if len(volumes) == 1:
            return CaseFiles(stem(volumes[0]), channels=volumes[0])
        held = Counter(path.parent.name for path in volumes)
        what = listed([f"{count} case{'s' if count > 1 else ''} in {name}" for name, count in held.items()])
        raise InputError(f"{folder} is a Decathlon data set: it holds {what}.", f"Give one of them: {volumes[0]}.")
    raise ModalityError(f"{folder} holds no file whose name speaks of T1, T1ce, T2 or FLAIR.", _BY_NAME)


def _is_dicom_folder(folder: Path) -> bool:
    """Whether a folder holds DICOM files and no volumes that their names tell."""
    return folder.is_dir() and not case_folders(folder) and dicom.holds_dicom(folder)


def _dicom_case(folder: Path, files: Mapping[str, Path], study: str) -> CaseFiles:
    """The case of a folder of DICOM series, but for sequences that were named."""
    chosen = dicom.choose(folder, files, study)
    found = {**files, **{modality: series.files[0] for modality, series in chosen.series.items()}}
    ordered = {name: found[name] for name in MODALITIES if name in found}
    return CaseFiles(case_name(folder), ordered, chosen.left_out, folder=folder, chosen=chosen)


def _why(path: Path) -> str:
    """Why an image is none of the sequences."""
    is_labels = is_segmentation(stem(path)) or is_on_other_grid(path)
    return "a segmentation or mask" if is_labels else "its name speaks of none of the sequences"


def _slices(paths: Sequence[Path], files: Mapping[str, Path], name: str = "") -> CaseFiles:
    """2D images, in the order of the numbers in their names; masks that were written beside them are left out."""
    if files:
        raise ModalityError("2D images were given beside single sequences.", "Give the one or the others.")
    kept = sorted((path for path in paths if not is_mask(path)), key=slice_order)
    wrong = next((path for path in kept if not is_slice(path)), None)
    if wrong is not None:
        raise RequestError(f"{wrong} was given among 2D images.", "Give the one or the others.")
    if not kept:
        raise InputError(f"{paths[0]} is the mask of an image, not an image.", "Give the images.")
    twice = [name for name, count in Counter(path.stem for path in kept).items() if count > 1]
    if twice:
        raise RequestError(f"Two images are called {twice[0]}, and so would be their masks.", "Rename one of them.")
    name = name or (kept[0].resolve().parent.name if len(kept) > 1 else kept[0].stem)
    left_out = {path.name: "a mask" for path in paths if path not in kept}
    return CaseFiles(name, left_out=left_out, slices=tuple(kept), beside=tuple(path for path in paths if is_mask(path)))


def read_case(path: Path | str | Sequence[Path | str], files: Mapping[str, Path] | None = None) -> Case:
    """Read a case folder (files recognised by name), a Decathlon file with four channels, or 2D images.

    Args:
        path: folder or file, or the 2D images of one patient.
        files: modality → file for a folder where names do not tell, or not all.

    Raises:
        InputError: the path does not exist or holds no image.
        ModalityError: two files speak of one modality, or none is recognised.
    """
    return find_case(path, files).read()


def case_of(given: Any) -> Case:
    """A case from whatever a script has: a :class:`Case`, a path, or modality → file, volume or nibabel image.

    Raises:
        RequestError: it is none of these, or empty.
        InputError, GeometryError, ModalityError: an image is unusable.
    """
    if isinstance(given, Case):
        return given
    if isinstance(given, (str, Path)):
        return read_case(given)
    if not isinstance(given, Mapping) or not given:
        what = "nothing" if given is None or isinstance(given, Mapping) else f"a {type(given).__name__}"
        raise RequestError(f"A case cannot be {what}.", "Give a Case, a folder, or modality → file or image.")
    if all(isinstance(image, (str, Path)) for image in given.values()):
        return find_case((), {modality: Path(path) for modality, path in given.items()}).read()
    return _with_warnings("case", {name: _volume_of(image, name) for name, image in given.items()})


def _volume_of(image: Any, name: str) -> Volume:
    if isinstance(image, Volume):
        return image
    if isinstance(image, (str, Path)):
        return read_volume(image)
    if hasattr(image, "dataobj") and hasattr(image, "affine"):
        array = np.ascontiguousarray(np.asanyarray(image.dataobj).transpose())
        place = place_of(image.header) if "qform_code" in image.header else None
        return Volume(array, np.asarray(image.affine), name, place)
    raise RequestError(
        f"{name} is a {type(image).__name__}, not an image.", "Give a file, a Volume or a nibabel image."
    )


def case_from_files(files: Mapping[str, Path | str], case_id: str = "", chosen: dicom.Choice | None = None) -> Case:
    """Read one file a modality; those that are of the chosen DICOM series, with all of it."""
    paths = {modality: Path(path) for modality, path in files.items()}
    seen: dict[Path, str] = {}
    for modality, path in paths.items():
        with reachable(path):
            other = seen.setdefault(path.resolve(), modality)
        if other != modality:
            raise ModalityError(
                f"{path} was given as {TITLES[other]} and as {TITLES.get(modality, modality)}.", "Give each file once."
            )
    chosen = chosen or dicom.Choice()

    def read(name: str) -> Volume:
        return chosen.read(name) if name in chosen.series else read_volume(paths[name])

    # Unpacking lets other threads run; the reader of DICOM is not made for it. What reading imports is there after the
    # first one: where memory is short, another thread would see half of a library that was given up.
    first, others = list(paths)[:1], list(paths)[1:]
    images = {name: read(name) for name in first}
    with ThreadPoolExecutor(1 if chosen.series else len(others) or 1) as threads:
        images |= dict(zip(others, threads.map(read, others), strict=True))
    case = _with_warnings(case_id or _common_name(list(paths.values())), images)
    return replace(case, warnings=(*chosen.warnings, *case.warnings))


def _with_warnings(case_id: str, images: Mapping[str, Volume]) -> Case:
    """A case, with what its images say of their place that programs read differently."""
    return Case(case_id, images, warnings=tuple(_about_place({v.source: v for v in images.values()})))


def _about_place(images: Mapping[str, Volume]) -> list[str]:
    """Name of an image → what it says of its place that programs read differently."""
    found = [(name, v.place.warning) for name, v in images.items() if v.place is not None and v.place.warning]
    return [
        f"{name} {warning}; programs show it in different places, and the result with it." for name, warning in found
    ]


def _read_decathlon(path: Path) -> Case:
    volume = read_volume(path, channels=True)
    if volume.array.ndim != 4 or volume.array.shape[0] != len(DECATHLON_ORDER):
        raise InputError(
            f"{path} alone is no case: a Decathlon file has four channels (FLAIR, T1, T1ce, T2).", _BY_NAME
        )
    images = {
        modality: Volume(volume.array[index], volume.affine, f"{path} channel {index}", volume.place)
        for index, modality in enumerate(DECATHLON_ORDER)
    }
    return Case(stem(path), images, warnings=tuple(_about_place({str(path): volume})))


def _common_name(paths: list[Path]) -> str:
    """Case name of files such as ``P1_t1.nii.gz`` and ``P1_flair.nii.gz``: what their names share."""
    names = [stem(path) for path in paths]
    shared = names[0]
    while not all(name.startswith(shared) for name in names):
        shared = shared[:-1]
    if len(names) > 1:  # whole words only: "P1_t" is what P1_t1 and P1_t2 share
        shared = re.sub(r"[^-_. ]*$", "", shared).rstrip("-_. ")
    return shared or paths[0].resolve().parent.name or "case"
