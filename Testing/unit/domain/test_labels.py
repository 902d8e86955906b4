from __future__ import annotations

import numpy as np
import pytest

from BrainTumorSegLib.domain.errors import InputError, RequestError
from BrainTumorSegLib.domain.labels import (
    CONVENTIONS,
    ED,
    ET,
    NCR,
    REGIONS,
    TISSUES,
    decide_convention,
    found_values,
    from_regions,
    label_names,
    read_labels,
    tissues_of,
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
        ((0, 1, 2, 3, 4), "brats2024", (0, NCR, ED, ET, 0)),  # the resection cavity is in no region
        ((0, 1, 2, 4), "brats2024", (0, NCR, ED, 0)),
        ((0, 1), "whole", (0, ED)),
        ((0, 255), "whole", (0, ED)),
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
        ((0, 255), "auto", "[0, 255]"),
        ((0, 2), "whole", "label 2"),
        ((0, 1, 255), "whole", "label 255"),
        ((0, 5), "brats2024", "label 5"),
    ],
)
def test_other_labels_are_refused(stored: tuple[int, ...], convention: str, named: str) -> None:
    with pytest.raises(InputError) as caught:
        read_labels(values(*stored, dtype=np.int16), convention, "a_seg.nii.gz")
    assert "a_seg.nii.gz" in str(caught.value) and named in str(caught.value)
    fitting = [name for name, known in CONVENTIONS.items() if known.fits(set(stored))]
    assert any(name in caught.value.remedy for name in fitting or CONVENTIONS)


def test_floats_within_a_thousandth_of_whole_numbers_are_labels() -> None:
    assert read_labels(values(0, 0.9991, 2.0009, 3.0, -0.0009, dtype=np.float32)).ravel().tolist() == [0, 1, 2, 3, 0]


@pytest.mark.parametrize("voxel", [0.5, 2.002, 1.998, np.nan, np.inf])
def test_what_is_no_whole_number_is_refused(voxel: float) -> None:
    with pytest.raises(InputError, match="not whole numbers"):
        read_labels(values(0, voxel, dtype=np.float64))


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


@pytest.mark.parametrize(
    ("files", "convention"),
    [
        ([{0, 1, 2, 3}, {0, 1, 2}], "brats2023"),
        ([{0, 1, 2}, {0, 1, 2, 4}, {0, 2}], "brats2021"),
        ([{0, 1, 2}, {0}], "brats2023"),
        ([{0}], "brats2023"),
        ([{0, 1}, {0, 2}], "brats2023"),
        ([{0, 1}, {0, 1, 4}], "brats2021"),
        ([{0, 1, 2, 4}, {0, 7}], "brats2021"),  # a file of another kind decides nothing for the rest
        ([], "brats2023"),
    ],
)
@pytest.mark.parametrize("reference", [False, True])
def test_one_convention_for_a_folder(files: list[set[int]], convention: str, reference: bool) -> None:
    found = {f"{number}_seg.nii.gz": values for number, values in enumerate(files)}
    assert decide_convention(found, reference=reference) == convention


@pytest.mark.parametrize(
    ("files", "named", "refused"),
    [
        ([{0, 1, 2, 3, 4}], ("brats2024",), "predictions too"),
        ([{0, 1, 2, 4}, {0, 1, 2, 3, 4}], ("brats2024",), "predictions too"),
        ([{0, 1, 2, 3}, {0, 1, 2, 4}], ("brats2024", "brats2021"), "predictions too"),
        ([{0, 255}], ("whole",), "predictions too"),
        ([{0, 1, 2, 3}, {0, 255}], tuple(CONVENTIONS), "predictions too"),
        ([{0, 9}], tuple(CONVENTIONS), "predictions too"),
        ([{0, 1}, {0}], ("whole", "brats2023"), "references alone"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(files: list[set[int]], named: tuple[str, ...], refused: str) -> None:
    found = {f"{number}_seg.nii.gz": values for number, values in enumerate(files)}
    with pytest.raises(InputError, match=r"_seg\.nii\.gz holds labels") as caught:
        decide_convention(found, reference=True, option="--ref-labels")
    assert "--ref-labels" in caught.value.remedy and all(name in caught.value.remedy for name in named)
    for name in named:  # each of them is an answer
        assert decide_convention(found, name, reference=True) == name
    if refused == "predictions too":
        with pytest.raises(InputError):
            decide_convention(found)
    else:
        assert decide_convention(found) == "brats2023"


def test_values_as_found() -> None:
    assert found_values(values(0, 2, 2, 4, dtype=np.float64)) == {0, 2, 4}
    assert found_values(values(0, 0.9995, -1, dtype=np.float64)) == {0, 1, -1}
    with pytest.raises(InputError, match=r"t1\.nii\.gz"):
        found_values(values(0, 113.7, dtype=np.float64), "t1.nii.gz")


def test_tissues_are_what_neighbouring_regions_differ_by() -> None:
    assert set(tissues_of(("ET", "TC", "WT"))) == set(TISSUES)
    assert set(tissues_of(("TC", "WT"))) == {"ED"} and set(tissues_of(("ET",))) == {"ET"}
    assert not tissues_of(("WT",))
    assert TISSUES["ED"].labels == REGIONS["WT"].labels - REGIONS["TC"].labels
    assert TISSUES["NCR"].labels == REGIONS["TC"].labels - REGIONS["ET"].labels


def test_labels_are_named_for_what_the_regions_tell() -> None:
    assert label_names() == {0: "background", NCR: "NCR", ED: "ED", ET: "ET"}
    assert label_names(("WT",)) == {0: "background", 2: "WT"}
    assert label_names(("TC", "WT")) == {0: "background", 1: "TC", 2: "ED"}
