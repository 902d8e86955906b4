"""What every page is built of: skeleton, tables, pictures. All that is shown is inside the one file."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .. import __version__
from ..domain.labels import REGIONS, TISSUES
from ..evaluation.metrics.measures import ALL
from .words import DISCLAIMER, printable

_KNOWN = {**TISSUES, **REGIONS}


def escape(value: object) -> str:
    """Text as HTML, whatever it holds."""
    return html.escape(printable(value))


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else printable(value),
        keep_trailing_newline=True,
    )


def render(template: str, **values: Any) -> str:
    """A template of this package filled in; values are escaped unless the template says that they are HTML."""
    return _templates().get_template(template).render(values)


def page(title: str, kicker: str, sections: Iterable[str], *, lead: str = "", sortable: bool = False) -> str:
    """A whole page from its sections.

    Args:
        title: the heading, plain text.
        kicker: the line above it, plain text: what kind of page this is.
        sections: HTML, in order.
        lead: HTML between the heading and the first section.
        sortable: let a click on a column's heading sort the tables made by ``sorted_by`` heads.
    """
    digest = base64.b64encode(hashlib.sha256(_SORT.encode()).digest()).decode("ascii")
    return render(
        "base.html",
        # The policy lets nothing in but what the page itself holds, should an odd name get past the escaping.
        policy="default-src 'none'; img-src data:; style-src 'unsafe-inline'"
        + (f"; script-src 'sha256-{digest}'" if sortable else ""),
        title=title,
        kicker=kicker,
        lead=lead,
        sections=[section for section in sections if section],
        disclaimer=DISCLAIMER,
        version=__version__,
        script=_SORT if sortable else "",
    )


def section(title: str, content: str, *, anchor: str = "", style: str = "") -> str:
    """A section under a heading; the content is HTML."""
    attributes = (f' id="{anchor}"' if anchor else "") + (f' class="{style}"' if style else "")
    return f"<section{attributes}><h2>{escape(title)}</h2>{content}</section>"


def warnings(sentences: Iterable[str]) -> str:
    """A box that a reader cannot miss; nothing where there is nothing to say."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<section class="warnings"><h2>Please note</h2><ul>{items}</ul></section>' if items else ""


def table(caption: str, head: Iterable[str], rows: Iterable[str], *, style: str = "") -> str:
    """A table that scrolls by itself where the screen is narrower; cells are HTML already.

    Args:
        caption: what it shows.
        head: one cell a column.
        rows: made by :func:`row`; those that are whole ``<tbody>`` elements stand as they are.
        style: classes of the table; ``untitled`` shows no caption where a heading stands above already.
    """
    heads = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    return framed_table(caption, f"<tr>{heads}</tr>", rows, style=style)


def framed_table(caption: str, head: str, rows: Iterable[str], *, style: str = "") -> str:
    """The same with a head of any number of rows."""
    body = "".join(rows)
    body = body if body.startswith("<tbody") else f"<tbody>{body}</tbody>"
    opening = f'<table class="{style}">' if style else "<table>"
    return (
        f'<div class="wide" role="region" aria-label="{escape(caption)}" tabindex="0">{opening}'
        f"<caption>{escape(caption)}</caption><thead>{head}</thead>{body}</table></div>"
    )


def row(title: str, cells: Iterable[str], *, style: str = "") -> str:
    """A row of a table: its heading and its cells, HTML already."""
    heading = f'<th scope="row" class="{style}">' if style else '<th scope="row">'
    return f"<tr>{heading}{title}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def colour_of(region: str) -> tuple[float, float, float]:
    """Red, green and blue, 0 to 1, of a region or tissue; grey for what is neither."""
    red, green, blue = (part / 255 for part in _KNOWN[region].colour) if region in _KNOWN else (0.5, 0.5, 0.5)
    return red, green, blue


def region_label(name: str, *, short: bool = False) -> str:
    """The name of a region behind a patch of its colour, or its abbreviation alone."""
    if name not in _KNOWN:
        return "All regions" if name == ALL else escape(name)
    region = _KNOWN[name]
    if short:
        words = f'<abbr title="{escape(region.title)}">{name}</abbr>'
    else:
        words = f"<span>{escape(region.title)} <abbr>{name}</abbr></span>"
    return f'<span class="region">{patch(region.colour)}{words}</span>'


def patch(colour: Sequence[int], *, ring: bool = False) -> str:
    """A patch of a colour, or a ring for an outline."""
    red, green, blue = colour
    look = "border-color" if ring else "background"
    return f'<span class="patch{" ring" if ring else ""}" style="{look}:rgb({red},{green},{blue})"></span>'


def listing(items: Iterable[str], *, style: str = "") -> str:
    """A list; items are HTML."""
    opening = f'<ul class="{style}">' if style else "<ul>"
    return f"{opening}{''.join(f'<li>{item}</li>' for item in items)}</ul>"


def picture(content: bytes, description: str) -> str:
    """A PNG or JPEG inside the page, with words for those who cannot see it."""
    kind = "png" if content.startswith(b"\x89PNG") else "jpeg"
    data = base64.b64encode(content).decode("ascii")
    return f'<img src="data:image/{kind};base64,{data}" alt="{escape(description)}">'


def sorted_by(title: str) -> str:
    """A column heading that sorts its table; plain text."""
    return f'<button type="button">{escape(title)}</button>'


# Sorts by the number that a cell shows, or its text; cells without a number come last both ways.
_SORT = """
document.querySelectorAll("th button").forEach(button => button.addEventListener("click", () => {
  const head = button.closest("th"), table = head.closest("table"), body = table.tBodies[0];
  const up = head.getAttribute("aria-sort") !== "ascending", column = Number(head.dataset.column);
  const key = row => { const text = row.cells[column].textContent.trim().replace("\\u2212", "-");
    const value = parseFloat(text); return column === 0 ? text : Number.isNaN(value) ? null : value; };
  const order = (a, b) => typeof a === "string" ? a.localeCompare(b, undefined, {numeric: true}) : a - b;
  const rows = Array.from(body.rows).map(row => [key(row), row]);
  rows.sort(([a], [b]) => a === null || b === null ? (a === null) - (b === null) : up ? order(a, b) : order(b, a));
  table.querySelectorAll("[aria-sort]").forEach(other => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  rows.forEach(([, row]) => body.append(row));
}));
"""
