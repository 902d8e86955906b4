"""The picture, the cohort's page and table of results with labels of a model's own."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from BrainTumorSegLib.cohort.outcome import Outcome
from BrainTumorSegLib.cohort.tables import RESULT_COLUMNS, RESULTS, stage_tables
from BrainTumorSegLib.domain.labels import REGIONS, Region
from BrainTumorSegLib.domain.result_record import ResultRecord
from BrainTumorSegLib.io.staging import staged
from BrainTumorSegLib.report.batch import Segmented, write_batch_report
from BrainTumorSegLib.report.figures.montage import WIDTH, render_montage
from BrainTumorSegLib.report.figures.overlays import thumbnail

from .test_case import Page, made, pixels

COLOUR = (90, 90, 200)


def test_their_sizes_are_in_the_page_and_table_of_a_cohort(tmp_path: Path) -> None:
    own = tuple(
        Region(name, name, frozenset({label}), COLOUR, REGIONS["WT"].code)
        for name, label in (("=meningioma", 1), ("dural tail", 3))
    )
    case, segmentation = made(regions=(), own=own)
    record = ResultRecord.of(segmentation)
    sizes = [f"{record.measurements[region.name].volume_ml:.3f}" for region in own]
    with staged() as staging:
        stage_tables([Outcome("made", result=record.as_json())], tmp_path, staging)
    with (tmp_path / RESULTS).open(newline="", encoding="utf-8") as file:
        head, row = csv.reader(file)
    assert head[: len(RESULT_COLUMNS)] == list(RESULT_COLUMNS)
    found = dict(zip(head, row, strict=True))
    assert [found["'=meningioma_volume_ml"], found["dural tail_volume_ml"]] == sizes
    picture = thumbnail(case.reference_volume, segmentation.labels, own)
    near = np.abs(picture.pixels.astype(int) - COLOUR).max(axis=-1) < 40
    assert near.sum() > 20
    write_batch_report("study", [Segmented(record, 7.5, "", picture)], {}, tmp_path / "r.html", {})
    page = Page((tmp_path / "r.html").read_text("utf-8"))
    assert "=meningioma" in page.text and "dural tail" in page.text
    assert all(size in page.text for size in sizes)
    columns = [attributes["data-column"] or "" for attributes in page.of("th") if "data-column" in attributes]
    assert sorted(map(int, columns)) == list(range(3 * len(own) + 3)), "a column for each cell of a row"


def test_names_of_a_models_own_stay_in_their_places() -> None:
    own = tuple(
        Region(name, name, frozenset({label}), COLOUR, REGIONS["WT"].code)
        for name, label in (("meningioma", 1), ("dural tail " * 5, 2), ("a vessel of no name", 3))
    )
    header = pixels(render_montage(*made(regions=(), own=own)))[:105]
    bars = np.flatnonzero((header[40] == COLOUR).all(axis=-1))
    starts = bars[np.diff(bars, prepend=-9) > 1]
    assert len(starts) == 3
    for start in (*starts, WIDTH):
        room = header[:, start - 8 : start]
        assert (room == header[0, 0]).all(), "nothing runs into the next one, nor out of the picture"
