"""Comparing segmentations with references: arrays, files, folders; the measures are in :mod:`.metrics`.

:func:`compare_labels` compares arrays, :func:`compare_files` two files, :func:`evaluate_pairs` the pairs that
:func:`match` finds in folders. An :class:`Evaluation` holds what came out; :mod:`.tables` writes it.
"""

from .cohort import evaluate_pairs, usable_cores
from .matching import match
from .pairs import compare_files, compare_labels, compare_volumes
from .results import CaseResult, Evaluation, Measures, Settings, paired_evaluations

__all__ = [
    "CaseResult",
    "Evaluation",
    "Measures",
    "Settings",
    "compare_files",
    "compare_labels",
    "compare_volumes",
    "evaluate_pairs",
    "match",
    "paired_evaluations",
    "usable_cores",
]
