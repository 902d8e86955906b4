"""From the images of a case to what a network takes, and back onto the reference grid."""

from .grid import Grid, check_overlap, reorient, resample, same_grid
from .normalise import normalise
from .prepare import Prepared, network_grid, onto, prepare

__all__ = [
    "Grid",
    "Prepared",
    "check_overlap",
    "network_grid",
    "normalise",
    "onto",
    "prepare",
    "reorient",
    "resample",
    "same_grid",
]
