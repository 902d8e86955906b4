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
_MOST_ROWS = 12  # more are scrolled
_DIGITS = 3  # of agreement, at most: the panel is narrow


@dataclass(frozen=True)
class Table:
    """A header and rows of text."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self) -> str:
        """Tab-separated, as spreadsheets paste it."""
        return "\n".join("\t".join(row) for row in (self.header, *self.rows)) + "\n"


def measurement_table(measurements: Mapping[str, Any], expected_dice: Mapping[str, float]) -> Table:
    """For the panel: a row a region; the column of the expected Dice only where there is one."""
    header = [_("Region"), _("Volume (mL)"), _("Share (%)"), _("Lesions"), _("Longest (mm)"), _("Axial (mm)")]
    if expected_dice:
        header.append(_("Dice (exp.)"))
    rows = []
    for region, sizes in measurements.items():
        values = asdict(sizes)
        row = [region, *(_cell(values[name], *how) for name, how in _SHOWN.items())]
        if expected_dice:
            row.append(_cell(expected_dice.get(region, math.nan), 1, "{:.2f}"))
        rows.append(tuple(row))
    return Table(tuple(header), tuple(rows))


def _cell(value: float, factor: int, form: str) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value * factor:.1f}" if form == "{:.2f}" and value >= 100 else form.format(value * factor)


def csv_rows(measurements: Mapping[str, Any], expected_dice: Mapping[str, float] | None = None) -> list[dict[str, Any]]:
    """For files: a row a region, in the library's own names and units; with the expected Dice where it is given."""
    rows = []
    for region, sizes in measurements.items():
        row = {"region": region, **{name: "" if _is_nan(v) else v for name, v in asdict(sizes).items()}}
        if expected_dice is not None:
            row["expected_dice"] = expected_dice.get(region, "")
        rows.append(row)
    return rows


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


def change_table(regions: Mapping[str, Mapping[str, Any]]) -> Table:
    """For the panel: a row a region, from what ``braintumorseg compare`` writes of each."""
    header = (_("Region"), _("Earlier (mL)"), _("Later (mL)"), _("Change (%)"), _("New / gone"),
              _("RANO (2D)"), _("RANO (3D)"))  # fmt: skip
    rows = []
    for region, change in regions.items():
        share, lesions, called = change["change_share"], change["lesions"], change["response"]
        rows.append(
            (
                region,
                *(_cell(change[when]["volume_ml"], *_SHOWN["volume_ml"]) for when in ("earlier", "later")),
                "–" if share is None else f"{100 * share:+z.0f}".replace("-", "\N{MINUS SIGN}"),
                f"{lesions['new']} / {lesions['gone']}" if lesions else "–",
                *(called[name] or "–" for name in ("by_diameters", "by_volume")),
            )
        )
    return Table(header, tuple(rows))


def _figure(value: float | None, digits: int) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def fill(
    widget: Any,
    table: Table | None,
    colours: Mapping[str, tuple[int, int, int]] | None = None,
    *,
    even: bool = False,
) -> None:
    """Show a table in a QTableWidget, read-only, as high as its rows; None empties it.

    Args:
        widget: the QTableWidget.
        table: what it shows.
        colours: first cell of a row → colour of the swatch before it.
        even: figures in columns of one width over the whole of it; else each is as wide as its texts.
    """
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
            if column and even:
                item.setTextAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
            elif colours and text in colours:
                item.setIcon(qt.QIcon(_swatch(colours[text])))
            widget.setItem(row, column, item)
    _fit(widget, len(rows), even)


def _swatch(colour: tuple[int, int, int]) -> Any:
    import qt

    picture = qt.QPixmap(24, 24)
    picture.fill(qt.QColor(*colour))
    return picture


def _fit(widget: Any, count: int, even: bool) -> None:
    """Columns over the whole width, and no empty block below the rows."""
    import qt

    line = widget.fontMetrics().height()
    head, row = 2 * line + 6, line + 8
    widget.setTabKeyNavigation(False)  # Tab goes on to the next part of the panel
    rows, columns = widget.verticalHeader(), widget.horizontalHeader()
    rows.setVisible(False)
    rows.setSectionResizeMode(qt.QHeaderView.Fixed)
    rows.setDefaultSectionSize(row)
    font = columns.font
    font.setPointSizeF(0.85 * widget.font.pointSizeF())
    columns.setFont(font)
    columns.setFixedHeight(head)
    columns.setMinimumSectionSize(20)
    columns.setSectionResizeMode(qt.QHeaderView.Stretch if even else qt.QHeaderView.ResizeToContents)
    columns.setStretchLastSection(not even)
    if even and widget.columnCount:  # its names are longer than figures
        columns.setSectionResizeMode(0, qt.QHeaderView.ResizeToContents)
    widget.setIconSize(qt.QSize(line - 6, line - 6))
    bar = 0 if even else widget.style().pixelMetric(qt.QStyle.PM_ScrollBarExtent)
    widget.setFixedHeight(head + min(count, _MOST_ROWS) * row + 2 * widget.frameWidth + bar)
