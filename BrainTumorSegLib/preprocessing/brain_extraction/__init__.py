"""Brain extraction (skull-stripping): which voxels of a head are brain, by one of several methods behind one interface.

To add a method: a file here with what :class:`Method` names, and a line in :data:`METHODS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...domain.errors import InputError, RequestError
from ...domain.modalities import listed
from ...domain.progress import Progress
from ...domain.volume import Volume
from .hd_bet import HdBet
from .included import Included
from .synthstrip import SynthStrip

# Children's brains of a year measure 0.8 litres, the largest adult ones 2; a slab through a brain may hold less.
_SMALLEST_ML, _LARGEST_ML = 250.0, 2400.0


@dataclass(frozen=True)
class Brain:
    """A brain as it was found.

    Attributes:
        mask: bool ``(Z, Y, X)`` on the grid of the image that it was found in.
        method: what found it, a key of :data:`METHODS`.
        words: what was done, for the record.
    """

    mask: np.ndarray
    method: str
    words: str


class Method(Protocol):
    """A way to extract the brain.

    Attributes:
        title: its name in messages.
        remedy: what to do where it is not installed.
    """

    title: str
    remedy: str

    def is_installed(self) -> bool:
        """Whether it can be asked; that it works is another matter."""

    def find(self, volume: Volume, progress: Progress) -> np.ndarray:
        """Mask of the brain, bool ``(Z, Y, X)`` on the image's own grid; may be empty.

        Raises:
            BrainExtractionError: it does not work on this machine.
            CancelledError: the run was cancelled.
        """


METHODS: dict[str, Method] = {"included": Included(), "hd-bet": HdBet(), "synthstrip": SynthStrip()}


def extract_brain(volume: Volume, method: str = "auto", progress: Progress | None = None) -> Brain:
    """Find the brain in an image of a whole head, of whatever sequence, orientation and voxel size.

    Args:
        volume: ``(Z, Y, X)``.
        method: a key of :data:`METHODS`; ``auto`` takes HD-BET where it is installed, else the included network.
        progress: told how far it is; may cancel.

    Raises:
        RequestError: the method is unknown or not installed.
        BrainExtractionError: it is installed but does not work.
        InputError: what it finds cannot be a brain.
        CancelledError: the run was cancelled.
    """
    progress = progress or Progress()
    name = choose(method)
    chosen = METHODS[name]
    progress.report("brain extraction", 0.0, f"brain extraction by {chosen.title}")
    mask = chosen.find(volume, progress)
    size = size_ml(mask, volume)
    if not can_be_brain(size):
        raise InputError(
            f"No brain was found in {volume.source}: what {chosen.title} takes for one measures {size:,.0f} mL.",
            "Check that it shows a whole head; if it does, give a mask with --brain-mask, or another method with"
            " --brain-extraction.",
        )
    progress.report("brain extraction", 1.0, f"brain found ({size:,.0f} mL)")
    return Brain(mask, name, f"brain extracted by {chosen.title} ({size:,.0f} mL)")


def extract_together(
    brain: Brain, volume: Volume, others: Mapping[str, Volume], progress: Progress | None = None
) -> Brain:
    """The brain anew from all images of a head, where the included network found it in one.

    Their mean loses less than half of the tumour that one of them loses, and is closer to HD-BET's mask than each
    (``Testing/benchmarks/brain_extraction.py``).

    Args:
        brain: as it was found in ``volume``; what other methods found, or somebody gave, stays.
        volume: ``(Z, Y, X)``.
        others: name → image of the same head, in the same space.
        progress: told how far it is; may cancel.

    Raises:
        CancelledError: the run was cancelled.
    """
    if brain.method != "included" or not others:
        return brain
    mask = Included().find_together((volume, *others.values()), progress or Progress())
    size = size_ml(mask, volume)
    if not can_be_brain(size):
        return brain
    words = f"brain extracted by {Included.title}, from {listed([*others])} as well ({size:,.0f} mL)"
    return Brain(mask, brain.method, words)


def size_ml(mask: np.ndarray, volume: Volume) -> float:
    """Size in millilitres of a mask ``(Z, Y, X)`` on the grid of an image."""
    return float(np.count_nonzero(mask)) * volume.voxel_volume / 1000


def can_be_brain(millilitres: float) -> bool:
    """Whether what has this size can be the brain that an image of a head shows."""
    return _SMALLEST_ML <= millilitres <= _LARGEST_ML


def choose(method: str) -> str:
    """The key of :data:`METHODS` that ``method`` stands for.

    Raises:
        RequestError: it is unknown or not installed.
    """
    if method == "auto":
        return "hd-bet" if METHODS["hd-bet"].is_installed() else "included"
    if method not in METHODS:
        raise RequestError(f"Unknown brain extraction {method!r}.", f"Choose one of auto, {', '.join(METHODS)}.")
    if not METHODS[method].is_installed():
        raise RequestError(f"{METHODS[method].title} is not installed.", METHODS[method].remedy)
    return method
