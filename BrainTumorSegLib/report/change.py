"""One page about how a tumour changed between two examinations: self-contained, as that about a case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..longitudinal import Change, TimePoint
from ..longitudinal.rano import TITLES
from ..preprocessing.registration import Registration
from .figures.changes import changes
from .figures.overlays import FALSE, MISSED
from .page import Group, Picture, Row, Table, render
from .records import facts
from .words import NOTHING, millilitres, number


def write_change_report(change: Change, path: Path) -> None:
    """Write the page as one HTML file without links to anything outside it.

    Args:
        change: of two examinations.
        path: file to write, whatever its suffix.

    Raises:
        OSError: the disk refused.
    """
    text = render(
        "change.html",
        title=f"{change.earlier.case} → {change.later.case}",
        kicker="Change of a brain tumour",
        sortable=False,
        warnings=change.warnings,
        sizes=_sizes(change),
        responses=_responses(change),
        lesions=_lesions(change),
        rows=pictured(change),
        new=FALSE,
        gone=MISSED,
        about=facts(_about(change)),
    )
    Path(path).write_bytes(text.encode("utf-8"))


def pictured(change: Change, regions: Sequence[str] = ("WT", "TC", "ET")) -> list[list[tuple[Picture, str]]]:
    """Rows of pictures with their titles, see :func:`.changes`."""
    return [
        [(Picture(panel.jpeg(), panel.description), panel.title) for panel in row.panels]
        for row in changes(change, regions)
    ]


def signed(value: float, digits: int = 1) -> str:
    """A number with its sign; a dash where there is none."""
    text = number(value, digits)
    if text == NOTHING:
        return text
    return f"+{text}" if value > 0 and float(text) else text.replace("-", "\N{MINUS SIGN}")


def share_words(share: float) -> str:
    """A change as per cent, with its sign; a dash where there is none."""
    text = signed(100 * share, 0)
    return text if text == NOTHING else f"{text} %"


def _sizes(change: Change) -> Table:
    rows = tuple(
        Row(
            name,
            (
                millilitres(each.earlier.volume_ml),
                millilitres(each.later.volume_ml),
                signed(each.change_ml),
                share_words(each.change_share),
                *(millilitres(part) for part in (each.kept_ml, each.new_ml, each.gone_ml)),
                signed(each.growth_mm_a_year),
            ),
            region=True,
        )
        for name, each in change.regions.items()
    )
    heads = ("Region", "Earlier (mL)", "Later (mL)", "Change (mL)", "Change", "Kept (mL)", "New (mL)", "Gone (mL)")
    return Table("Volumes", (*heads, "Growth (mm a year)"), (Group(rows),))


def _responses(change: Change) -> Table:
    rows = tuple(
        Row(
            name,
            (
                *(number(product, 0) for product in each.products_mm2),
                signed(100 * (each.products_mm2[1] / each.products_mm2[0] - 1), 0) if each.products_mm2[0] else NOTHING,
                TITLES[each.by_diameters],
                TITLES[each.by_volume],
            ),
            region=True,
        )
        for name, each in change.regions.items()
        if each.by_volume
    )
    heads = ("Region", "Earlier (mm²)", "Later (mm²)", "Change (%)", "By diameters", "By volume")
    return Table(
        "Sums of products of perpendicular diameters, and what RANO calls the change by size alone",
        heads,
        (Group(rows),),
    )


def _lesions(change: Change) -> Table | None:
    rows = tuple(
        Row(name, (str(each.lesions.kept), str(each.lesions.new), str(each.lesions.gone)), region=True)
        for name, each in change.regions.items()
        if each.lesions
    )
    heads = ("Region", "In both", "New", "Gone")
    return Table("Lesions", heads, (Group(rows),)) if rows else None


def _about(change: Change) -> dict[str, Any]:
    """How the comparison came about."""
    found: dict[str, Any] = {name: examination(point) for name, point in
                             (("earlier", change.earlier), ("later", change.later))}  # fmt: skip
    if change.days:
        found["days_between"] = str(change.days)
    if change.overlaid:
        found["registration"] = registered(change.overlaid.move)
    return found


def registered(move: Registration) -> str:
    """A registration in words."""
    return (
        f"earlier to later, moved by up to {move.displacement_mm:.1f} mm, turned by {move.angle_deg:.1f}°; local"
        f" correlation {move.before:.2f} before, {move.quality:.2f} after"
    )


def examination(point: TimePoint) -> dict[str, str]:
    """Files and model of one."""
    model = point.record.provenance.model if point.record else None
    found = {"result": str(point.file), "image": point.image.source if point.image else NOTHING}
    return found | ({"model": f"{model.id} {model.version}".strip()} if model else {})
