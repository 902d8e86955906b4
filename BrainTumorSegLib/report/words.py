"""How names and numbers are spelt in pictures and pages."""

from __future__ import annotations

import math
from typing import Any

from ..domain.result_record import USE
from ..evaluation.metrics.measures import MEASURES

DISCLAIMER = USE
NOTHING = "–"
# What pictures say of themselves, and how that stands in a PNG file.
SOFTWARE = {"Software": "BrainTumorSeg"}
MARK = b"tEXtSoftware\0BrainTumorSeg"


def printable(value: Any) -> str:
    """Text that every font and encoding takes: control characters and lone surrogates become ``�``.

    File names may hold both: Linux allows any byte, and Python keeps those outside UTF-8 as surrogates.
    """
    text = str(value).encode("utf-8", "replace").decode("utf-8")
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def shortened(text: str, length: int) -> str:
    """At most ``length`` characters, the middle left out: names of cases differ at both ends."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 2
    return f"{text[: length - 1 - tail]}…{text[-tail:]}"


def number(value: float, digits: int = 1) -> str:
    """A number for a table; a dash where there is none. What rounds to zero has no sign."""
    return f"{value:z.{digits}f}" if math.isfinite(value) else NOTHING


def millilitres(volume: float) -> str:
    """A volume with three significant digits where it is small: 0.123, 4.56, 78.9, 101.2."""
    digits = 3 if 0 < volume < 1 else 2 if 0 < volume < 10 else 1
    return number(volume, digits)


def percent(share: float) -> str:
    """A share between 0 and 1 as per cent."""
    return f"{100 * share:.0f} %" if math.isfinite(share) else NOTHING


def measure_title(name: str) -> str:
    """What a measure is called, with its unit; a name that is no measure's stands as words."""
    if name in MEASURES:
        return MEASURES[name].label
    return spoken(name)


def spoken(key: str) -> str:
    """A key as words: ``lesion_wise`` → ``Lesion wise``."""
    words = str(key).replace("_", " ")
    return words[:1].upper() + words[1:]


def measured(name: str, value: float, *, digits: int | None = None) -> str:
    """A value of a measure with that measure's decimals, a true minus sign, and a dash where there is none."""
    if digits is None:
        digits = MEASURES[name].digits if name in MEASURES else 3
    text = number(value, digits)
    return text.replace("-", "\N{MINUS SIGN}") if text != NOTHING else text
