"""Measures of agreement between segmentations; every convention is named in docs/reference/measures.md."""

from .lesions import BRATS2023, Lesion, LesionProtocol, LesionScores, score_lesions
from .masks import MaskPair
from .measures import ALL, DEFAULT_MEASURES, HD95_DEFINITIONS, MEASURES, Measure, chosen_measures
from .overlap import Counts, dice
from .policy import DEFAULT_POLICY, POLICIES, Emptiness, EmptyPolicy, EmptyRule, emptiness, policy_named
from .summary import EmptyCount, Paired, Summary, bootstrap_interval, paired, summarise
from .surface import SurfaceDistances, surfel_distances, voxel_surface_distances

__all__ = [
    "ALL",
    "BRATS2023",
    "DEFAULT_MEASURES",
    "DEFAULT_POLICY",
    "HD95_DEFINITIONS",
    "MEASURES",
    "POLICIES",
    "Counts",
    "Emptiness",
    "EmptyCount",
    "EmptyPolicy",
    "EmptyRule",
    "Lesion",
    "LesionProtocol",
    "LesionScores",
    "MaskPair",
    "Measure",
    "Paired",
    "Summary",
    "SurfaceDistances",
    "bootstrap_interval",
    "chosen_measures",
    "dice",
    "emptiness",
    "paired",
    "policy_named",
    "score_lesions",
    "summarise",
    "surfel_distances",
    "voxel_surface_distances",
]
