"""Two examinations of one patient: how the tumour changed between them."""

from .change import Change, RegionChange, compare
from .timepoints import TimePoint, read_time_point

__all__ = ["Change", "RegionChange", "TimePoint", "compare", "read_time_point"]
