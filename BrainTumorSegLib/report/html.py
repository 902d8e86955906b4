"""One page about a result: self-contained, so that it can be mailed, printed and archived as one file."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template
from typing import Any

from .. import __version__
from ..case import Case
from ..labels import REGIONS
from ..modalities import TITLES
from ..segmentation import RegionMeasurement, Segmentation
from .montage import render_montage
from .words import DISCLAIMER, NOTHING, millilitres, number, percent, printable

_PROVENANCE_TITLES = {
    "model": "Model",
    "inputs": "Images",
    "reference": "Grid of the result",
    "preprocessing": "Preprocessing",
    "device": "Device",
    "precision": "Precision",
    "mirror": "Mirrorings averaged",
    "seconds": "Seconds",
    "versions": "Versions",
}
_FIELD_TITLES = {"id": "Name", "sha256": "SHA-256", "braintumorseg": "BrainTumorSeg", "torch": "PyTorch", **TITLES}
_MEASURE_TITLES = {"dice": "Dice", "hd95": "HD95 (mm)", "iou": "IoU"}


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
    page = _PAGE.substitute(
        style=_STYLE,
        case=_escape(segmentation.case_id),
        disclaimer=_escape(DISCLAIMER),
        warnings=_warnings(segmentation.warnings),
        volumes=_volumes(sizes),
        agreement=_agreement(reference) if reference else "",
        picture=base64.b64encode(render_montage(case, segmentation)).decode("ascii"),
        description=_escape(_description(case, sizes)),
        provenance=_provenance(segmentation.provenance),
        version=_escape(__version__),
    )
    Path(path).write_bytes(page.encode("utf-8"))


def _escape(value: object) -> str:
    return html.escape(printable(value))


def _warnings(sentences: Iterable[str]) -> str:
    items = "".join(f"<li>{_escape(sentence)}</li>" for sentence in sentences)
    return f'<section class="warnings"><h2>Please note</h2><ul>{items}</ul></section>' if items else ""


def _table(caption: str, head: Iterable[str], rows: Iterable[str]) -> str:
    """A table that scrolls by itself where the screen is narrower; cells are HTML already."""
    heads = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    return (
        f'<div class="wide" role="region" aria-label="{caption}" tabindex="0"><table><caption>{caption}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _row(title: str, cells: Iterable[str]) -> str:
    return f'<tr><th scope="row">{title}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _region(name: str) -> str:
    """The name of a region behind a patch of its colour."""
    if name not in REGIONS:
        return _escape(name)
    region = REGIONS[name]
    red, green, blue = region.colour
    patch = f'<span class="patch" style="background:rgb({red},{green},{blue})"></span>'
    return f'<span class="region">{patch}<span>{_escape(region.title)} <abbr>{name}</abbr></span></span>'


def _volumes(sizes: Mapping[str, RegionMeasurement]) -> str:
    rows = [
        _row(
            _region(name),
            (
                millilitres(size.volume_ml),
                percent(size.share),
                str(size.lesions),
                number(size.largest_diameter_mm) if size.lesions else NOTHING,
                number(size.largest_axial_diameter_mm) if size.lesions else NOTHING,
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
    )
    return _table("Sizes", head, rows)


def _agreement(reference: Mapping[str, Any]) -> str:
    """Table of region → measure → value; what is no region's becomes a remark below it."""
    regions = {name: values for name, values in reference.items() if isinstance(values, Mapping)}
    measures = list(dict.fromkeys(measure for values in regions.values() for measure in values))
    rows = [_row(_region(name), (_measure(m, values.get(m)) for m in measures)) for name, values in regions.items()]
    head = ["Region", *(_escape(_MEASURE_TITLES.get(measure, _spoken(measure))) for measure in measures)]
    table = _table("Agreement with the reference", head, rows) if regions else ""
    remarks = ((_spoken(name), value) for name, value in reference.items() if name not in regions)
    notes = "".join(f"<p>{_escape(name)}: {_value(value)}</p>" for name, value in remarks)
    return f"<section>{table}{notes}</section>"


def _measure(name: str, value: Any) -> str:
    """A measured value: distances to a tenth of a millimetre, ratios to a thousandth."""
    return number(value, 1) if "hd" in str(name) and isinstance(value, float) else _value(value)


def _spoken(key: str) -> str:
    """A key as words: ``lesion_wise`` → ``Lesion wise``."""
    words = str(key).replace("_", " ")
    return words[:1].upper() + words[1:]


