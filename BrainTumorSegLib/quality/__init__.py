"""Does the input fit what the model was made for, and can the result be true?

Each check is a file with a function that takes what is :class:`~.examined.Examined` and gives sentences, none where
all is well. To add one, write its file and name it in :data:`CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable

from . import orientation, repeated_images, skull_stripping, swapped_sequences
from .examined import Examined
from .plausibility import implausible, unlearnt

Check = Callable[[Examined], list[str]]

# In this order: where one finds something, those after it would judge what they were not made for.
CHECKS: tuple[Check, ...] = (
    skull_stripping.check,
    orientation.check,
    repeated_images.check,
    swapped_sequences.check,
)

__all__ = ["CHECKS", "Examined", "check_input", "implausible", "unlearnt"]


def check_input(examined: Examined) -> list[str]:
    """What the first check that finds something says; only models of extracted brains can be checked so far."""
    if examined.brain != "extracted":
        return []
    return next((found for check in CHECKS if (found := check(examined))), [])
