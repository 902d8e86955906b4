from __future__ import annotations

import numpy as np
import pytest

from BrainTumorSegLib.domain.errors import InputError, LabelError, RequestError
from BrainTumorSegLib.domain.labels import (
    ED,
    ET,
    NCR,
    REGIONS,
    decide_convention,
    from_regions,
    read_labels,
    to_regions,
    write_labels,
)


def values(*voxels: float, dtype: type = np.uint8) -> np.ndarray:
    return np.array(voxels, dtype=dtype).reshape(1, 1, -1)


@pytest.mark.parametrize(
    ("stored", "convention", "expected"),
    [
        ((0, 1, 2, 4), "auto", (0, NCR, ED, ET)),
        ((0, 1, 2, 3), "auto", (0, NCR, ED, ET)),
        ((0, 4), "auto", (0, ET)),
        ((0, 2), "auto", (0, ED)),
        ((0, 0), "auto", (0, 0)),
        ((0, 1, 2, 4), "brats2021", (0, NCR, ED, ET)),
        ((0, 1, 2, 3), "brats2023", (0, NCR, ED, ET)),
        ((0, 1, 2, 3), "decathlon", (0, ED, NCR, ET)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64, np.dtype(">i2").type])
def test_reading(stored: tuple[int, ...], convention: str, expected: tuple[int, ...], dtype: type) -> None:
    read = read_labels(values(*stored, dtype=dtype), convention)
    assert read.dtype == np.uint8
    assert read.ravel().tolist() == list(expected)


def test_a_mask_of_booleans_is_read() -> None:
    assert read_labels(np.array([[[True, False]]])).ravel().tolist() == [NCR, 0]


@pytest.mark.parametrize(
    ("stored", "convention", "named"),
    [
        ((0, 3, 4), "auto", "[0, 3, 4]"),
        ((0, 1, 2, 3, 4), "auto", "[0, 1, 2, 3, 4]"),
        ((0, 5), "auto", "[0, 5]"),
        ((0, -1), "auto", "[-1, 0]"),
        ((0, 256), "auto", "[0, 256]"),  # would wrap to 0 in uint8
        ((0, 4), "brats2023", "label 4"),
        ((0, 3), "brats2021", "label 3"),
        ((0, 4), "decathlon", "label 4"),
        ((0, 259), "brats2023", "label 259"),
    ],
)
def test_other_labels_are_refused(stored: tuple[int, ...], convention: str, named: str) -> None:
    with pytest.raises(InputError) as caught:
        read_labels(values(*stored, dtype=np.int16), convention, "a_seg.nii.gz")
    assert "a_seg.nii.gz" in str(caught.value) and named in str(caught.value)
    assert "brats2021" in caught.value.remedy


@pytest.mark.parametrize("voxel", [0.5, 2.002, np.nan, np.inf])
def test_what_is_no_whole_number_is_refused(voxel: float) -> None:
    with pytest.raises(InputError, match="not whole numbers"):
        read_labels(values(0, voxel, dtype=np.float64))


def test_floats_within_a_thousandth_are_labels() -> None:
    """As resampling in other programs leaves them."""
    read = read_labels(values(0, 0.9995, 2.0004, 3.9999, dtype=np.float32))
    assert read.ravel().tolist() == [0, NCR, ED, ET]


def test_the_cavity_of_brats_2024_is_outside_all_regions_and_a_mask_of_the_whole_tumour_is_oedema() -> None:
    assert read_labels(values(0, 1, 2, 3, 4), "brats2024").ravel().tolist() == [0, NCR, ED, ET, 0]
    assert read_labels(values(0, 255, 1), "whole").ravel().tolist() == [0, ED, ED]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([{0, 1, 2}, {0, 1, 2, 3}], "brats2023"),
        ([{0, 1, 2}, {0, 1, 2, 4}, {0}], "brats2021"),
        ([{0, 2}], "brats2023"),
        ([{0}], "brats2023"),
    ],
)
def test_one_convention_is_decided_for_a_folder(found: list[set[int]], expected: str) -> None:
    assert decide_convention(map(frozenset, found), "auto", "The folder", strict=True) == expected


@pytest.mark.parametrize("found", [[{0, 3}, {0, 4}], [{0, 1}, {0, 1}], [{0, 255}], [{0, 1, 2, 3, 4}]])
def test_what_can_be_read_in_two_ways_is_refused_with_the_names_to_choose_from(found: list[set[int]]) -> None:
    with pytest.raises(LabelError, match="The folder") as caught:
        decide_convention(map(frozenset, found), "auto", "The folder", strict=True)
    assert all(name in caught.value.remedy for name in ("brats2021", "brats2024", "whole"))


def test_unknown_conventions_are_refused() -> None:
    with pytest.raises(RequestError, match="brats2099"):
        read_labels(values(0, 1), "brats2099")
    for convention in ("decathlon", "auto", "brats2099"):
        with pytest.raises(RequestError, match="Cannot write"):
            write_labels(values(0, 1), convention)


@pytest.mark.parametrize(("convention", "expected"), [("brats2023", [0, 1, 2, 3]), ("brats2021", [0, 1, 2, 4])])
def test_writing_and_reading_back(convention: str, expected: list[int]) -> None:
    labels = values(0, NCR, ED, ET)
    written = write_labels(labels, convention)
    assert written.ravel().tolist() == expected and written.dtype == np.uint8
    np.testing.assert_array_equal(read_labels(written, "auto"), labels)


def test_regions_nest_and_compose() -> None:
    labels = values(0, NCR, ED, ET)
    regions = to_regions(labels)
    assert regions["ET"].ravel().tolist() == [False, False, False, True]
    assert regions["TC"].ravel().tolist() == [False, True, False, True]
    assert regions["WT"].ravel().tolist() == [False, True, True, True]
    assert REGIONS["ET"].labels < REGIONS["TC"].labels < REGIONS["WT"].labels
    np.testing.assert_array_equal(from_regions(regions), labels)


def test_a_region_contains_the_inner_ones_even_where_its_mask_does_not() -> None:
    nothing = values(0, 0, dtype=bool)
    labels = from_regions({"ET": values(1, 0, dtype=bool), "TC": nothing, "WT": nothing})
    assert labels.ravel().tolist() == [ET, 0]


def test_the_whole_tumour_alone_is_label_2() -> None:
    assert from_regions({"WT": values(0, 1, dtype=bool)}).ravel().tolist() == [0, 2]


@pytest.mark.parametrize("regions", [{}, {"XX": np.zeros((1, 1, 1))}])
def test_unknown_regions_are_refused(regions: dict[str, np.ndarray]) -> None:
    with pytest.raises(RequestError, match="ET, TC, WT"):
        from_regions(regions)
