"""What was done to bring the images of a case over each other and to leave the brain alone, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Motion:
    """A rigid motion.

    Attributes:
        matrix: 4 × 4, RAS mm in the image's own space → RAS mm in the reference's.
        quality: local correlation of the image and the reference after it, 0 to 1; ``before``: before it.
        displacement_mm: the farthest that a place in the head moved.
        angle_deg: of its rotation.
        stretch: by what share the head would have to be stretched to be the reference's; 0 where nothing was in doubt.
    """

    matrix: tuple[tuple[float, ...], ...]
    quality: float
    before: float
    displacement_mm: float
    angle_deg: float
    stretch: float = 0.0


@dataclass(frozen=True)
class BrainFound:
    """Which method found the brain (empty: none was asked), and its size on the reference's grid."""

    method: str = ""
    volume_ml: float = 0.0


@dataclass(frozen=True)
class AlignmentRecord:
    """What was done.

    Attributes:
        moves: image → its motion; ``atlas`` is that from the reference's space to the atlas, where its head is tilted.
        brain: the brain extraction.
    """

    moves: Mapping[str, Motion] = field(default_factory=dict)
    brain: BrainFound = field(default_factory=BrainFound)
