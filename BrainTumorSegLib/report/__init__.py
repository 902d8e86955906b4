"""What a reader gets to see of a result: pictures of slices, a page about a case, a page about a cohort."""

from .case import write_report
from .cohort import ReportOptions, check_figures, write_cohort_report
from .figures.montage import write_montage

__all__ = ["ReportOptions", "check_figures", "write_cohort_report", "write_montage", "write_report"]
