"""Tables as text, for terminals."""

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
