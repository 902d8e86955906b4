"""How names and numbers are spelt."""

from __future__ import annotations

from BrainTumorSegLib.report.words import measured, millilitres, number, percent, printable, shortened


def test_numbers_in_words() -> None:
    assert [millilitres(v) for v in (0.0, 0.1234, 1.234, 12.34, 123.44)] == ["0.0", "0.123", "1.23", "12.3", "123.4"]
    assert number(float("nan")) == "–" and percent(float("nan")) == "–" and percent(0.256) == "26 %"


def test_what_rounds_to_zero_has_no_sign() -> None:
    assert number(-0.0004, 3) == "0.000" and number(-0.0006, 3) == "-0.001"
    assert measured("dice", -1e-17) == "0.0000" and measured("dice", -0.5) == "\N{MINUS SIGN}0.5000"


def test_names_in_words() -> None:
    assert shortened("abcdefghij", 5) == "ab…ij" and shortened("abcde", 5) == "abcde"
    assert printable("a\tb\udce9") == "a�b?"
