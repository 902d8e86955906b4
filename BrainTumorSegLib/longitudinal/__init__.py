"""Two examinations of one patient or more: how the tumour changed between them."""

from .change import JSON_KEYS, Change, RegionChange, compare
from .course import JSON_KEYS as COURSE_KEYS
from .course import Course, RegionCourse, follow
from .timepoints import TimePoint, read_time_point

__all__ = [
    "COURSE_KEYS",
    "JSON_KEYS",
    "Change",
    "Course",
    "RegionChange",
    "RegionCourse",
    "TimePoint",
    "compare",
    "follow",
    "read_time_point",
]
