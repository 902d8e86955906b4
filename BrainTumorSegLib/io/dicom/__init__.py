"""DICOM: a patient's series found, recognised and read; segmentations written.

pydicom (and highdicom, to write) are an extra; they are imported where they are used.
"""

from __future__ import annotations

from .choice import Choice, choose, choose_named, holds_dicom, names_dicom, series_at
from .headers import Header
from .seg import beside_seg, check_seg, is_dicom_seg, write_seg
from .seg_reading import is_seg, read_seg
from .series import Series, is_dicom, is_dicom_file, read_series
from .studies import Study, studies_below, study_folders

__all__ = [
    "Choice",
    "Header",
    "Series",
    "Study",
    "beside_seg",
    "check_seg",
    "choose",
    "choose_named",
    "holds_dicom",
    "is_dicom",
    "is_dicom_file",
    "is_dicom_seg",
    "is_seg",
    "names_dicom",
    "read_seg",
    "read_series",
    "series_at",
    "studies_below",
    "study_folders",
    "write_seg",
]
