"""The tables of a cohort: a row a case, and a row a failure."""

from __future__ import annotations

import csv
import dataclasses
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..domain.errors import OutputError
from ..domain.labels import REGIONS
from ..domain.measurements import RegionMeasurement
from ..domain.text_table import spreadsheet_cell, whole_text
from ..io.staging import Staging
from .outcome import Outcome, holds_outcomes

RESULTS, FAILURES, PARQUET = "results.csv", "failures.csv", "results.parquet"
# The page about all cases, beside them.
PAGE = "report.html"

_SIZES = tuple(each.name for each in dataclasses.fields(RegionMeasurement))
RESULT_COLUMNS = (
    "case",
    *(f"{region}_{size}" for region in REGIONS for size in (*_SIZES, "expected_dice")),
    *("warnings", "label_map", "sha256", "seconds", "attempts", "worker", "started"),
    *("model", "model_version", "model_sha256", "device", "backend", "precision", "version", "versions", "images"),
)
FAILURE_COLUMNS = ("case", "code", "error", "remedy", "attempts", "seconds", "worker", "images")


def result_row(outcome: Outcome) -> dict[str, Any]:
    """Column → value of a case that is done; None where the model knows no such region, or a value is undefined.

    Sizes of regions of a model's own have columns of their own.
    """
    record = outcome.record
    row: dict[str, Any] = dict.fromkeys(RESULT_COLUMNS)
    for region, sizes in record.measurements.items():
        values = {**dataclasses.asdict(sizes), "expected_dice": record.confidence.get(region)}
        row |= {f"{region}_{name}": _finite(value) for name, value in values.items()}
    made, label_map = record.provenance, next(iter(outcome.outputs), "")
    told: dict[str, Any] = {
        "case": outcome.case,
        "warnings": " | ".join(record.warnings),
        "label_map": label_map,
        "sha256": outcome.outputs.get(label_map, ""),
        "seconds": outcome.seconds,
        "attempts": outcome.attempts,
        "worker": outcome.worker,
        "started": outcome.started,
        "model": made.model.id,
        "model_version": made.model.version,
        "model_sha256": made.model.sha256,
        "device": made.device,
        "backend": made.backend,
        "precision": made.precision,
        "version": outcome.version,
        "versions": ", ".join(f"{name} {version}" for name, version in made.versions.items()),
        "images": " | ".join(made.inputs.values()),
    }
    return row | {name: whole_text(value) if isinstance(value, str) else value for name, value in told.items()}


def failure_row(outcome: Outcome) -> dict[str, Any]:
    """Column → value of a case without a result."""
    failure = outcome.failure
    return {
        "case": outcome.case,
        "code": failure.code,
        "error": failure.message,
        "remedy": failure.remedy,
        "attempts": outcome.attempts,
        "seconds": outcome.seconds,
        "worker": outcome.worker,
        "images": " | ".join(outcome.inputs),
    }


def check_tables(folder: Path, *more: str) -> None:
    """Refuse a folder whose tables others made; ours lie beside the outcomes of a run.

    Args:
        folder: that gets the tables.
        more: names of other files about the whole cohort.

    Raises:
        OutputError: names the file.
    """
    there = next((name for name in (RESULTS, FAILURES, PARQUET, *more) if os.path.lexists(folder / name)), "")
    if there and not holds_outcomes(folder):
        raise OutputError(
            f"{folder / there} is there already and was not made by this program.",
            "Move it away, or choose another output folder.",
        )


def stage_tables(outcomes: Iterable[Outcome], folder: Path, staging: Staging) -> None:
    """Write the tables, by the names of the cases; Parquet where pandas and pyarrow are installed.

    Raises:
        OutputError, OSError: they cannot be written.
    """
    ordered = sorted(outcomes, key=lambda outcome: outcome.case)
    results = [result_row(outcome) for outcome in ordered if outcome.is_done]
    columns = tuple(dict.fromkeys(name for row in (dict.fromkeys(RESULT_COLUMNS), *results) for name in row))
    _write(staging.path(folder / RESULTS), columns, results)
    failures = [failure_row(outcome) for outcome in ordered if not outcome.is_done]
    _write(staging.path(folder / FAILURES), FAILURE_COLUMNS, failures)
    if results:
        _write_parquet(results, columns, folder, staging)


def _write_parquet(rows: Sequence[dict[str, Any]], columns: Sequence[str], folder: Path, staging: Staging) -> None:
    try:
        import pandas
        import pyarrow  # noqa: F401 — that pandas writes with
    except (ImportError, AttributeError, ValueError):  # not there, or built for another numpy
        return
    table = pandas.DataFrame(rows, columns=list(columns))
    sizes = [name for name in columns if name not in RESULT_COLUMNS or name.startswith(tuple(f"{r}_" for r in REGIONS))]
    table.astype(dict.fromkeys(sizes, "float64")).to_parquet(staging.path(folder / PARQUET))


def _write(file: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(map(_cell, columns))  # a model's own regions are called as it likes
        writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else spreadsheet_cell(str(value))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
