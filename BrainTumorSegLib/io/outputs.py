"""Where a run may write: never over an input, over what lies beside one, or over another output of its own.

A result of ours that lies there from before may be replaced: a run can be repeated. So may an empty file, as a power
cut may have left it. What others made beside our names (an image's facts in BIDS, masks that an expert drew) may not.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..domain.errors import InputError, OutputError
from ..domain.json_values import read_json
from ..domain.labels import CONVENTIONS, REGIONS
from ..domain.modalities import MODALITIES, from_name, stem
from .dicom import is_dicom_file
from .images2d import SLICE_SUFFIXES
from .registry import IMAGE_SUFFIXES, is_image, read_label_map

_ELSEWHERE = "Choose another name or folder for it."
# 2D images, those that are not read here too.
_FLAT_SUFFIXES = (*SLICE_SUFFIXES, ".bmp")
# Name of the mask of an image, or of a page of it.
_MASK = re.compile(r"(?P<image>(?P<pages>.+?)(?:_\d{4})?)_mask\.png")
# Names of what is written beside a result, and of preprocessed images → that of the record by which they are known.
_OF_MODALITY = "|".join(MODALITIES)
_ON_OTHER_GRID = re.compile(rf"(.+)_on_(?:{_OF_MODALITY})\.nii\.gz")
_KNOWN_BY = (
    (re.compile(r"(.+)_measurements\.dcm"), r"\1.json"),
    (_ON_OTHER_GRID, r"\1.json"),
    (re.compile(rf"(.+)_(?:{_OF_MODALITY}|brain_mask)\.nii\.gz"), r"\1_preprocessing.json"),
)
# Of the record of preprocessed images.
_PREPROCESSED = {"schema", "case", "inputs", "reference", "preprocessing", "alignment"}
# Volumes in records are rounded to a thousandth of a millilitre; half of that, and a little for arithmetic.
_ROUNDING_ML = 0.00055
# Files of ours that bear no mark of it: what a run may replace even in a folder that it reads.
_MAPS = {f"{region}.nii.gz" for region in REGIONS} | {"montage.png"}


def check_outputs(destinations: Iterable[Path | str], inputs: Sequence[Path | str] = ()) -> None:
    """Refuse destinations that are inputs or each other, before anything is made of them.

    Args:
        destinations: files that a run is to write.
        inputs: files and folders that it reads.

    Raises:
        OutputError: names both.
    """
    seen: list[Path] = []
    for destination in map(Path, destinations):
        check_destination(destination, inputs, seen)
        seen.append(destination)


def check_destination(
    destination: Path, inputs: Sequence[Path | str], others: Iterable[Path] = (), *, record: bool = False
) -> None:
    """Refuse a destination that is an input, by whatever name, or another output.

    Args:
        destination: file that is to be written.
        inputs: files and folders that are read.
        others: destinations of the same run.
        record: it gets the record of a result, which may replace an earlier one.

    Raises:
        OutputError: names both.
    """
    for other in others:
        if same_place(destination, other):
            raise OutputError(f"Two outputs of this run would be {destination}.", _ELSEWHERE)
    # What is not there is no input by any name. A series has hundreds of files, which a disk of the network tells of
    # slowly, and a run many outputs.
    if os.path.exists(destination):  # noqa: PTH110 — Path.exists() raises for a name that is too long
        _check_inputs(destination, inputs, record)


def _check_inputs(destination: Path, inputs: Sequence[Path | str], record: bool) -> None:
    """Refuse a file that is there and is an input, describes one, or lies among them and is not ours."""
    foreign, place = is_of_others(destination, record=record), destination.resolve()
    for given in map(Path, inputs):
        if given.is_dir():
            if foreign and place.is_relative_to(given.resolve()):
                raise OutputError(f"The output {destination} is a file of the input {given}.", _ELSEWHERE)
            continue
        if same_place(destination, given):
            raise OutputError(f"The output {destination} is the input {given}.", _ELSEWHERE)
        if foreign and _lies_beside(destination, given):
            raise OutputError(
                f"{destination} lies beside the input {given} and was not made by this program.", _ELSEWHERE
            )
        sidecar = given.with_name(f"{stem(given)}.json")
        if sidecar.exists() and same_place(destination, sidecar) and not (record and _is_ours(sidecar)):
            raise OutputError(f"{destination} describes the input {given}.", _ELSEWHERE)


def check_folder(folder: Path | None) -> None:
    """Refuse a folder that somebody asks for, if any, under the name of an image: one file was meant.

    Raises:
        OutputError: with the name.
    """
    suffixes = (*IMAGE_SUFFIXES, *_FLAT_SUFFIXES, ".dcm")
    if folder and folder.name.lower().endswith(suffixes) and not folder.is_dir():
        raise OutputError(f"{folder} is no name of a folder, and several files are written.", "Name a folder.")


def check_record(destination: Path) -> None:
    """Refuse to replace a JSON file that is no record of a result.

    Raises:
        OutputError: with the file named.
    """
    if _is_taken(destination) and not _is_ours(destination):
        raise OutputError(
            f"{destination} is there already and is no record of this program; the result's record would replace it.",
            "Choose another name for the output.",
        )


def check_json(destination: Path, keys: Collection[str]) -> None:
    """Refuse to replace a JSON file that is none of a kind of ours.

    Args:
        destination: file that is to be written.
        keys: that each file of its kind has.

    Raises:
        OutputError: with the file named.
    """
    if _is_taken(destination) and not _has(destination, keys):
        raise OutputError(f"{destination} is there already and holds something else.", _ELSEWHERE)


def check_derived(destination: Path, record: Path, keys: Collection[str] = ()) -> None:
    """Refuse to replace a file whose name follows from another output's, unless an earlier run wrote it.

    Args:
        destination: file that is to be written.
        record: JSON file beside that output, by which it is known.
        keys: what is in that JSON file, if it is no record of a result.

    Raises:
        OutputError: with the file named.
    """
    if _is_taken(destination) and not (_has(record, keys) if keys else _is_ours(record)):
        raise OutputError(
            f"{destination} is there already and was not made by this program{' in this way' if keys else ''}.",
            "Move it away, or choose another name or folder for the output.",
        )


def check_unmended(label_map: Path) -> None:
    """Refuse to replace a result of ours that somebody has mended: its sizes are no longer those of its record.

    Raises:
        OutputError: with the file named.
    """
    from ..domain.measurements import measure
    from ..domain.result_record import read_record, record_path

    beside = record_path(label_map)
    if not (_is_taken(label_map) and _is_ours(beside)):
        return
    try:
        record = read_record(beside)
        if record.convention not in CONVENTIONS:  # a DICOM segmentation, which nobody edits in place
            return
        labels = read_label_map(label_map, record.convention)
        sizes = measure(labels, record.regions, record.own_regions)
        stated = {name: size.volume_ml for name, size in record.measurements.items() if name in sizes}
        kept = all(abs(sizes[name].volume_ml - ml) <= _ROUNDING_ML + 1e-6 * ml for name, ml in stated.items())
    except InputError:  # labels that its convention does not have, say
        kept = False
    if not kept:
        raise OutputError(
            f"{label_map} was changed since it was made: it does not hold what {beside.name} says.",
            "Move it away, or choose another name for the output.",
        )


def check_mask(destination: Path, record: Path) -> None:
    """Refuse to replace a mask of 2D images that an earlier run did not write.

    Args:
        destination: ``<stem>_mask.png``.
        record: JSON file of the folder, which names the images whose masks are ours.

    Raises:
        OutputError: with the file named.
    """
    if _is_taken(destination) and not _is_our_mask(destination, record):
        raise OutputError(f"{destination} is there already and was not made by this program.", _ELSEWHERE)


def _is_taken(file: Path) -> bool:
    """Whether a file is there, and not an empty one; folders are refused where the file is staged."""
    if not os.path.lexists(file) or file.is_dir():
        return False
    facts = file.lstat()
    return not stat.S_ISREG(facts.st_mode) or facts.st_size > 0


def same_place(one: Path, other: Path) -> bool:
    """Whether two paths lead to one file, also by links, or by upper case where the disk does not care."""
    try:
        return one.samefile(other)
    except OSError:  # one of them is not there yet
        pass
    first, second = (os.path.normcase(_resolved(path)) for path in (one, other))
    if first == second:
        return True
    return first.casefold() == second.casefold() and _ignores_case(Path(first).parent)


def _resolved(path: Path) -> str:
    """Links in the folders followed, the last name as it is."""
    return str(path.parent.resolve() / path.name)


def _ignores_case(folder: Path) -> bool:
    """Whether the disk that holds a folder takes A and a for the same letter."""
    while not folder.exists() or folder.name.swapcase() == folder.name:
        if folder == folder.parent:
            return False
        folder = folder.parent
    twin = folder.with_name(folder.name.swapcase())
    return twin.exists() and folder.samefile(twin)


def _lies_beside(file: Path, image: Path) -> bool:
    """Whether two images are in one folder, where an expert's segmentation may lie."""
    return file.parent.resolve() == image.parent.resolve() and _is_volume(file) and _is_volume(image)


