"""One page about a result: self-contained, so that it can be mailed, printed and archived as one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..domain.case import Case
from ..domain.labels import REGIONS
from ..domain.measurements import RegionMeasurement
from ..domain.modalities import TITLES
from ..domain.result_record import ResultRecord
from ..domain.segmentation import Segmentation
from ..quality.plausibility import IMPLAUSIBLE
from .figures.montage import render_montage
from .page import Group, Picture, Row, Table, render
from .records import facts, plain, stated
from .words import NOTHING, measure_title, measured, millilitres, number, percent, spoken


def write_report(case: Case, segmentation: Segmentation, path: Path, reference: dict[str, Any] | None = None) -> None:
    """Write the page as one HTML file without links to anything outside it.

    Args:
        case: the images that were segmented.
        segmentation: the result.
        path: file to write, whatever its suffix.
        reference: agreement with a reference segmentation, region → measure → value; other entries are
            printed as remarks.

    Raises:
        OSError: the disk refused.
    """
    record = ResultRecord.of(segmentation)
    text = render(
        "case.html",
        title=record.case,
        kicker="Brain tumour segmentation",
        sortable=False,
        warnings=record.warnings,
        sizes=_sizes(record),
        withheld=_withheld(record),
        agreement=_agreement(reference or {}),
        remarks=_remarks(reference or {}),
        picture=Picture(render_montage(case, segmentation), _description(case, record.measurements)),
        provenance=facts(stated(record.provenance)),
    )
    Path(path).write_bytes(text.encode("utf-8"))


def _sizes(record: ResultRecord) -> Table:
    withheld = _withheld(record)
    rows = []
    for name, size in record.measurements.items():
        cells = (
            millilitres(size.volume_ml),
            percent(size.share),
            str(size.lesions),
            number(size.largest_diameter_mm) if size.lesions else NOTHING,
            number(size.largest_axial_diameter_mm) if size.lesions else NOTHING,
            _expected(record, name, "withheld" if withheld and size.lesions else NOTHING),
        )
        rows.append(Row(name, cells, region=True))
    heads = (
        "Region",
        "Volume (mL)",
        "Share of the tumour",
        "Lesions",
        "Largest diameter (mm)",
        "In an axial slice (mm)",
        "Expected Dice",
    )
    return Table("Sizes", heads, (Group(tuple(rows)),))


def _expected(record: ResultRecord, region: str, otherwise: str) -> str:
    return measured("dice", record.confidence[region]) if region in record.confidence else otherwise


def _withheld(record: ResultRecord) -> str:
    """Why no Dice is expected: the warning of the plausibility check; empty where it found nothing."""
    if record.confidence:
        return ""
    return next((warning for warning in record.warnings if warning.startswith(IMPLAUSIBLE)), "")


def _agreement(reference: Mapping[str, Any]) -> Table | None:
    """Table of region → measure → value."""
    regions = {name: values for name, values in reference.items() if isinstance(values, Mapping)}
    names = list(dict.fromkeys(name for values in regions.values() for name in values))
    rows = tuple(
        Row(region, tuple(_cell(name, values.get(name)) for name in names), region=True)
        for region, values in regions.items()
    )
    heads = ("Region", *(measure_title(name) for name in names))
    return Table("Agreement with the reference", heads, (Group(rows),)) if rows else None


def _remarks(reference: Mapping[str, Any]) -> list[str]:
    """What is said of an agreement and is no region's."""
    rest = ((name, value) for name, value in reference.items() if not isinstance(value, Mapping))
    return [f"{spoken(name)}: {plain(value)}" for name, value in rest]


def _cell(name: str, value: Any) -> str:
    return measured(str(name), value) if isinstance(value, float) else plain(value)


def _description(case: Case, measurements: Mapping[str, RegionMeasurement]) -> str:
    """The picture in words, for those who cannot see it."""
    sequences = ", ".join(TITLES[modality] for modality in case.modalities)
    sizes = ", ".join(
        f"{REGIONS[name].title.lower() if name in REGIONS else name} {millilitres(size.volume_ml)} mL"
        for name, size in measurements.items()
    )
    return (
        f"Axial slices of {sequences} with the outlines of the segmented regions ({sizes}), and projections of the "
        "tumour within the head. The patient's left is on the right."
    )
