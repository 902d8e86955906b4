"""Two examinations of one patient: how the tumour changed between them."""

from .change import JSON_KEYS, Change, RegionChange, compare
from .timepoints import TimePoint, read_time_point

__all__ = ["JSON_KEYS", "Change", "RegionChange", "TimePoint", "compare", "read_time_point"]
