"""Which prediction belongs to which reference, by the names of files and folders."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..domain.errors import RequestError
from ..domain.modalities import case_of_segmentation, stem
from ..io.evidence import reachable
from ..io.outputs import is_on_other_grid
from ..io.registry import is_image


def match(prediction: Path, reference: Path) -> dict[str, tuple[Path, Path]]:
    """Case id → files of prediction and reference, sorted by id, for two files or two folders.

    ``<case>.nii.gz`` (or ``<case>_seg``, ``<case>-seg``, ``<case>.seg.nrrd``) matches ``<case>/<case>_seg.nii.gz``,
    ``<case>/<case>-seg.nii.gz``, ``<case>.seg.nrrd`` and ``<case>.nii.gz``; and ``<case>/<other>_Segm.nii``, where the
    folder alone has the name of the case; ``<case>/seg.nii.gz`` on either side; in BIDS
    ``sub-…_space-orig_dseg.nii.gz`` matches ``sub-…_dseg.nii.gz``.
    References without a prediction are left alone, and so are results on the grids of other images.

    Raises:
        RequestError: a path is missing, one is a folder and the other a file, nothing is there to compare,
            a prediction has no reference, or
            two files stand for one case.
    """
    with reachable(prediction):
        return _matched(prediction, reference)


def _matched(prediction: Path, reference: Path) -> dict[str, tuple[Path, Path]]:
    for path in (prediction, reference):
        if not path.exists():
            raise RequestError(f"{path} does not exist.", "Check the path.")
    if prediction.is_file() and reference.is_file():
        return {next(iter(_by_case([prediction]))): (prediction, reference)}
    if prediction.is_file() or reference.is_file():
        raise RequestError(f"{prediction} and {reference} are a file and a folder.", "Give two files or two folders.")
    references = _references(reference)
    predictions = _by_case(_images(prediction.iterdir())) or _segmentations(prediction)
    if not predictions:
        raise RequestError(f"{prediction} holds no segmentation.", "It should hold <case>.nii.gz files.")
    alone = sorted(set(predictions) - set(references))
    if alone:
        names = ", ".join(alone[:5]) + (" …" if len(alone) > 5 else "")
        raise RequestError(
            f"{len(alone)} of {len(predictions)} predictions have no reference in {reference}: {names}.",
            "A reference is called <case>/<case>_seg.nii.gz, <case>/<case>-seg.nii.gz or <case>.nii.gz.",
        )
    pairs = {}
    for case in sorted(predictions):
        for files in (predictions[case], references[case]):
            if len(files) > 1:
                raise RequestError(
                    f"Both {files[0]} and {files[1]} look like case {case}.", "Leave one of them in the folder."
                )
        pairs[case] = (predictions[case][0], references[case][0])
    return pairs


def _images(paths: Iterable[Path]) -> list[Path]:
    images = (path for path in paths if is_image(path) and path.name[0] != "." and path.is_file())
    return sorted(path for path in images if not is_on_other_grid(path))


def _case_of(path: Path) -> str:
    case = case_of_segmentation(path)
    return stem(path) if case is None else case


def _by_case(paths: Iterable[Path]) -> dict[str, list[Path]]:
    """By their own names; those that only say that they are segmentations (``seg.nii.gz``) by their folders."""
    found: dict[str, list[Path]] = {}
    nameless: dict[str, list[Path]] = {}
    for path in paths:
        case = _case_of(path)
        (found if case else nameless).setdefault(case or _folder_of(path), []).append(path)
    return {**nameless, **found}


def _folder_of(path: Path) -> str:
    """Name of the folder that a file lies in, as the path has it where it has one."""
    folder = path.parent if path.parent.name not in ("", "..") else path.parent.resolve()
    return folder.name or stem(path)


def _segmentations(folder: Path) -> dict[str, list[Path]]:
    """Files whose names say that they are segmentations, at any depth; then what lies in the folder itself."""
    named = _by_case(path for path in _images(folder.glob("**/*")) if stem(path) != _case_of(path))
    return {**_by_case(_images(folder.iterdir())), **named}


def _references(folder: Path) -> dict[str, list[Path]]:
    """The same, by the names of their folders as well where no file has that name itself."""
    by_file = _segmentations(folder)
    by_folder: dict[str, list[Path]] = {}
    for files in by_file.values():
        for path in files:
            by_folder.setdefault(path.parent.name, []).append(path)
    return {**by_folder, **by_file}