def _is_volume(file: Path) -> bool:
    """Whether a file is one that volumes are read from, by its name, or of a DICOM series, by its content."""
    return is_image(file) or is_dicom_file(file)


def is_of_others(file: Path, *, record: bool = False) -> bool:
    """Whether a file among those that are read is an image, or describes one, and is not our result, nor empty.

    Args:
        file: links in its path are followed.
        record: it is to get the record of a result.
    """
    file = file.resolve()
    if not file.is_file() or not file.stat().st_size:
        return False
    if file.suffix.lower() == ".json":
        beside = any(file.with_name(file.name[:-5] + suffix).exists() for suffix in IMAGE_SUFFIXES)
        return beside and not (record and _is_ours(file))
    if file.name in _MAPS or not (_is_volume(file) or file.suffix.lower() in _FLAT_SUFFIXES):
        return False
    if any(map(_is_ours, _records_of(file))):
        return False
    return not _is_our_mask(file, file.with_name("segmentation.json"))


def _records_of(file: Path) -> Iterator[Path]:
    """JSON files that tell of a file that it is ours, if they are records of ours."""
    yield file.with_name(f"{stem(file)}.json")
    for name, record in _KNOWN_BY:
        if found := name.fullmatch(file.name):
            yield file.with_name(found.expand(record))


