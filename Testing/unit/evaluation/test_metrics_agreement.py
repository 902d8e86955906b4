"""The same numbers as other libraries, each under its own convention, and why the conventions differ."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from monai import metrics as monai
from monai.metrics.utils import create_table_neighbour_code_to_surface_area
from scipy import ndimage

from BrainTumorSegLib.evaluation import Settings, compare_volumes
from BrainTumorSegLib.evaluation.metrics import (
    POLICIES,
    Counts,
    EmptyPolicy,
    SurfaceDistances,
    surfel_distances,
    voxel_surface_distances,
)
from BrainTumorSegLib.evaluation.metrics.surfel import neighbour_codes, surfel_areas
from Testing.mask_pairs import Pair, made_pairs, random_pairs

TOLERANCES = (0.5, 1.0, 3.0)


def pairs() -> list[Pair]:
    return [*made_pairs(), *random_pairs(200)]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """MONAI warns of every empty mask, DeepMind's package of names that SciPy moved."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def batch(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(mask[None, None].astype(np.float32))


def close(found: float, expected: object, pair: Pair) -> None:
    # MONAI computes in single precision.
    assert found == pytest.approx(float(expected), rel=1e-5, abs=1e-6), pair.name  # type: ignore[arg-type]


def test_there_are_as_many_pairs_as_promised() -> None:
    names = [pair.name for pair in pairs()]
    assert len(names) == len(set(names)) == 220
    assert all(pair.prediction.any() and pair.reference.any() for pair in pairs())
    assert len({pair.spacing for pair in pairs()}) > 150  # nearly all anisotropic


def test_overlap_agrees_with_monai() -> None:
    for pair in pairs():
        counts = Counts.of(pair.prediction, pair.reference)
        p, r = batch(pair.prediction), batch(pair.reference)
        close(counts.dice, monai.compute_dice(p, r), pair)
        close(counts.iou, monai.compute_iou(p, r), pair)
        matrix = monai.get_confusion_matrix(p, r)
        for name in ("sensitivity", "specificity", "precision", "accuracy"):
            expected = monai.compute_confusion_matrix_metric(name, matrix)
            if torch.isfinite(expected).all():  # MONAI has NaN for a specificity without background, as is here
                close(getattr(counts, name), expected, pair)
            else:
                assert np.isnan(getattr(counts, name)), pair.name


def test_distances_between_surface_voxels_agree_with_monai() -> None:
    for pair in pairs():
        p, r = batch(pair.prediction), batch(pair.reference)
        found = voxel_surface_distances(pair.prediction, pair.reference, pair.spacing)
        options = {"include_background": True, "spacing": pair.spacing}
        close(found.hd95("directed"), monai.compute_hausdorff_distance(p, r, percentile=95, **options), pair)
        close(found.hd, monai.compute_hausdorff_distance(p, r, **options), pair)
        close(found.assd, monai.compute_average_surface_distance(p, r, symmetric=True, **options), pair)


def test_surface_dice_agrees_with_monai_by_area() -> None:
    for pair in pairs():
        p, r = batch(pair.prediction), batch(pair.reference)
        found = surfel_distances(pair.prediction, pair.reference, pair.spacing)
        expected = monai.compute_surface_dice(
            p, r, [1.0], include_background=True, spacing=pair.spacing, use_subvoxels=True
        )
        close(found.surface_dice(1.0), expected, pair)


def at_the_edge(found: SurfaceDistances) -> bool:
    """Whether just 95 % of the area lie within some distance: then rounding decides between it and the next one."""
    for values, areas in ((found.to_reference, found.predicted_area), (found.to_prediction, found.reference_area)):
        shares = [areas[values <= value].sum() / areas.sum() for value in np.unique(values)]
        if np.isclose(shares, 0.95, rtol=0, atol=1e-9).any():
            return True
    return False


def test_surfels_agree_with_deepmind() -> None:
    deepmind = pytest.importorskip("surface_distance", reason="surface-distance (extra 'test') is not installed")
    for pair in pairs():
        theirs = deepmind.compute_surface_distances(pair.reference, pair.prediction, pair.spacing)
        found = surfel_distances(pair.prediction, pair.reference, pair.spacing)
        if not at_the_edge(found):
            close(found.hd95("surfel"), deepmind.compute_robust_hausdorff(theirs, 95), pair)
        close(found.hd, deepmind.compute_robust_hausdorff(theirs, 100), pair)
        for tolerance in TOLERANCES:
            expected = deepmind.compute_surface_dice_at_tolerance(theirs, tolerance)
            close(found.surface_dice(tolerance), expected, pair)
        assert np.allclose(np.sort(found.predicted_area), np.sort(theirs["surfel_areas_pred"]))


def medpy_distances(pair: Pair) -> list[np.ndarray]:
    """As medpy.metric.binary defines them: border voxels (mask without its erosion by the face neighbours) of each
    mask, looked up in the distance transform of the other's border.
    """
    cross = ndimage.generate_binary_structure(3, 1)
    borders = [mask & ~ndimage.binary_erosion(mask, cross) for mask in (pair.prediction, pair.reference)]
    fields = [ndimage.distance_transform_edt(~border, sampling=pair.spacing) for border in borders]
    return [fields[1][borders[0]], fields[0][borders[1]]]


