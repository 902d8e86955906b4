"""From the images of a case to what a network takes, and back onto the reference grid."""

from .alignment import AlignedCase, align_case
from .pipeline import Prepared, network_grid, prepare

__all__ = ["AlignedCase", "Prepared", "align_case", "network_grid", "prepare"]