def is_on_other_grid(file: Path) -> bool:
    """Whether a file is a result of ours on the grid of another image, whose sequence its name ends with."""
    found = _ON_OTHER_GRID.fullmatch(file.name)
    return found is not None and _is_ours(file.with_name(f"{found[1]}.json"))


def sequence_of(file: Path) -> str | None:
    """The modality that an image's name speaks of; None where it speaks of none, or is that of a result of ours."""
    return None if is_on_other_grid(file) else from_name(stem(file))


def _is_our_mask(file: Path, record: Path) -> bool:
    """Whether a record names the image that a mask belongs to, or the pages' image."""
    if not _is_ours(record):
        return False
    stems = {Path(str(name)).stem for name in _content(record).get("images") or ()}
    found = _MASK.fullmatch(file.name)
    return found is not None and not stems.isdisjoint(found.group("image", "pages"))


def _is_ours(file: Path) -> bool:
    # Imported here: it knows measurements, and with them scipy, which Slicer need not load when it starts.
    from ..domain.result_record import is_record

    return is_record(_content(file)) or _has(file, _PREPROCESSED)


def _has(file: Path, keys: Collection[str]) -> bool:
    values = _content(file)
    return isinstance(values, dict) and set(values) >= set(keys)


def _content(file: Path) -> Any:
    try:
        return read_json(file)
    except (OSError, ValueError):  # of another program, damaged or not there
        return None
