from __future__ import annotations

import numpy as np
import pytest

from BrainTumorSegLib.domain.labels import ED, ET, NCR
from BrainTumorSegLib.inference.postprocessing import clean, fill_holes, region_mask, remove_components
from BrainTumorSegLib.models.description import PostprocessingSpec


def empty() -> np.ndarray:
    return np.zeros((8, 9, 10), np.uint8)


def test_thresholds_are_inclusive_and_half_unless_named() -> None:
    probability = np.array([0.29, 0.3, 0.49, 0.5, 0.51], np.float32)
    spec = PostprocessingSpec(thresholds={"ET": 0.3})
    assert region_mask(probability, "WT", spec).tolist() == [False, False, False, True, True]
    assert region_mask(probability.astype(np.float64), "ET", spec).tolist() == [False, True, True, True, True]


def shell() -> np.ndarray:
    """A hollow block of 5³ voxels, open to one side: only slices across the opening enclose something."""
    mask = empty().astype(bool)
    mask[1:6, 2:7, 3:8] = True
    mask[2:5, 3:6, 4:8] = False
    return mask


def test_what_a_slice_encloses_is_filled() -> None:
    mask = shell()
    assert np.count_nonzero(mask) == 125 - 36
    fill_holes(mask)
    expected = empty().astype(bool)
    expected[1:6, 2:7, 3:8] = True
    np.testing.assert_array_equal(mask, expected)


def test_an_open_ring_is_not_filled() -> None:
    mask = empty().astype(bool)
    mask[3, 2:7, 3:8] = True
    mask[3, 3:6, 4:8] = False  # one slice, open to one side
    before = mask.copy()
    fill_holes(mask)
    np.testing.assert_array_equal(mask, before)


def test_only_named_regions_are_filled_and_the_inside_is_core() -> None:
    ring = shell()
    probability = np.where(ring, 0.9, 0.2).astype(np.float32)
    spec = PostprocessingSpec(filled=("TC",))
    enhancing = region_mask(probability, "ET", spec)
    core = region_mask(probability, "TC", spec)
    np.testing.assert_array_equal(enhancing, ring)
    labels = clean({"ET": enhancing, "TC": core, "WT": enhancing}, spec, 1.0)
    assert (labels[ring] == ET).all() and np.count_nonzero(labels == NCR) == 36


def test_small_components_are_removed() -> None:
    """A block of 27 voxels, one of 8 and a diagonal pair: 26 neighbours make the pair one piece of 2."""
    labels = empty()
    labels[0:3, 0:3, 0:3] = ED
    labels[5:7, 5:7, 5:7] = ET
    labels[0, 8, 8] = NCR
    labels[1, 7, 9] = ED
    for minimum, left in ((0, 37), (2, 37), (2.5, 35), (8, 35), (8.5, 27), (27, 27), (28, 0)):
        result = labels.copy()
        remove_components(result, minimum)
        assert np.count_nonzero(result) == left, minimum
        kept = result > 0
        np.testing.assert_array_equal(result[kept], labels[kept])


def test_pieces_of_different_labels_count_together() -> None:
    labels = empty()
    labels[0, 0, 0], labels[0, 0, 1], labels[0, 0, 2] = ET, NCR, ED
    remove_components(labels, 3)
    assert labels[0, 0, :3].tolist() == [ET, NCR, ED]


def two_pieces() -> np.ndarray:
    """27 voxels of oedema round one of core, and 8 of oedema alone."""
    labels = empty()
    labels[0:3, 0:3, 0:3] = ED
    labels[1, 1, 1] = NCR
    labels[5:7, 5:7, 5:7] = ED
    return labels


def test_oedema_without_core_goes_where_another_piece_has_core() -> None:
    labels = two_pieces()
    remove_components(labels, 0, 1)
    assert np.count_nonzero(labels) == 27 and labels[1, 1, 1] == NCR and not labels[5:].any()


def test_core_is_counted_in_cubic_millimetres() -> None:
    """The second piece has one voxel of core, 2 mm³; the first has two."""
    labels = two_pieces()
    labels[1, 1, 2] = labels[5, 5, 5] = ET
    masks = {"TC": (labels == NCR) | (labels == ET), "WT": labels > 0}
    for minimum, left in ((2.0, 35), (2.1, 27), (4.0, 27), (4.1, 35)):
        result = clean(masks, PostprocessingSpec(minimum_core_mm3=minimum), 2.0)
        assert np.count_nonzero(result) == left, minimum


