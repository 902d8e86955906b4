"""From the images of a case to what a network takes, and back onto the reference grid."""

from .pipeline import Prepared, network_grid, prepare

__all__ = ["Prepared", "network_grid", "prepare"]
