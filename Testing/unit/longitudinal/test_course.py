"""Several examinations of one patient: cubes whose sizes are known, and a head that moves."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.domain.labels import ED, ET, REGIONS
from BrainTumorSegLib.domain.result_record import ResultRecord
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io.registry import write_volume
from BrainTumorSegLib.longitudinal import TimePoint, compare, follow, read_time_point
from BrainTumorSegLib.phantom import make_phantom
from BrainTumorSegLib.report.course import PARTIAL, write_course_report
from Testing.dicom_series import write_series
from Testing.raw_scans import motion

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
DATES = [date(2025, 1, 1), date(2025, 7, 2), date(2026, 1, 1)]  # 182 and 365 days after the first


def cube(name: str, side: int, label: int = ED) -> TimePoint:
    """A cube of so many voxels of 2 mm a side, without an image; none where that is 0."""
    labels = np.zeros((30, 40, 40), np.uint8)
    labels[2 : 2 + side, 2 : 2 + side, 2 : 2 + side] = label
    return TimePoint(Path(f"{name}.nii.gz"), Volume(labels, AFFINE), tuple(REGIONS))


def test_each_size_is_compared_with_the_first_and_with_the_smallest_before() -> None:
    """Cubes of 20, 10, 14 and 12 voxels a side: 64, 8, 21.952 and 13.824 mL."""
    course = follow([cube(str(side), side) for side in (20, 10, 14, 12)])
    whole = course.regions["WT"]
    assert [size.volume_ml for size in whole.sizes] == pytest.approx([64, 8, 21.952, 13.824])
    since_first = [whole.since_first(number) for number in range(4)]
    since_smallest = [whole.since_smallest(number) for number in range(4)]
    assert since_first == pytest.approx([math.nan, -0.875, -0.657, -0.784], abs=1e-3, nan_ok=True)
    assert since_smallest == pytest.approx([math.nan, -0.875, 1.744, 0.728], abs=1e-3, nan_ok=True)
    assert whole.by_volume == whole.by_diameters == ("", "PR", "PD", "PD")
    assert course.regions["TC"].by_volume == ("",) * 4 and course.dates == () and math.isnan(whole.growth_mm_a_year)


def test_growth_a_year_is_that_of_the_line_through_all_examinations() -> None:
    """Balls of 8, 15.625 and 27 mL (cubes of 10, 12.5 and 15 voxels) would measure 24.81, 31.02 and 37.22 mm."""
    points = [cube("a", 10), cube("b", 12), cube("c", 15)]
    course = follow(points, DATES)
    diameters = [(6000 * side**3 * 0.008 / math.pi) ** (1 / 3) for side in (10, 12, 15)]
    slope = np.polyfit([0, 182, 365], diameters, 1)[0] * 365.25
    assert course.regions["WT"].growth_mm_a_year == pytest.approx(slope) and course.days == (0, 182, 365)
    assert course.titles == ("2025-01-01", "2025-07-02", "2026-01-01")
    values = json.loads(json.dumps(course.as_json()))
    assert (
        values["growth_mm_a_year"]["WT"] == pytest.approx(slope, abs=1e-3) and values["growth_mm_a_year"]["ET"] is None
    )
    assert [each["days"] for each in values["examinations"]] == [0, 182, 365]
    assert [each["whole"] for each in values["regions"]["WT"]] == [True] * 3


def test_a_tumour_that_comes_back_is_progression() -> None:
    course = follow([cube("a", 12, ET), cube("b", 0), cube("c", 8, ET)])
    assert course.regions["ET"].by_volume == ("", "CR", "PD")
    assert math.isnan(course.regions["ET"].since_smallest(2))  # of nothing there is no share


@pytest.fixture(scope="module")
def moved() -> list[TimePoint]:
    """A phantom three times, with half of its tumour, all of it moved, and an image that ends within it."""
    phantom = make_phantom(1, (52, 80, 80))
    labels, affine = phantom.labels.array, phantom.labels.affine
    middle = int(np.argwhere(labels).mean(axis=0)[1])
    half = labels.copy()
    half[:, :middle] = 0
    image = phantom.case.images["t1ce"].array
    made = [(half, affine, image), (labels, motion() @ affine, image), (labels[:, middle:], None, image[:, middle:])]
    shift = np.eye(4)
    shift[:3, 3] = affine[:3, :3] @ [0, middle, 0]
    points = []
    for number, (found, place, seen) in enumerate(made):
        place = shift @ affine if place is None else place
        scan = Volume(np.ascontiguousarray(seen), place, f"image {number}")
        own = Volume(np.ascontiguousarray(found), place)
        points.append(TimePoint(Path(f"{number}.nii.gz"), own, tuple(REGIONS), image=scan))
    return points


def test_an_image_that_does_not_show_all_is_compared_with_nothing(moved: list[TimePoint], tmp_path: Path) -> None:
    course = follow(moved, DATES)
    whole = course.regions["WT"]
    assert whole.whole == (True, True, False)
    assert whole.lesions[0] is None and whole.lesions[1] is not None and whole.lesions[1].gone == 0
    assert whole.by_volume[1] == "PD" and whole.by_volume[2] == "not measurable" and math.isnan(whole.since_first(2))
    assert any(
        warning.startswith("2025-07-02 and 2026-01-01: The two images do not show") for warning in course.warnings
    )
    write_course_report(course, tmp_path / "course.html")
    page = (tmp_path / "course.html").read_text("utf-8")
    assert page.count("<svg ") == 3 and page.count("<img ") == 16 and PARTIAL in page


def test_dates_are_those_of_dicom_series(tmp_path: Path) -> None:
    phantom = make_phantom(0, (24, 40, 40))
    points = []
    for day in ("20250301", "20250401", ""):
        label_map, series = tmp_path / f"{day}.nii.gz", tmp_path / f"series {day}"
        write_series(phantom.case.images["t1ce"], series, "t1ce", StudyDate=day)
        write_volume(phantom.labels, label_map)
        points.append(read_time_point(label_map, series))
    assert [point.day for point in points] == [date(2025, 3, 1), date(2025, 4, 1), None]
    without_images = [dataclasses.replace(point, image=None) for point in points]
    assert follow(without_images[:2]).days == (0, 31) and follow(without_images).days == ()
    earlier, later, _ = without_images
    assert compare(earlier, later).days == 31
    with pytest.raises(RequestError, match="-31 days"):
        compare(later, earlier)


@pytest.mark.parametrize(
    ("points", "dates", "says"),
    [
        ([cube("a", 4)], (), "two examinations"),
        ([cube("a", 4), cube("b", 5), cube("a", 6)], (), "twice"),
        ([cube("a", 4), dataclasses.replace(cube("b", 5), regions=())], (), "no region in common"),
        ([cube("a", 4), cube("b", 5)], DATES, "3 dates were given for 2"),
        ([cube("a", 4), cube("b", 5)], DATES[1::-1], "not later than"),
        (
            [dataclasses.replace(cube(name, 4), day=day) for name, day in zip("ab", DATES[1::-1], strict=True)],
            (),
            "not later than",
        ),
    ],
)
def test_what_is_no_course_is_refused(points: list[TimePoint], dates: list[date], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        follow(points, dates)


def test_examinations_of_one_case_name_are_told_apart() -> None:
    record = ResultRecord("P1", {}, "brats2023", ("WT",), {}, warnings=("Look.",))
    points = [dataclasses.replace(cube(name, 4), record=record) for name in "ab"]
    course = follow(points)
    assert course.titles == ("1 (P1)", "2 (P1)") and {"1 (P1): Look.", "2 (P1): Look."} <= set(course.warnings)