def test_oedema_without_core_stays_where_no_piece_has_core() -> None:
    labels = two_pieces()
    labels[1, 1, 1] = ED
    remove_components(labels, 0, 1)
    assert np.count_nonzero(labels) == 35


def test_a_core_too_small_to_stay_removes_no_other_piece() -> None:
    labels = two_pieces()
    labels[0, 8, 8] = ET
    labels[1, 1, 1] = ED
    remove_components(labels, 2, 1)
    assert np.count_nonzero(labels) == 35 and not (labels == ET).any()


def test_sizes_are_in_cubic_millimetres() -> None:
    """27 voxels of 2 mm³ are 54 mm³."""
    whole = empty().astype(bool)
    whole[2:5, 2:5, 2:5] = True
    for minimum, count in ((54.0, 27), (54.1, 0)):
        labels = clean({"WT": whole}, PostprocessingSpec(minimum_component_mm3=minimum), 2.0)
        assert np.count_nonzero(labels) == count


def test_a_handful_of_enhancing_voxels_becomes_core() -> None:
    enhancing = empty().astype(bool)
    enhancing[2, 2, 2:5] = True  # 3 voxels
    enhancing[6, 6, 6] = True  # counted together, not each piece alone
    whole = empty().astype(bool)
    whole[1:8, 1:8, 1:8] = True
    regions = {"ET": enhancing, "TC": enhancing, "WT": whole}
    kept = clean(regions, PostprocessingSpec(minimum_et_mm3=8.0), 2.0)
    assert np.count_nonzero(kept == ET) == 4
    changed = clean(regions, PostprocessingSpec(minimum_et_mm3=8.1), 2.0)
    assert not (changed == ET).any()
    np.testing.assert_array_equal(changed == NCR, enhancing)
    assert np.count_nonzero(changed) == np.count_nonzero(kept) == 343


def test_small_pieces_of_core_become_oedema_and_of_enhancement_core() -> None:
    """Each piece by itself, 26 neighbours; in 2 mm³ voxels."""
    whole = empty().astype(bool)
    whole[1:8, 1:8, 1:8] = True
    core, enhancing = empty().astype(bool), empty().astype(bool)
    core[2, 2, 2:7] = True  # 5 voxels
    core[6, 6, 2:4] = True  # 2 voxels, all of them enhancing
    enhancing[6, 6, 2:4] = True
    enhancing[2, 2, 2] = enhancing[2, 2, 4:6] = True  # one voxel and two
    masks = {"ET": enhancing, "TC": core, "WT": whole}
    labels = clean(masks, PostprocessingSpec(minimum_pieces_mm3={"TC": 4.1, "ET": 4.0}), 2.0)
    assert (labels[6, 6, 2:4] == ED).all()
    assert labels[2, 2, 2:7].tolist() == [NCR, NCR, ET, ET, NCR]
    assert np.array_equal(labels > 0, whole)
    whole_pieces = clean(masks, PostprocessingSpec(minimum_pieces_mm3={"TC": 4.0}), 2.0)
    assert np.array_equal(whole_pieces, clean(masks, PostprocessingSpec(), 2.0))
    corners = empty().astype(bool)
    corners[2, 2, 2] = corners[3, 3, 3] = True  # one piece of 26 neighbours
    kept = clean({"ET": corners, "TC": corners, "WT": whole}, PostprocessingSpec(minimum_pieces_mm3={"ET": 4.0}), 2.0)
    assert np.count_nonzero(kept == ET) == 2


def test_components_go_first() -> None:
    """A small piece that is removed does not save the enhancing tumour elsewhere from being too small."""
    mask = empty().astype(bool)
    mask[0, 0, 0] = mask[5, 5, 5:8] = True
    spec = PostprocessingSpec(minimum_component_mm3=2.0, minimum_et_mm3=4.0)
    labels = clean({"ET": mask, "TC": mask, "WT": mask}, spec, 1.0)
    assert np.count_nonzero(labels) == 3 and (labels[5, 5, 5:8] == NCR).all()


@pytest.mark.parametrize(
    "spec", [PostprocessingSpec(), PostprocessingSpec({}, ("TC",), 100.0, 50.0, {"ET": 50.0}, 100.0)]
)
def test_nothing_stays_nothing(spec: PostprocessingSpec) -> None:
    nothing = empty().astype(bool)
    labels = clean({"ET": nothing, "TC": nothing, "WT": nothing}, spec, 1.0)
    assert labels.dtype == np.uint8 and labels.shape == nothing.shape and not labels.any()
