"""Tables as Markdown."""

from __future__ import annotations

from BrainTumorSegLib.evaluation.tables import markdown


def test_a_markdown_table_has_a_rule_and_its_cells_are_no_markup() -> None:
    lines = [["case", "dice"], ["a|b", "0.9"], ["*c*", "–"]]
    assert markdown(lines).splitlines() == ["| case | dice |", "| --- | ---: |", r"| a\|b | 0.9 |", r"| \*c\* | – |"]
