"""Records as HTML: provenance, values of any kind, a model's card."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from ..domain.modalities import TITLES
from .page import escape, listing, row, table
from .words import NOTHING, number

_PROVENANCE_TITLES = {
    "model": "Model",
    "inputs": "Images",
    "reference": "Grid of the result",
    "preprocessing": "Preprocessing",
    "device": "Device",
    "precision": "Precision",
    "tta": "Test-time augmentation",
    "seconds": "Seconds",
    "versions": "Versions",
}
_FIELD_TITLES = {"id": "Name", "sha256": "SHA-256", "braintumorseg": "BrainTumorSeg", "torch": "PyTorch", **TITLES}


def spoken(key: str) -> str:
    """A key as words: ``lesion_wise`` → ``Lesion wise``."""
    words = str(key).replace("_", " ")
    return words[:1].upper() + words[1:]


def plain(value: Any) -> str:
    """A plain value as HTML."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value, 3)
    return escape(value)


def record(
    caption: str, entries: Mapping[str, Any], titles: Mapping[str, str] | None = None, *, untitled: bool = False
) -> str:
    """A table of what and value; mappings and sequences become lists.

    Args:
        caption: what the record is of.
        entries: key → value.
        titles: key → how it is called; other keys are spoken as they are.
        untitled: show no caption.
    """
    titles = titles or {}
    rows = [row(escape(titles.get(key, spoken(key))), (_entry(key, value),)) for key, value in entries.items()]
    style = "record untitled" if untitled else "record"
    return table(caption, ("What", "Value"), rows, style=style) if rows else "<p>Nothing was recorded.</p>"


def provenance(entries: Mapping[str, Any], caption: str = "How the result came about") -> str:
    """A table of what the engine wrote down about a run."""
    return record(caption, entries, _PROVENANCE_TITLES)


def _entry(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return listing(f"{escape(_FIELD_TITLES.get(k, spoken(k)))}: <code>{plain(v)}</code>" for k, v in value.items())
    if isinstance(value, list | tuple):
        return listing(plain(item) for item in value) if value else "none"
    if key == "reference" and value in TITLES:
        return f"that of {escape(TITLES[value])}"
    return f"{value:.1f}" if key == "seconds" and isinstance(value, float) else plain(value)


def markdown(text: str, level: int = 3) -> str:
    """Markdown as HTML, as far as model cards need it: headings, paragraphs, lists, tables, bold, code.

    Args:
        text: Markdown; HTML in it is shown, not followed.
        level: that of the first heading's element.
    """
    blocks = (block for block in re.split(r"\n\s*\n", text.strip()) if block.strip())
    return "".join(part for block in blocks for part in _block(block.splitlines(), level))


def _block(lines: list[str], level: int) -> Iterator[str]:
    for kind, group in groupby(lines, _kind):
        found = list(group)
        if kind == "heading":
            for line in found:
                deep = min(level + len(line) - len(line.lstrip("#")) - 1, 6)
                yield f"<h{deep}>{_inline(line.lstrip('#').strip())}</h{deep}>"
        elif kind == "list":
            yield listing(_inline(line.lstrip()[2:]) for line in found)
        elif kind == "table":
            yield _cells(found)
        else:
            yield f"<p>{_inline(' '.join(found))}</p>"


def _kind(line: str) -> str:
    start = line.lstrip()
    if start.startswith("#"):
        return "heading"
    if start.startswith(("- ", "* ")):
        return "list"
    return "table" if start.startswith("|") else "text"


def _cells(lines: Iterable[str]) -> str:
    rows = [[_inline(cell.strip()) for cell in line.strip().strip("|").split("|")] for line in lines]
    head, *body = (cells for cells in rows if not all(re.fullmatch(":?-+:?", cell) for cell in cells))
    heads = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    inner = "".join(row(cells[0], cells[1:]) for cells in body)
    return (
        f'<div class="wide" role="region" aria-label="Table" tabindex="0"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{inner}</tbody></table></div>"
    )


def _inline(text: str) -> str:
    text = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escape(text))
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", text)
