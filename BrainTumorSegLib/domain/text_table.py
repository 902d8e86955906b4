"""Tables as text, for terminals and for spreadsheets."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

# What means something in Markdown where it stands; an underscore within a word, or a bracket alone, means nothing.
_MARKDOWN = re.compile(
    r"[\\`*|~]|(?<=\])[(\[]|<(?=[A-Za-z/!?])|&(?=[#\w])|(?<![^\W_])_|_(?![^\W_])|^[#>]|^[-+](?=[-+\s]|$)"
)
_NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,), gap: int = 2) -> str:
    """Columns in line, as wide as their longest cell.

    Args:
        head: titles of the columns.
        rows: cells, as many a row as there are titles.
        left: columns whose cells stand to the left; the others stand to the right, as numbers do.
        gap: spaces between columns.

    Raises:
        ValueError: a row has another number of cells.
    """
    lines = [[one_line(cell) for cell in line] for line in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        (" " * gap)
        .join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        .rstrip()
        for line in lines
    )


def one_line(text: str) -> str:
    """A cell that stays in its row: names of files may hold an end of line, and what no terminal can show."""
    if text.isprintable():
        return text
    shown = (c if c.isprintable() or unicodedata.category(c) == "Zs" else ascii(c)[1:-1] for c in text)
    return "".join(shown)


def markdown_text(text: str) -> str:
    """A text as Markdown that is that text: no link, picture, tag, list or row comes of what it holds."""
    return _NUMBERED.sub(r"\1\\\2", _MARKDOWN.sub(r"\\\g<0>", one_line(" ".join(text.split()))))


def whole_text(text: str) -> str:
    """A text that any file can hold: names of files need be none, and what is none in them becomes escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def spreadsheet_cell(text: str) -> str:
    """A cell of a CSV file that no spreadsheet takes for a formula, and any file can hold; numbers stay as they are.

    Source: OWASP, CSV Injection.
    """
    text = whole_text(text)
    if not text.startswith(("=", "+", "-", "@", "\t", "\r")):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
