"""What pages show, as plain data, and the templates that make HTML of it. All that is shown is inside the one file."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        title: its heading, or the name of a region or tissue, which is shown behind its colour.
        cells: one a further column; a cell of several lines is a tuple.
        region: whether the title is the name of a region.
    """

    title: str
    cells: tuple[str | tuple[str, ...], ...]
    region: bool = False


@dataclass(frozen=True)
class Group:
    """Rows of a table under a heading of their own; none where there is no title."""

    rows: tuple[Row, ...]
    title: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        caption: what it shows.
        heads: one a column.
        groups: its rows.
        style: classes; ``untitled`` shows no caption where a heading stands above already, ``grid`` has many numbers.
    """

    caption: str
    heads: tuple[str, ...]
    groups: tuple[Group, ...]
    style: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG or JPEG, with words for those who cannot see it."""

    content: bytes
    description: str

    @property
    def source(self) -> str:
        """The picture as a ``data:`` address."""
        kind = "png" if self.content.startswith(b"\x89PNG") else "jpeg"
        return f"data:image/{kind};base64,{base64.b64encode(self.content).decode('ascii')}"


def render(template: str, **values: Any) -> str:
    """A template of this package filled in; values are escaped unless they are :class:`Markup` made here."""
    return _templates().get_template(template).render(values)


def colour_of(region: str) -> tuple[float, float, float]:
    """Red, green and blue, 0 to 1, of a region or tissue; grey for what is neither."""
    red, green, blue = (part / 255 for part in _KNOWN[region].colour) if region in _KNOWN else (0.5, 0.5, 0.5)
    return red, green, blue


@cache
def _templates() -> Environment:
    found = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: value if isinstance(value, Markup) else printable(value),
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = found.get_template("sort.js").render()
    found.globals.update(
        disclaimer=DISCLAIMER,
        version=__version__,
        regions=_KNOWN,
        all_regions=ALL,
        # The policy of a page lets this script run and no other.
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )
    return found