def _value(value: Any) -> str:
    """A plain value as HTML."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value, 3)
    return _escape(value)


def _provenance(provenance: Mapping[str, Any]) -> str:
    rows = [
        _row(_escape(_PROVENANCE_TITLES.get(key, _spoken(key))), (_entry(key, v),)) for key, v in provenance.items()
    ]
    return _table("How the result came about", ("What", "Value"), rows) if rows else "<p>Nothing was recorded.</p>"


def _entry(key: str, value: Any) -> str:
    """A record as HTML: mappings and sequences as lists."""
    if isinstance(value, Mapping):
        return _list(f"{_escape(_FIELD_TITLES.get(k, _spoken(k)))}: <code>{_value(v)}</code>" for k, v in value.items())
    if isinstance(value, list | tuple):
        return _list(_value(item) for item in value) if value else "none"
    if key == "reference":
        return f"that of {_escape(TITLES.get(value, value))}"
    return f"{value:.1f}" if key == "seconds" and isinstance(value, float) else _value(value)


def _list(items: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


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


_STYLE = """
:root { color-scheme: light dark; --ground: #fff; --panel: #f5f7f9; --text: #16202b; --quiet: #55606c;
  --line: #d5dbe1; --note: #fff4d6; --note-edge: #c98a00; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0d1117; --panel: #161c24; --text: #f0f3f6; --quiet: #a6b0bb; --line: #303a45;
    --note: #33290f; --note-edge: #e0a526; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--text); line-height: 1.5;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 1.25rem 1rem 3rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .2rem 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 .6rem; }
section { margin-top: 1.75rem; }
.kicker, footer, figcaption { color: var(--quiet); font-size: .9rem; }
.kicker { margin: 0; }
.disclaimer { margin: 0; padding: .7rem 1rem; font-weight: 700; border-radius: .4rem;
  background: var(--note); border-left: .35rem solid var(--note-edge); }
.warnings { padding: .8rem 1rem; border: 1px solid var(--note-edge); border-radius: .4rem; }
ul { margin: 0; padding-left: 1.1rem; }
figure { margin: 0; }
.wide { overflow-x: auto; }
img { display: block; width: 100%; min-width: 42rem; height: auto; border-radius: .4rem; }
figcaption { margin-top: .5rem; }
table { border-collapse: collapse; width: 100%; background: var(--panel); border-radius: .4rem; }
caption { text-align: left; padding-bottom: .5rem; font-weight: 700; font-size: 1.15rem; }
th, td { padding: .5rem .75rem; text-align: right; vertical-align: top; border-bottom: 1px solid var(--line);
  font-variant-numeric: tabular-nums; }
th:first-child, .record td, .record th { text-align: left; }
thead th { color: var(--quiet); font-size: .85rem; vertical-align: bottom; }
tbody th { font-weight: 600; }
tbody tr:last-child > * { border-bottom: 0; }
.record td { overflow-wrap: anywhere; }
.record td ul { list-style: none; padding: 0; }
.record th:first-child { width: 11rem; }
.region { display: inline-flex; gap: .5em; align-items: baseline; }
.patch { flex: none; width: .8em; height: .8em; border-radius: .15em;
  print-color-adjust: exact; -webkit-print-color-adjust: exact; }
abbr { color: var(--quiet); font-weight: 400; }
code { font-size: .88em; }
@media (max-width: 36rem) { th, td { padding: .4rem .5rem; } .record th:first-child { width: 6rem; } }
@media print {
  :root { color-scheme: light; --ground: #fff; --panel: #fff; --text: #000; --quiet: #444; --line: #bbb;
    --note: #fff; --note-edge: #000; }
  @page { margin: 15mm; }
  main { max-width: none; padding: 0; }
  body { font-size: 10pt; }
  img { min-width: 0; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  .wide { overflow: visible; }
  figure, table, .warnings { break-inside: avoid; }
}
"""

# The policy lets nothing in but what the page itself holds, should an odd name ever get past the escaping.
_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>$case – brain tumour segmentation</title>
<style>$style</style>
</head>
<body>
<main>
<header>
<p class="kicker">Brain tumour segmentation</p>
<h1>$case</h1>
<p class="disclaimer">$disclaimer</p>
</header>
$warnings
<section>$volumes</section>
$agreement
<section>
<h2>Picture</h2>
<figure>
<div class="wide" role="region" aria-label="Picture" tabindex="0">
<img src="data:image/png;base64,$picture" alt="$description">
</div>
<figcaption>Axial slices in radiological view: the patient's left is on the right.</figcaption>
</figure>
</section>
<section class="record">$provenance</section>
<footer><p>Written by BrainTumorSeg $version. $disclaimer</p></footer>
</main>
</body>
</html>
""")
