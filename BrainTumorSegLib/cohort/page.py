"""The cohort's page: what the records say, and pictures of some of the cases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from ..domain.errors import BrainTumorSegError
from ..domain.progress import Progress
from ..domain.result_record import ResultRecord
from ..domain.volume import Volume
from ..io.case_folder import CaseFiles, find_case
from ..io.registry import read_label_map, read_volume
from ..report.batch import Segmented, write_batch_report
from ..report.figures.overlays import Panel, thumbnail
from .discovery import Cohort
from .layouts import PAGES
from .outcome import Outcome

# Each needs an image to be read; more make the page large.
_PICTURES = 48


def write_page(cohort: Cohort, outcomes: Iterable[Outcome], folder: Path, file: Path, progress: Progress) -> None:
    """Write the page about the outcomes of a cohort.

    Args:
        cohort: whose images are shown.
        outcomes: one a case, at least one of them done.
        folder: that the results lie in.
        file: the page.
        progress: hears how far it is.

    Raises:
        OSError: the disk refused.
    """
    ordered = sorted(outcomes, key=lambda outcome: outcome.case)
    records = {outcome.case: outcome.record for outcome in ordered if outcome.is_done}
    pictures = _pictures(cohort, records, {each.case: each for each in ordered}, folder, progress)
    cases = [
        Segmented(records[each.case], each.seconds, _page(each), pictures.get(each.case))
        for each in sorted(ordered, key=lambda each: _size(records.get(each.case)))
        if each.is_done
    ]
    failures = {each.case: each.failure.error.sentence() for each in ordered if not each.is_done}
    write_batch_report(cohort.root.name, cases, failures, file, {"Images": str(cohort.root), "Results": str(folder)})


def _size(record: ResultRecord | None) -> float:
    return record.measurements["WT"].volume_ml if record and "WT" in record.measurements else 0.0


def _page(outcome: Outcome) -> str:
    return next((name for name in outcome.outputs if name.startswith(f"{PAGES}/")), "")


def _pictures(
    cohort: Cohort,
    records: Mapping[str, ResultRecord],
    outcomes: Mapping[str, Outcome],
    folder: Path,
    progress: Progress,
) -> dict[str, Panel]:
    """Case → picture, of cases of all sizes; one whose image cannot be read any more has none."""
    files = {case.id: case for case in cohort.cases}
    chosen = _spread(sorted(records, key=lambda case: _size(records[case])))
    found = {}
    for number, case in enumerate(chosen):
        progress.report("report", 1.0, f"Drawing the report, picture {number + 1} of {len(chosen)}")
        record = records[case]
        try:
            labels = read_label_map(folder / next(iter(outcomes[case].outputs)), record.convention)
            found[case] = thumbnail(_image(files[case], record.provenance.reference), labels, record.own_regions)
        except (BrainTumorSegError, OSError):
            continue
    return found


def _spread(cases: Sequence[str]) -> list[str]:
    """At most so many as there is room for, evenly."""
    places = np.linspace(0, len(cases) - 1, min(len(cases), _PICTURES)).round().astype(int)
    return [cases[place] for place in places]


def _image(case: CaseFiles, modality: str) -> Volume:
    """The image that carries a case's result.

    Raises:
        BrainTumorSegError: it cannot be read.
    """
    if case.channels:
        return case.read().images[modality]
    if modality in case.files:
        return read_volume(case.files[modality])
    return find_case(case.folder or (), study=case.study.uid if case.study else "").chosen.read(modality)
