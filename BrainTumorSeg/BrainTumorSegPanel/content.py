"""What is made of a result, as the user chooses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from slicer.i18n import tr as _

from BrainTumorSegLib.domain.labels import Region
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.io.mrml import segment_styles


class Content(Enum):
    """Which segments the output has."""

    REGIONS = "regions"
    CLASSES = "classes"
    BOTH = "both"

    def label(self) -> str:
        """For the list in the panel."""
        return {
            Content.REGIONS: _("Regions: ET, TC, WT"),
            Content.CLASSES: _("Tissue classes: NCR, ED, ET"),
            Content.BOTH: _("Both"),
        }[self]

    def styles(self, known: tuple[str, ...], own: Sequence[Region] = ()) -> tuple[Region, ...]:
        """The segments for a model that knows these regions, and has some of its own."""
        return segment_styles(known, regions=self is not Content.CLASSES, classes=self is not Content.REGIONS, own=own)


@dataclass(frozen=True)
class Wish:
    """What is to be made.

    Attributes:
        options: how the engine runs.
        content: which segments.
        brain_mask: label volume node or file with the brain, in place of an extraction.
        probabilities: also a volume a region with the network's probabilities.
        brain: also the mask of the brain.
        registered: also the co-registered, skull-stripped images, and the transforms.
        surfaces: also closed surfaces, shown in 3D.
        in_process: run in this process instead of a child: for tests and debuggers.
    """

    options: RunOptions = field(default_factory=RunOptions)
    content: Content = Content.REGIONS
    brain_mask: Any = None
    probabilities: bool = False
    brain: bool = False
    registered: bool = False
    surfaces: bool = False
    in_process: bool = False
