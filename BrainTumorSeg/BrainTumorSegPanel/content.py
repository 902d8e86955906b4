"""What is made of a result, as the user chooses it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

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

    def styles(self, known: tuple[str, ...]) -> tuple[Region, ...]:
        """The segments for a model that knows these regions."""
        return segment_styles(known, regions=self is not Content.CLASSES, classes=self is not Content.REGIONS)


@dataclass(frozen=True)
class Wish:
    """What is to be made.

    Attributes:
        options: how the engine runs.
        content: which segments.
        probabilities: also a volume a region with the network's probabilities.
        surfaces: also closed surfaces, shown in 3D.
        in_process: run in this process instead of a child: for tests and debuggers.
    """

    options: RunOptions = field(default_factory=RunOptions)
    content: Content = Content.REGIONS
    probabilities: bool = False
    surfaces: bool = False
    in_process: bool = False
