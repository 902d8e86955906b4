"""Writes the page of a synthetic patient's course, of which docs/images/course.png shows the upper part.

``python -m docs.tools.draw_course course.html`` from the root of a clone, then
``chromium --headless --hide-scrollbars --window-size=1000,1480 --screenshot=docs/images/course.png course.html``.
"""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import numpy as np
from scipy import ndimage

from BrainTumorSegLib.domain.labels import REGIONS
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.longitudinal import TimePoint, follow
from BrainTumorSegLib.phantom import make_phantom
from BrainTumorSegLib.report.course import write_course_report
from Testing.raw_scans import motion

# Voxels of 2 mm by which the tumour is smaller than the phantom's, and whether the head is held otherwise.
EXAMINATIONS = {
    date(2024, 11, 4): (1, False),
    date(2025, 2, 10): (3, True),
    date(2025, 5, 19): (4, False),
    date(2025, 9, 1): (2, True),
    date(2025, 12, 1): (0, False),
}


def main(page: Path) -> None:
    """Shrink the phantom's tumour, turn its head, follow it."""
    phantom, points = make_phantom(3, (78, 120, 120)), []
    whole = phantom.labels.array > 0
    for day, (thinner, turned) in EXAMINATIONS.items():
        affine = (motion() if turned else np.eye(4)) @ phantom.labels.affine
        left = ndimage.binary_erosion(whole, iterations=thinner) if thinner else whole
        labels = Volume(np.where(left, phantom.labels.array, 0).astype(np.uint8), affine)
        scan = Volume(phantom.case.images["t1ce"].array, affine, f"{day}.nii.gz")
        points.append(TimePoint(Path(f"{day}.nii.gz"), labels, tuple(REGIONS), image=scan))
    write_course_report(follow(points, list(EXAMINATIONS)), page)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
