"""What a reader gets to see of a result: a picture of slices, and a page with sizes and provenance."""

from .html import write_report
from .montage import write_montage

__all__ = ["write_montage", "write_report"]
