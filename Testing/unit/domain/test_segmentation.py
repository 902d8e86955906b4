from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from BrainTumorSegLib.domain.grid import Grid, reorient
from BrainTumorSegLib.domain.labels import ED, ET, NCR, to_regions
from BrainTumorSegLib.domain.measurements import measure, measure_masks
from BrainTumorSegLib.domain.segmentation import Segmentation
from BrainTumorSegLib.domain.volume import Volume
from Testing.unit.domain.test_grid import OBLIQUE, ORIENTATIONS

SPACED = np.diag([-0.5, -2.0, 3.0, 1.0])  # x, y, z; LPS


def boxes(affine: np.ndarray = SPACED) -> Volume:
    """ED of 4 × 5 × 6 voxels (z, y, x) around NCR of 2 × 3 × 4, one voxel of ET in it, and a second lesion of ED."""
    labels = np.zeros((10, 11, 16), np.uint8)
    labels[1:5, 1:6, 1:7] = ED
    labels[2:4, 2:5, 2:6] = NCR
    labels[2, 2, 2] = ET
    labels[8, 8, 10:12] = ED
    return Volume(labels, affine)


def test_by_hand() -> None:
    sizes = measure(boxes())
    voxel = 0.5 * 2 * 3 / 1000  # mL
    whole, core, enhancing = 4 * 5 * 6 + 2, 2 * 3 * 4, 1
    assert sizes["WT"].volume_ml == pytest.approx(whole * voxel)
    assert sizes["TC"].volume_ml == pytest.approx(core * voxel)
    assert sizes["ET"].volume_ml == pytest.approx(enhancing * voxel)
    assert (sizes["WT"].share, sizes["TC"].share) == (1.0, pytest.approx(core / whole))
    assert [sizes[name].lesions for name in ("ET", "TC", "WT")] == [1, 1, 2]
    # Between the centres of opposite corner voxels: (4-1)·3, (5-1)·2, (6-1)·0.5 mm.
    assert sizes["WT"].largest_diameter_mm == pytest.approx(math.sqrt(9**2 + 8**2 + 2.5**2))
    assert sizes["WT"].largest_axial_diameter_mm == pytest.approx(math.hypot(8, 2.5))
    assert sizes["TC"].largest_diameter_mm == pytest.approx(math.sqrt(3**2 + 4**2 + 1.5**2))
    assert (sizes["ET"].largest_diameter_mm, sizes["ET"].largest_axial_diameter_mm) == (0, 0)


@pytest.mark.parametrize("codes", ORIENTATIONS)
@pytest.mark.parametrize("affine", [SPACED, OBLIQUE], ids=["plain", "oblique"])
def test_sizes_do_not_depend_on_how_the_image_lies(codes: str, affine: np.ndarray) -> None:
    """Axial is a direction in the patient, not the first axis of the array."""
    labels = boxes(affine)
    turned = Volume(reorient(labels.array, labels.affine, codes), Grid.of(labels).oriented(codes).affine)
    for name, size in measure(labels).items():
        other = measure(turned)[name]
        for field in ("volume_ml", "share", "lesions", "largest_diameter_mm", "largest_axial_diameter_mm"):
            assert getattr(other, field) == pytest.approx(getattr(size, field))


def test_diameters_agree_with_all_pairs() -> None:
    random = np.random.default_rng(0)
    z, y, x = np.indices((12, 14, 16))
    ball = ((z - 6) / 4) ** 2 + ((y - 7) / 6) ** 2 + ((x - 8) / 3) ** 2 < random.uniform(0.7, 1.3, z.shape)
    labels = Volume(np.where(ball, ET, 0).astype(np.uint8), SPACED)
    from scipy import ndimage

    pieces, _ = ndimage.label(ball, np.ones((3, 3, 3)))
    largest = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    points = np.argwhere(largest) * [3.0, 2.0, 0.5]
    size = measure(labels)["ET"]
    assert size.largest_diameter_mm == pytest.approx(pdist(points).max())
    axial = max(pdist(points[points[:, 0] == level]).max(initial=0) for level in np.unique(points[:, 0]))
    assert size.largest_axial_diameter_mm == pytest.approx(axial)


@pytest.mark.parametrize("extent", list(itertools.product((1, 2, 4), repeat=3)))
def test_boxes_of_any_flatness(extent: tuple[int, int, int]) -> None:
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[tuple(slice(1, 1 + n) for n in extent)] = ED
    z, y, x = ((n - 1) * step for n, step in zip(extent, (3.0, 2.0, 0.5), strict=True))
    size = measure(Volume(labels, SPACED))["WT"]
    assert size.largest_diameter_mm == pytest.approx(math.sqrt(z**2 + y**2 + x**2))
    assert size.largest_axial_diameter_mm == pytest.approx(math.hypot(y, x))


@pytest.mark.parametrize("codes", ORIENTATIONS[:4])
def test_masks_measured_one_by_one_are_those_of_the_label_map(codes: str) -> None:
    labels = boxes()
    array = reorient(labels.array, labels.affine, codes)
    turned = Volume(array, Grid.of(labels).oriented(codes).affine)
    sizes = measure_masks(to_regions(turned.array), turned.affine)
    for name, size in measure(turned).items():
        assert dataclasses.asdict(sizes[name]) == pytest.approx(dataclasses.asdict(size))


def test_a_mask_is_measured_as_it_is() -> None:
    """One that lies outside the others has what it holds, not what a label map would make of it."""
    masks = to_regions(boxes().array)
    masks["ET"] = np.zeros_like(masks["ET"])
    masks["ET"][9, 10, :4] = True
    sizes = measure_masks(masks, SPACED)
    assert sizes["ET"].volume_ml == pytest.approx(4 * 0.003)
    assert sizes["TC"] == measure(boxes())["TC"]
    assert sizes["ET"].share == pytest.approx(4 / masks["WT"].sum())
    del masks["WT"]
    assert measure_masks(masks, SPACED)["TC"].share == pytest.approx(24 / 28), "of all together"
    assert measure_masks({}, SPACED) == {}
    masks = {"WT": np.zeros((2, 3, 4), bool)}
    assert math.isnan(measure_masks(masks, SPACED)["WT"].share)


def test_without_tumour() -> None:
    sizes = measure(Volume(np.zeros((3, 4, 5), np.uint8), SPACED))
    for size in sizes.values():
        assert (size.volume_ml, size.lesions, size.largest_diameter_mm, size.largest_axial_diameter_mm) == (0, 0, 0, 0)
        assert math.isnan(size.share)


def test_a_region_that_is_empty_has_no_share() -> None:
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[1, 1, 1] = ED
    sizes = measure(Volume(labels, SPACED))
    assert (sizes["ET"].share, sizes["TC"].share, sizes["WT"].share) == (0, 0, 1)


def test_a_segmentation_measures_what_its_model_knows() -> None:
    result = Segmentation("a", boxes(), ("WT",))
    assert list(result.measurements) == ["WT"]
    assert result.measurements["WT"] == measure(boxes())["WT"]
    assert np.count_nonzero(result.mask("WT")) == 122
    assert np.count_nonzero(result.mask("TC")) == 24
    assert np.count_nonzero(result.mask("ET")) == 1
