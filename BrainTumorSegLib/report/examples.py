"""The worst and the best cases of a cohort, and pictures of them where their images are at hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..domain.errors import BrainTumorSegError
from ..domain.grid import check_overlap
from ..domain.labels import REGIONS
from ..domain.modalities import stem
from ..evaluation.metrics.measures import MEASURES, Measure
from ..evaluation.pairs import read_pair
from ..evaluation.results import CaseResult, Evaluation
from ..io.case_folder import case_from_files
from ..io.outputs import sequence_of
from ..io.registry import is_image
from .figures.overlays import PICTURED, Overlay, overlays


@dataclass(frozen=True)
class Example:
    """A case to look at.

    Attributes:
        case: its id.
        kind: ``worst`` or ``best``.
        score: mean over the regions of the measure that cases are ranked by.
        overlays: pictures, one a region; none without images.
        remark: why there are none.
    """

    case: str
    kind: str
    score: float
    overlays: tuple[Overlay, ...] = ()
    remark: str = ""


def ranking_measure(evaluation: Evaluation) -> Measure | None:
    """The measure that tells good cases from bad ones: the first that was asked for and has a better side."""
    fit = (MEASURES[name] for name in evaluation.settings.measures if name != "miou")
    return next((measure for measure in fit if measure.better in ("higher", "lower") and not measure.counts), None)


def ranked(evaluation: Evaluation) -> list[tuple[str, float]]:
    """Case and score, the worst first; cases in which the measure is defined nowhere are left out."""
    measure = ranking_measure(evaluation)
    if measure is None:
        return []
    scores = []
    for case, result in evaluation.results.items():
        values = [result.measures[region][measure.name] for region in evaluation.settings.regions if region in REGIONS]
        if not np.isnan(values).all():
            scores.append((case, float(np.nanmean(values))))
    return sorted(scores, key=lambda pair: pair[1], reverse=measure.better == "lower")


def examples(evaluation: Evaluation, count: int, images: Path | None = None) -> list[Example]:
    """Up to ``count`` worst and as many best cases, no case twice.

    Args:
        evaluation: what was measured.
        count: of each kind.
        images: folder of the cases' images; else they are looked for beside the references.
    """
    order = ranked(evaluation)
    worst = order[: min(count, (len(order) + 1) // 2)]
    best = order[len(worst) :][-count:][::-1]
    chosen = [(kind, *pair) for kind, pairs in (("worst", worst), ("best", best)) for pair in pairs]
    return [_example(evaluation, evaluation.results[case], kind, score, images) for kind, case, score in chosen]


def _example(evaluation: Evaluation, result: CaseResult, kind: str, score: float, images: Path | None) -> Example:
    if result.prediction is None or result.reference is None:
        return Example(result.case, kind, score, remark="It was not read from files.")
    files = find_case_images(result.case, result.reference, images)
    if not files:
        return Example(result.case, kind, score, remark="No images of it were found.")
    settings = evaluation.settings
    try:
        case = case_from_files(files, result.case)
        prediction, reference = read_pair(result.prediction, result.reference, settings)
        for volume in case.images.values():
            check_overlap(volume, reference)
        shown = overlays(case, prediction, reference, [name for name in PICTURED if name in settings.regions])
    except BrainTumorSegError as error:  # the figures stand without this picture, and the page says why it is missing
        return Example(result.case, kind, score, remark=error.sentence())
    return Example(result.case, kind, score, tuple(shown))


def find_case_images(case: str, reference: Path, images: Path | None = None) -> dict[str, Path]:
    """Modality → file of a case, or nothing.

    Looked for in ``<images>/<case>/``, then as ``<images>/<case>_flair.nii.gz`` and the like; without a folder of
    images beside the reference in the same way. Files that do not tell their sequence apart are passed over.
    """
    folder = images or reference.parent
    return find_images(case, (folder / case, folder))


def find_images(case: str, places: Iterable[Path]) -> dict[str, Path]:
    """Modality → file of a case's images, or nothing: the first of some folders that holds any.

    A folder that is called as the case is its own; in others the names of its files begin with the case. Files that
    do not tell their sequence apart are passed over.
    """
    for folder in places:
        if not folder.is_dir():
            continue
        own = folder.name == case
        found: dict[str, Path] = {}
        for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
            mine = own or stem(path).startswith((f"{case}_", f"{case}-"))
            modality = sequence_of(path) if mine and path.is_file() and is_image(path) else None
            if modality is not None:
                found.setdefault(modality, path)
        if found:
            return found
    return {}
