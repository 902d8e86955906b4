"""The JSON beside a result: what is written is read, old files too, and nothing else."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from BrainTumorSegLib.domain.errors import InputError, OutputError
from BrainTumorSegLib.domain.json_values import LARGEST, read_json
from BrainTumorSegLib.domain.measurements import RegionMeasurement
from BrainTumorSegLib.domain.result_record import (
    SCHEMA,
    ModelRecord,
    Provenance,
    ResultRecord,
    read_record,
    record_path,
    recorded_file,
    whole_path,
)
from BrainTumorSegLib.domain.segmentation import Segmentation
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.outputs import check_record

RECORD = ResultRecord(
    case="P1",
    labels={"0": "background", "1": "NCR", "2": "ED", "4": "ET"},
    convention="brats2021",
    regions=("ET", "WT"),
    measurements={
        "ET": RegionMeasurement(0.0, 0.0, 0, 0.0, 0.0),
        "WT": RegionMeasurement(12.5, 1.0, 2, 31.25, 30.5),
    },
    confidence={"WT": 0.875},
    warnings=("Not skull-stripped – look.",),
    provenance=Provenance(
        model=ModelRecord("m", "4", "ab" * 32),
        inputs={"t1": "/data/ü_t1.nii.gz"},
        reference="t1",
        preprocessing=("bias field corrected by N4",),
        device="cpu",
        precision="fp32",
        tta=True,
        seconds=1.5,
        versions={"braintumorseg": "0.2.0"},
    ),
    images=("a.png",),
    left_out={"P1_swi.nii.gz": "none of the four sequences"},
)

WT = RECORD.as_json()["measurements"]["WT"]
DEEP: Any = []
for _ in range(900):
    DEEP = [DEEP]

# What 0.1.0 wrote.
FIRST = {
    "case": "P1",
    "labels": {"0": "background", "1": "NCR", "2": "ED", "3": "ET"},
    "measurements": {
        "WT": {
            "volume_ml": 0.0, "share": None, "lesions": 0, "largest_diameter_mm": 0.0, "largest_axial_diameter_mm": 0.0,
        }
    },
    "confidence": {},
    "warnings": [],
    "provenance": {
        "model": {"id": "m", "version": "1", "sha256": "00"}, "inputs": {"t1": "a.nii"}, "reference": "t1",
        "preprocessing": [], "device": "cpu", "precision": "fp32", "mirror": True, "seconds": 2, "versions": {},
    },
    "use": "For research, not for clinical use.",
}  # fmt: skip


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    RECORD.write(tmp_path / "r.json")
    assert read_record(tmp_path / "r.json") == RECORD
    assert json.loads((tmp_path / "r.json").read_text("utf-8"))["schema"] == SCHEMA


def test_undefined_figures_are_null_in_the_file_and_nan_in_the_record() -> None:
    empty = RECORD.with_measurements({"WT": RegionMeasurement(0.0, math.nan, 0, 0.0, 0.0)})
    text = json.dumps(empty.as_json(), allow_nan=False)
    assert json.loads(text)["measurements"]["WT"]["share"] is None
    assert math.isnan(ResultRecord.of_json(json.loads(text)).measurements["WT"].share)


def test_files_of_the_first_release_go_on_being_read() -> None:
    record = ResultRecord.of_json(FIRST)
    assert (record.regions, record.convention, record.provenance.tta) == (("WT",), "brats2023", True)
    older = {**FIRST, "labels": {"0": "background", "1": "NCR", "2": "ED", "4": "ET"}}
    assert ResultRecord.of_json(older).convention == "brats2021"
    # Its keys are where they were.
    assert set(FIRST) <= set(record.as_json())


def test_the_record_of_a_result() -> None:
    labels = np.zeros((4, 4, 4), np.uint8)
    labels[1, 1, 1:3], labels[2, 2, 2] = 2, 3
    result = Segmentation("P2", Volume(labels, np.diag([10.0, 10, 10, 1]), "x"), ("ET", "TC", "WT"))
    record = ResultRecord.of(result, "brats2021")
    assert record.labels == {"0": "background", "1": "NCR", "2": "ED", "4": "ET"}
    assert record.measurements["WT"].volume_ml == pytest.approx(3.0) and record.measurements[
        "ET"
    ].share == pytest.approx(1 / 3)
    whole = Segmentation("P2", result.labels, ("WT",))
    assert ResultRecord.of(whole).labels == {"0": "background", "2": "WT"}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"schema": SCHEMA + 1}, "newer program"),
        ({"schema": "2"}, "damaged"),
        ({"warnings": "one"}, "warnings"),
        ({"measurements": {"WT": {"volume_ml": "1"}}}, "damaged"),
        ({"colour": 1}, "colour"),
        ({"provenance": {"moon": 1}}, "moon"),
        ({"measurements": None}, "damaged"),
        ({"schema": 10**400}, "newer program"),
        ({"schema": -(10**400)}, "damaged"),
        ({"confidence": {"WT": 10**400}}, "damaged"),
        ({"measurements": {"WT": {**WT, "volume_ml": 10**400}}}, "damaged"),
        ({"measurements": {"WT": {**WT, "lesions": 10**400}}}, "damaged"),
        ({"measurements": {"WT": {**WT, "volume_ml": float("inf")}}}, "damaged"),
        ({"case": DEEP}, "damaged"),
        ({"schema": DEEP}, "damaged"),
        ({"labels": DEEP}, "damaged"),
        ({"measurements": {"WT": {**WT, "volume_ml": DEEP}}}, "damaged"),
        ({"measurements": {"WT": DEEP}}, "damaged"),
        ({"provenance": {"model": {"id": DEEP}}}, "damaged"),
        ({"schema": 1, "provenance": DEEP}, "damaged"),
        ({"schema": 1, "provenance": {"device": DEEP}}, "damaged"),
    ],
    ids=lambda value: repr(type(value)),
)
def test_what_cannot_be_read_is_refused(changes: dict[str, object], word: str) -> None:
    with pytest.raises(InputError, match=word) as caught:
        ResultRecord.of_json({**RECORD.as_json(), **changes})
    assert len(caught.value.sentence()) < 400


def test_foreign_and_damaged_files(tmp_path: Path) -> None:
    for content, word in (("{}", "no record"), ("[1]", "no record"), ("{", "cannot be read"), ("\xff", "cannot")):
        (tmp_path / "x.json").write_bytes(content.encode("latin-1"))
        with pytest.raises(InputError, match=word):
            read_record(tmp_path / "x.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_record(tmp_path / "none.json")


@pytest.mark.parametrize("content", ["[" * 100_000, "1" * 10_000, '{"a": ' * 5000, "\ud800"], ids=range(4))
def test_json_that_is_not_to_be_read_is_one_kind_of_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content, "utf-8", errors="surrogatepass")
    with pytest.raises(ValueError, match=r"deep|digits|decode|surrogates"):
        read_json(tmp_path / "x.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_record(tmp_path / "x.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes with names")
def test_a_record_that_has_no_end_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    (tmp_path / "large.json").touch()
    os.truncate(tmp_path / "large.json", LARGEST + 1)
    for name in ("pipe", "zero", "large"):
        with pytest.raises(InputError, match="cannot be read"):
            read_record(tmp_path / f"{name}.json")
        with pytest.raises(OutputError, match="no record of this program"):
            check_record(tmp_path / f"{name}.json")


def test_the_record_lies_beside_the_label_map() -> None:
    assert record_path(Path("a/b.c.nii.gz")) == Path("a/b.c.json")


def test_files_are_recorded_by_their_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t1.nii.gz").touch()
    monkeypatch.chdir(tmp_path)
    assert whole_path("t1.nii.gz") == str(tmp_path / "t1.nii.gz")
    assert [whole_path(text) for text in ('series 3 "T1"', "", "x" * 5000)] == ['series 3 "T1"', "", "x" * 5000]
    assert recorded_file(str(tmp_path / "t1.nii.gz"), Path("elsewhere.json")) == tmp_path / "t1.nii.gz"
    assert recorded_file("t1.nii.gz", Path("elsewhere.json")) == tmp_path / "t1.nii.gz"