def test_pooled_percentile_agrees_with_medpy() -> None:
    for pair in pairs():
        directed = medpy_distances(pair)
        found = voxel_surface_distances(pair.prediction, pair.reference, pair.spacing)
        close(found.hd95("pooled"), np.percentile(np.hstack(directed), 95), pair)
        close(found.hd, max(directed[0].max(), directed[1].max()), pair)
        close(found.masd, (directed[0].mean() + directed[1].mean()) / 2, pair)  # medpy calls it assd
        # Nearer than any tolerance of a measure: the tree finds what the distance transform finds.
        assert np.allclose(np.sort(found.to_reference), np.sort(directed[0]), rtol=1e-12, atol=0), pair.name


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.3, 1.0, 1.7), (0.9, 1.1, 5.0)])
def test_surfel_areas_are_those_of_the_published_table(spacing: tuple[float, float, float]) -> None:
    # MONAI ships the table of Nikolov et al. and writes the corners' bits in the opposite order.
    theirs, _ = create_table_neighbour_code_to_surface_area(spacing)
    turned = [int(f"{code:08b}"[::-1], 2) for code in range(256)]
    assert np.allclose(surfel_areas(spacing), np.asarray(theirs)[turned])


def test_why_the_definitions_of_hd95_differ() -> None:
    """A box of 10³, and the same with a column of 3 × 3 voxels standing on it, 6 high: one pair, three figures."""
    reference = np.zeros((24, 14, 14), bool)
    reference[2:12, 2:12, 2:12] = True
    prediction = reference.copy()
    prediction[12:18, 6:9, 6:9] = True
    voxels = voxel_surface_distances(prediction, reference, (1, 1, 1))
    surfels = surfel_distances(prediction, reference, (1, 1, 1))
    # The prediction shows 488 − 9 voxels of the box and 8 of each of the column's layers, at 1 to 6 mm (9 of the top):
    # of 528, the 95th percentile is number 501, in the third layer. From the reference all is near.
    assert voxels.to_reference.size == 528 and voxels.hd95("directed") == 3
    assert np.percentile(voxels.to_prediction, 95) == 0
    # Pooled, the 488 voxels of the reference dilute the column.
    assert voxels.hd95("pooled") == 1
    # By area the column weighs more: a layer shows 4 sides of 2 mm² and 4 bevels of √½ mm², 1.35 mm² a voxel, the box
    # 564 mm² on its 488 voxels, 1.16 mm² each.
    assert surfels.hd95("surfel") == 4
    assert voxels.hd == surfels.hd == 6  # the largest distance is the same for all


EMPTY, BLOCK = np.zeros((8, 8, 8), np.uint8), np.zeros((8, 8, 8), np.uint8)
BLOCK[2:5, 2:5, 2:5] = 3


@pytest.mark.parametrize(("prediction", "reference"), [(EMPTY, EMPTY), (BLOCK, EMPTY), (EMPTY, BLOCK)])
def test_empty_masks_under_monai_convention(prediction: np.ndarray, reference: np.ndarray) -> None:
    settings = Settings(("dice", "iou", "hd95", "sensitivity", "precision"), convention="monai")
    found = compare_volumes("", prediction, reference, (1, 1, 1), settings).measures["ET"]
    p, r = batch(prediction > 0), batch(reference > 0)
    matrix = monai.get_confusion_matrix(p, r)
    expected = {
        "dice": monai.DiceMetric()(p, r),
        "iou": monai.MeanIoU()(p, r),
        "hd95": monai.HausdorffDistanceMetric(include_background=True, percentile=95)(p, r),
        "sensitivity": monai.compute_confusion_matrix_metric("sensitivity", matrix),
        "precision": monai.compute_confusion_matrix_metric("precision", matrix),
    }
    for name, value in expected.items():
        assert found[name] == pytest.approx(float(value), nan_ok=True), name


def test_where_monai_has_infinities_its_convention_here_leaves_them_out() -> None:
    """An infinite distance has no mean: MONAI's HD (100 %) and ASSD against an empty mask are inf, here NaN."""
    p, r = batch(BLOCK > 0), batch(EMPTY > 0)
    assert torch.isinf(monai.compute_hausdorff_distance(p, r, include_background=True)).all()
    policy: EmptyPolicy = POLICIES["monai"]
    assert np.isnan(policy.value("distance", "reference", BLOCK.shape, (1, 1, 1)))


def test_neighbour_codes_against_a_plain_count() -> None:
    mask = np.random.default_rng(0).random((3, 4, 5)) > 0.5
    padded = np.pad(mask, 1)
    codes = neighbour_codes(mask)
    assert codes.shape == (4, 5, 6)
    for place in np.ndindex(codes.shape):
        around = padded[tuple(slice(i, i + 2) for i in place)].ravel()
        assert codes[place] == sum(int(value) << bit for bit, value in enumerate(around))
