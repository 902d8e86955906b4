"""One page about a result: self-contained, so that it can be mailed, printed and archived as one file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..domain.case import Case
from ..domain.labels import REGIONS
from ..domain.measurements import RegionMeasurement
from ..domain.modalities import TITLES
from ..domain.segmentation import Segmentation
from .figures.montage import render_montage
from .page import escape, page, picture, region_label, row, section, table, warnings
from .records import plain, provenance, spoken
from .words import NOTHING, measure_title, measured, millilitres, number, percent

_WITHHELD = "withheld"


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
    sizes = segmentation.measurements
    sections = (
        warnings(segmentation.warnings),
        f"<section>{_volumes(sizes, segmentation)}</section>",
        _agreement(reference) if reference else "",
        section("Picture", _picture(case, segmentation, sizes)),
        f"<section>{provenance(segmentation.provenance)}</section>",
    )
    text = page(segmentation.case_id, "Brain tumour segmentation", sections)
    Path(path).write_bytes(text.encode("utf-8"))


def _volumes(sizes: Mapping[str, RegionMeasurement], segmentation: Segmentation) -> str:
    rows = [
        row(
            region_label(name),
            (
                millilitres(size.volume_ml),
                percent(size.share),
                str(size.lesions),
                number(size.largest_diameter_mm) if size.lesions else NOTHING,
                number(size.largest_axial_diameter_mm) if size.lesions else NOTHING,
                _expected(name, size, segmentation),
            ),
        )
        for name, size in sizes.items()
    ]
    head = (
        "Region",
        "Volume (mL)",
        "Share of the tumour",
        "Lesions",
        "Largest diameter (mm)",
        "In an axial slice (mm)",
        "Expected Dice",
    )
    found = table("Sizes", head, rows)
    if any(_expected(name, size, segmentation) == _WITHHELD for name, size in sizes.items()):
        found += '<p class="quiet">The expected Dice is withheld for the reason given under “Please note”.</p>'
    return found


def _expected(name: str, size: RegionMeasurement, segmentation: Segmentation) -> str:
    """The expected Dice; where a check withheld it, the word for that."""
    if name in segmentation.confidence:
        return measured("dice", segmentation.confidence[name])
    return _WITHHELD if size.lesions and segmentation.warnings else NOTHING


def _agreement(reference: Mapping[str, Any]) -> str:
    """Table of region → measure → value; what is no region's becomes a remark below it."""
    regions = {name: values for name, values in reference.items() if isinstance(values, Mapping)}
    names = list(dict.fromkeys(name for values in regions.values() for name in values))
    rows = [
        row(region_label(region), (_cell(name, values.get(name)) for name in names))
        for region, values in regions.items()
    ]
    head = ["Region", *(escape(measure_title(name)) for name in names)]
    found = table("Agreement with the reference", head, rows) if regions else ""
    remarks = ((spoken(name), value) for name, value in reference.items() if name not in regions)
    notes = "".join(f"<p>{escape(name)}: {plain(value)}</p>" for name, value in remarks)
    return f"<section>{found}{notes}</section>"


def _cell(name: str, value: Any) -> str:
    return measured(str(name), value) if isinstance(value, float) else plain(value)


def _picture(case: Case, segmentation: Segmentation, sizes: Mapping[str, RegionMeasurement]) -> str:
    image = picture(render_montage(case, segmentation), _description(case, sizes))
    return (
        f'<figure><div class="wide montage" role="region" aria-label="Picture" tabindex="0">{image}</div>'
        "<figcaption>Axial slices in radiological view: the patient's left is on the right.</figcaption></figure>"
    )


def _description(case: Case, measurements: Mapping[str, RegionMeasurement]) -> str:
    """The picture in words, for those who cannot see it."""
    sequences = ", ".join(TITLES[modality] for modality in case.modalities)
    sizes = ", ".join(
        f"{REGIONS[name].title.lower()} {millilitres(size.volume_ml)} mL" for name, size in measurements.items()
    )
    return (
        f"Axial slices of {sequences} with the outlines of the segmented regions ({sizes}), and projections of the "
        "tumour within the head. The patient's left is on the right."
    )
