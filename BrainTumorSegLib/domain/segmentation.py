"""The result of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .labels import REGIONS, Region
from .measurements import RegionMeasurement, measure
from .volume import Volume


@dataclass(frozen=True)
class Segmentation:
    """Label map on the reference image's own grid, and how it came about.

    Attributes:
        case_id: name of the case.
        labels: uint8 volume in the convention of this library (BraTS 2023).
        regions: which of ET, TC, WT the model knows.
        provenance: model, digest, device, precision, versions, what was done to the images.
        warnings: sentences that a reader of the result must see.
        confidence: region → the Dice that the model's calibrated probabilities promise, for regions that were found.
        probabilities: region → float32 ``(Z, Y, X)`` on the same grid, where asked for.
        native: modality → the same labels on that image's own grid, where asked for.
        own: regions of the model's own, whose labels the label map has, too.
    """

    case_id: str
    labels: Volume
    regions: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    confidence: Mapping[str, float] = field(default_factory=dict)
    probabilities: Mapping[str, np.ndarray] = field(default_factory=dict)
    native: Mapping[str, Volume] = field(default_factory=dict)
    own: tuple[Region, ...] = ()

    @property
    def segments(self) -> dict[str, Region]:
        """All that the model tells, by name: regions of BraTS, then its own."""
        return {name: REGIONS[name] for name in self.regions} | {region.name: region for region in self.own}

    def mask(self, region: str) -> np.ndarray:
        """Boolean mask ``(Z, Y, X)`` of ET, TC, WT or a region of the model's own."""
        return np.isin(self.labels.array, list((self.segments | REGIONS)[region].labels))

    @property
    def measurements(self) -> dict[str, RegionMeasurement]:
        """Region → sizes, for the regions that the model knows, and its own."""
        return measure(self.labels, self.regions, self.own)
