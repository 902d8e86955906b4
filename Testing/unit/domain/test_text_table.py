"""Tables as text."""

from __future__ import annotations

import pytest

from BrainTumorSegLib.domain.text_table import markdown_text, spreadsheet_cell, text_table


def test_columns_stand_in_line() -> None:
    table = text_table(("region", "mL"), [("WT", "112.5"), ("ET", "3.0")])
    assert table.splitlines() == ["region     mL", "WT      112.5", "ET        3.0"]
    assert text_table(("a", "b"), [("1", "22")], left=(0, 1)).splitlines() == ["a  b", "1  22"]
    assert text_table(("a", "b"), []) == "a  b"


def test_rows_of_another_length_are_refused() -> None:
    with pytest.raises(ValueError):
        text_table(("a", "b"), [("1",)])


def test_no_cell_is_a_formula_and_numbers_stay() -> None:
    for text in ("=1+1", "+cmd", "-cmd|'/C calc'!A0", "@SUM(A1)", "\t=1"):
        assert spreadsheet_cell(text) == f"'{text}"
    for text in ("-1.5", "+2", "-inf", "nan", "Patient_7", ""):
        assert spreadsheet_cell(text) == text
    assert spreadsheet_cell("P\udce9").isascii()


def test_no_cell_leaves_its_row() -> None:
    """A file may be named so that a table shows a row more."""
    table = text_table(("case", "Dice"), [("a\nmean 1.00", "0.1"), ("P\udce9\x1b[2K", "0.2"), ("naïve × ☂", "0.3")])
    assert table.splitlines() == [
        "case            Dice",
        "a\\nmean 1.00     0.1",
        "P\\udce9\\x1b[2K   0.2",
        "naïve × ☂        0.3",
    ]


def test_texts_in_markdown_are_what_they_say() -> None:
    for text in ("BraTS2021_00001", "CC BY-NC-SA 4.0 (a; b)", "-1.5", "{'width': [8, 16]}", "a < b & c", "1.5 mm³"):
        assert markdown_text(text) == text
    escaped = (
        (r"[a]\(b)", "[a](b)"), (r"\<b>", "<b>"), (r"\*a\*", "*a*"), (r"\_a\_", "_a_"), (r"\# a", "# a"),
        (r"1\. a", "1. a"), (r"\- a", "- a"), (r"a\|b", "a|b"), (r"\&lt;", "&lt;"), (r"\`a\`", "`a`"), (r"a\\", "a\\"),
        ("a # b", "a\n\n# b"), (r"\~a\~", "~a~"), (r"\\x1b", "\x1b"),
    )  # fmt: skip
    for marked, text in escaped:
        assert markdown_text(text) == marked, text
