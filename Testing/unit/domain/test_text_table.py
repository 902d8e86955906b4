"""Tables as text."""

from __future__ import annotations

import pytest

from BrainTumorSegLib.domain.text_table import spreadsheet_cell, text_table


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
