"""Two masks of one region, and what measures are made of: each is computed when first asked for, then kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .lesions import LesionScores, score_lesions
from .overlap import Counts
from .policy import POLICIES, Emptiness, emptiness_of
from .surface import SurfaceDistances, surfel_distances, voxel_surface_distances


@dataclass(frozen=True)
class MaskPair:
    """Prediction and reference of one region, which may be crops of their grid to what is not background.

    Attributes:
        prediction, reference: boolean masks ``(Z, Y, X)`` of one shape.
        shape: of the whole grid.
        spacing: voxel size ``(z, y, x)`` in mm.
        hd95_definition: name of :data:`~.measures.HD95_DEFINITIONS`.
        tolerance: of surface Dice, in mm.
        lesion_distances: compute the HD95 of lesions, which takes longest, with the rest of their scores.
    """

    prediction: np.ndarray
    reference: np.ndarray
    shape: tuple[int, ...]
    spacing: tuple[float, float, float]
    hd95_definition: str = "directed"
    tolerance: float = 1.0
    lesion_distances: bool = True

    @cached_property
    def counts(self) -> Counts:
        """Voxels of the whole grid by prediction and reference."""
        return Counts.of(self.prediction, self.reference, int(np.prod(self.shape)))

    @cached_property
    def emptiness(self) -> Emptiness:
        """Which mask is empty."""
        return emptiness_of(self.counts.predicted > 0, self.counts.referred > 0)

    @property
    def volumes(self) -> tuple[float, float]:
        """Millilitres of prediction and reference."""
        voxel = float(np.prod(self.spacing))
        return self.counts.predicted * voxel / 1000, self.counts.referred * voxel / 1000

    @property
    def volume_error(self) -> float:
        """Prediction minus reference in millilitres."""
        predicted, referred = self.volumes
        return predicted - referred

    @cached_property
    def surfaces(self) -> SurfaceDistances:
        """Distances between surface voxels.

        Raises:
            GeometryError: a mask is empty.
        """
        return voxel_surface_distances(self.prediction, self.reference, self.spacing)

    @cached_property
    def surfels(self) -> SurfaceDistances:
        """Distances between surface elements that have an area; errors as for :attr:`surfaces`."""
        return surfel_distances(self.prediction, self.reference, self.spacing)

    @property
    def hd95(self) -> float:
        """HD95 in mm by the definition asked for; errors as for :attr:`surfaces`."""
        distances = self.surfels if self.hd95_definition == "surfel" else self.surfaces
        return distances.hd95(self.hd95_definition)

    @cached_property
    def lesions(self) -> LesionScores:
        """Scores lesion by lesion, as BraTS 2023 has them."""
        return score_lesions(
            self.prediction,
            self.reference,
            self.spacing,
            POLICIES["brats2023"].penalty(self.shape, self.spacing),
            distances=self.lesion_distances,
        )
