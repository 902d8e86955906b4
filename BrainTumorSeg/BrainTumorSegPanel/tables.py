"""Measurements as rows: for the panel's tables, the clipboard and CSV files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from BrainTumorSegLib.domain.text_table import spreadsheet_cell
from BrainTumorSegLib.io.staging import atomic

# Field of RegionMeasurement → factor and format in the panel.
_SHOWN = {
    "volume_ml": (1, "{:.2f}"),
    "share": (100, "{:.1f}"),
    "lesions": (1, "{:d}"),
    "largest_diameter_mm": (1, "{:.1f}"),
    "largest_axial_diameter_mm": (1, "{:.1f}"),
}
_DIGITS = 3  # of agreement, at most: the panel is narrow


@dataclass(frozen=True)
class Table:
    """A header and rows of text."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self) -> str:
        """Tab-separated, as spreadsheets paste it."""
        return "\n".join("\t".join(row) for row in (self.header, *self.rows)) + "\n"


def measurement_table(measurements: Mapping[str, Any]) -> Table:
    """For the panel: a row a region."""
    header = (
        _("Region"), _("Volume (mL)"), _("Share (%)"), _("Lesions"), _("Longest (mm)"), _("Axial (mm)")
    )  # fmt: skip
    rows = []
    for region, sizes in measurements.items():
        values = asdict(sizes)
        rows.append((region, *(_cell(values[name], *how) for name, how in _SHOWN.items())))
    return Table(header, tuple(rows))


def _cell(value: float, factor: int, form: str) -> str:
    return form.format(value * factor) if math.isfinite(value) else "–"


def csv_rows(measurements: Mapping[str, Any]) -> list[dict[str, Any]]:
    """For files: a row a region, in the library's own names and units."""
    return [
        {"region": region, **{name: "" if _is_nan(v) else v for name, v in asdict(sizes).items()}}
        for region, sizes in measurements.items()
    ]


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def write_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows whole or not at all; the columns are those of all rows, in the order in which they come."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: spreadsheet_cell(v) if isinstance(v, str) else v for k, v in row.items()} for row in rows)
    with atomic(path) as part:
        part.write_text(text.getvalue(), encoding="utf-8")


def comparison_table(measures: Mapping[str, Mapping[str, Any]], described: Mapping[str, Any]) -> Table:
    """For the panel: a row a region, a column a measure, whatever they are.

    Args:
        measures: region → measure → value.
        described: measure → its description, with ``label`` and ``digits``.
    """
    names = list(dict.fromkeys(name for values in measures.values() for name in values))
    header = [described[name].label if name in described else name for name in names]
    digits = [min(described[name].digits, _DIGITS) if name in described else _DIGITS for name in names]
    rows = [
        (region, *(_figure(values.get(name), shown) for name, shown in zip(names, digits, strict=True)))
        for region, values in measures.items()
    ]
    return Table((_("Region"), *header), tuple(rows))


def _figure(value: float | None, digits: int) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def fill(widget: Any, table: Table | None) -> None:
    """Show a table in a QTableWidget, read-only; None empties it."""
    import qt

    rows = table.rows if table else ()
    header = table.header if table else ()
    widget.clear()
    widget.setRowCount(len(rows))
    widget.setColumnCount(len(header))
    # Units below the names: the panel is narrow.
    widget.setHorizontalHeaderLabels([name.replace(" (", "\n(") for name in header])
    for row, cells in enumerate(rows):
        for column, text in enumerate(cells):
            item = qt.QTableWidgetItem(text)
            item.setFlags(qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled)
            widget.setItem(row, column, item)
    widget.verticalHeader().setVisible(False)
    widget.resizeColumnsToContents()
