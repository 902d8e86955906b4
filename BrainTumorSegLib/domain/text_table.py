"""Tables as text, for terminals and for spreadsheets."""

from __future__ import annotations

from collections.abc import Sequence


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
    lines = [list(head), *map(list, rows)]
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


def spreadsheet_cell(text: str) -> str:
    """A cell of a CSV file that no spreadsheet takes for a formula, and any file can hold; numbers stay as they are.

    Source: OWASP, CSV Injection.
    """
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")  # names of files need be no text
    if not text.startswith(("=", "+", "-", "@", "\t", "\r")):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text
