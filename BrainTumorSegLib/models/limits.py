"""Bounds of what a checkpoint may ask for: a file with a right digest may still be made to exhaust or to deceive.

They lie far above what any network for brains needs; ``docs/reference/files-and-messages.md`` states them.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .description import Description

LARGEST_FILE = 2 << 30  # bytes
LONGEST_HEADER = 8 << 20
LONGEST_LINE, LONGEST_TEXT = 200, 20_000  # characters
MOST_OUTPUTS, MOST_MEMBERS = 16, 32
# Voxels of a patch along an axis and in all; of the network grid, their size along an axis and in all (an axis of
# spacing 0 keeps the image's own).
SMALLEST_PATCH, LARGEST_PATCH, MOST_VOXELS = 8, 1024, 1 << 25
FINEST_MM, COARSEST_MM, FINEST_MM3 = 0.1, 25.0, 0.05
MOST_OVERLAP = 0.95
LARGEST_SLICE_DISTANCE = 10.0  # mm
LARGEST_NUMBER = 1 << 53
DEEPEST = 20

# Characters that are no text: surrogates, and what commands a terminal or turns the direction of writing.
_FORBIDDEN = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ALLOWED = frozenset("\n\r\t")


def exceeded(d: Description) -> Iterator[str]:
    """Which bounds a description exceeds, in words."""
    one_line = {"id": d.id, "title": d.title, "version": d.version, "network": d.network.family}
    one_line |= {f"output {number}": output.name for number, output in enumerate(d.outputs, 1)}
    for name, text in one_line.items():
        if len(text) > LONGEST_LINE or not is_plain(text) or len(text.splitlines()) > 1:
            yield f"its {name} is not one line of at most {LONGEST_LINE} characters"
    for name, text in (
        ("licence of data", d.data_licence),
        ("licence of weights", d.weights_licence),
        ("intended use", d.intended_use),
    ):
        if len(text) > LONGEST_TEXT:
            yield f"its {name} has more than {LONGEST_TEXT} characters"
    if len(d.outputs) > MOST_OUTPUTS or len(d.members) > MOST_MEMBERS:
        yield f"it has more than {MOST_OUTPUTS} outputs or {MOST_MEMBERS} members"
    patch = d.tiling.patch
    if not all(n == 0 or SMALLEST_PATCH <= n <= LARGEST_PATCH for n in patch) or math.prod(patch) > MOST_VOXELS:
        yield f"its patch is not of {SMALLEST_PATCH} to {LARGEST_PATCH} voxels along an axis, {MOST_VOXELS} in all"
    if d.tiling.overlap > MOST_OVERLAP:
        yield f"overlap is {d.tiling.overlap:g}, more than {MOST_OVERLAP:g}"
    if not 0 <= d.tiling.slice_distance <= LARGEST_SLICE_DISTANCE:
        yield f"its slice distance is not between 0 and {LARGEST_SLICE_DISTANCE:g} mm"
    spacing = d.preprocessing.spacing
    if not all(mm == 0 or FINEST_MM <= mm <= COARSEST_MM for mm in spacing):
        yield f"its spacing is not between {FINEST_MM:g} and {COARSEST_MM:g} mm (or 0: the image's own)"
    elif math.prod(mm or 1.0 for mm in spacing) < FINEST_MM3:
        yield f"its voxels are smaller than {FINEST_MM3:g} mm³"
    q = d.postprocessing
    if not all(0 <= mm3 <= LARGEST_NUMBER for mm3 in (q.minimum_component_mm3, q.minimum_core_mm3, q.minimum_et_mm3)):
        yield "a smallest volume is negative or beyond all measure"
    if not all(0.01 <= value <= 100 for value in q.temperatures.values()):
        yield "a temperature is not between 0.01 and 100"
    if not 1e-3 <= d.weight <= 1e3:
        yield f"its weight {d.weight:g} is not between 0.001 and 1000"


def wrong_value(values: Any) -> str:
    """What is no plain value anywhere in what JSON gave, in words; empty where all are."""
    places = [("", values, 0)]
    while places:
        where, value, depth = places.pop()
        if depth > DEEPEST:
            return "it is nested too deeply"
        if isinstance(value, dict):
            places += [(str(key), item, depth + 1) for key, item in value.items()]
            places += [("a name", key, depth + 1) for key in value]
        elif isinstance(value, list):
            places += [(where, item, depth + 1) for item in value]
        elif isinstance(value, str) and not is_plain(value):
            return f"{where[:80]!r} holds control characters"
        elif isinstance(value, int) and abs(value) > LARGEST_NUMBER:
            return f"{where[:80]!r} is a number beyond all measure"
    return ""


def is_plain(text: str) -> bool:
    """Whether a text holds nothing that commands a terminal, turns the direction of writing, or is half a character."""
    if text.isprintable():
        return True
    return not any(
        c in _FORBIDDEN or (c not in _ALLOWED and unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp")) for c in text
    )
