"""The synthetic patient: physics worked out by hand, anatomy and contrasts as radiology knows them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from BrainTumorSegLib.domain.labels import ED, ET, NCR
from BrainTumorSegLib.domain.modalities import MODALITIES
from BrainTumorSegLib.phantom import Phantom, draw_patient, make_phantom
from BrainTumorSegLib.phantom.anatomy import CSF, DEEP, GREY, WHITE
from BrainTumorSegLib.phantom.lattice import Lattice, affine_of, head_lattice
from BrainTumorSegLib.phantom.physics import ACQUISITIONS, Acquisition, nulling_time, shortened, signal
from BrainTumorSegLib.phantom.tumour import _travel

SHAPE = (62, 96, 96)  # 2.5 mm
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def phantoms() -> dict[int, Phantom]:
    return {seed: make_phantom(seed, SHAPE) for seed in SEEDS}


@pytest.fixture(scope="module", params=SEEDS)
def phantom(request: pytest.FixtureRequest, phantoms: dict[int, Phantom]) -> Phantom:
    return phantoms[request.param]


@pytest.fixture(scope="module", params=SEEDS)
def means(request: pytest.FixtureRequest, phantoms: dict[int, Phantom]) -> dict[str, dict[str, float]]:
    """modality → tissue → mean intensity relative to the mean of healthy white matter."""
    grid, box = head_lattice(SHAPE)
    anatomy, tumour = draw_patient(request.param, grid)
    healthy = (
        anatomy.brain
        & ((anatomy.fluid == 0) | (anatomy.tissues == CSF))
        & (tumour.wetness < 0.01)
        & (tumour.labels == 0)
    )
    masks = {name: healthy & (anatomy.tissues == index) for name, index in (("WM", WHITE), ("GM", GREY), ("CSF", CSF))}
    masks |= {name: tumour.labels == label for name, label in (("NCR", NCR), ("ED", ED), ("ET", ET))}
    result = {}
    for modality, volume in phantoms[request.param].case.images.items():
        values = {name: float(volume.array[box][mask].mean()) for name, mask in masks.items()}
        result[modality] = {name: value / values["WM"] for name, value in values.items()}
    return result


# --- physics -----------------------------------------------------------------------------------------------------


def test_spin_echo_of_white_matter() -> None:
    # 0.7 · (1 − e^(−550/900)) · e^(−11/80) = 0.7 · 0.457252 · 0.871534
    assert signal(0.7, 900.0, 80.0, Acquisition(tr=550, te=11)) == pytest.approx(0.278957, abs=2e-6)


def test_spin_echo_without_decay_or_saturation_is_density() -> None:
    assert signal(0.83, 10.0, 1e9, Acquisition(tr=1e5, te=10)) == pytest.approx(0.83)


def test_inversion_recovery_of_grey_matter() -> None:
    # 0.82 · |1 − 2e^(−2500/1400) + e^(−9000/1400)| · e^(−120/95) = 0.82 · (1 − 0.335354 + 0.001615) · 0.282760
    sequence = Acquisition(tr=9000, te=120, ti=2500)
    assert signal(0.82, 1400.0, 95.0, sequence) == pytest.approx(0.154481, abs=2e-6)


def test_magnitude_is_positive_before_the_null() -> None:
    # Right after inversion all magnetisation points down: |1 − 2 + 0| = 1.
    assert signal(1.0, 1000.0, 1e9, Acquisition(tr=1e5, te=0, ti=1e-6)) == pytest.approx(1.0)


def test_flair_nulls_csf() -> None:
    flair = ACQUISITIONS["flair"]
    assert flair.ti == pytest.approx(2480.5, abs=0.1)  # 4300 · (0.693147 − ln 1.123314)
    assert signal(1.0, 4300.0, 1500.0, flair) == pytest.approx(0.0, abs=1e-9)


def test_nulling_time_with_full_recovery_is_t1_ln2() -> None:
    assert nulling_time(1000.0, 1e6) == pytest.approx(693.147, abs=1e-3)


def test_gadolinium_shortens_t1() -> None:
    # 1/1600 + 4.5e-3 · 0.15 = 0.000625 + 0.000675 = 0.0013 per ms
    assert shortened(1600.0, 0.15) == pytest.approx(1 / 0.0013)
    assert shortened(1600.0, 0.0) == pytest.approx(1600.0)


# --- grid --------------------------------------------------------------------------------------------------------


def test_default_grid_is_that_of_brats() -> None:
    expected = [[-1, 0, 0, 0], [0, -1, 0, 239], [0, 0, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(affine_of((155, 240, 240)), expected)


def test_reduced_grid_covers_the_same_field_of_view(phantom: Phantom) -> None:
    volume = phantom.case.images["t1"]
    assert volume.shape == SHAPE and volume.spacing == (2.5, 2.5, 2.5) and volume.orientation == "LPS"
    for corner, full in (((-0.5,) * 3, (-0.5,) * 3), ((95.5, 95.5, 61.5), (239.5, 239.5, 154.5))):
        np.testing.assert_allclose(volume.affine @ (*corner, 1), affine_of((155, 240, 240)) @ (*full, 1), atol=1e-9)


def test_head_grid_agrees_with_the_affine() -> None:
    grid, box = head_lattice(SHAPE)
    first = [part.start for part in box]
    world = affine_of(SHAPE) @ (first[2], first[1], first[0], 1)
    # Voxel (119.5, 127, 74) of the 1 mm grid is the middle; x runs left and y back, RAS right and front.
    np.testing.assert_allclose(
        [-119.5 - grid.axes[2][0], 112 - grid.axes[1][0], 74 + grid.axes[0][0]], world[:3], atol=1e-4
    )


def test_noise_has_unit_variance_and_its_scale() -> None:
    axis = np.arange(-70, 70, 1.0, dtype=np.float32)
    noise = Lattice((axis, axis, axis), (1.0, 1.0, 1.0)).noise(np.random.default_rng(3), 5)
    assert noise.dtype == np.float32
    assert noise.mean() == pytest.approx(0, abs=0.03) and noise.std() == pytest.approx(1, abs=0.03)
    correlations = [np.corrcoef(noise[gap:].ravel(), noise[:-gap].ravel())[0, 1] for gap in (1, 20)]
    assert correlations[0] > 0.9 and abs(correlations[1]) < 0.05  # neighbours alike; splines reach 4 knots


# --- the patient -------------------------------------------------------------------------------------------------


def test_same_seed_gives_the_same_voxels(phantoms: dict[int, Phantom]) -> None:
    again = make_phantom(1, SHAPE)
    np.testing.assert_array_equal(again.labels.array, phantoms[1].labels.array)
    for modality in MODALITIES:
        np.testing.assert_array_equal(again.case.images[modality].array, phantoms[1].case.images[modality].array)


def test_seeds_are_different_patients(phantoms: dict[int, Phantom]) -> None:
    first, second = phantoms[0], phantoms[1]
    core = [np.isin(phantom.labels.array, (NCR, ET)) for phantom in (first, second)]
    assert (core[0] & core[1]).sum() < 0.8 * min(core[0].sum(), core[1].sum())
    for modality in MODALITIES:
        assert (first.case.images[modality].array != second.case.images[modality].array).mean() > 0.1


def test_a_seed_is_the_same_patient_at_every_shape(phantoms: dict[int, Phantom]) -> None:
    other = make_phantom(0, (52, 80, 80)).labels
    middles, millilitres = [], []
    for volume in (phantoms[0].labels, other):
        core = np.isin(volume.array, (NCR, ET))
        z, y, x = ndimage.center_of_mass(core)
        middles.append(volume.affine @ (x, y, z, 1))
        millilitres.append(core.sum() * volume.voxel_volume / 1e3)
    np.testing.assert_allclose(middles[0], middles[1], atol=2.0)
    assert millilitres[0] == pytest.approx(millilitres[1], rel=0.1)


def test_images_share_one_skull_stripped_grid(phantom: Phantom) -> None:
    assert phantom.case.modalities == MODALITIES
    brain = phantom.case.images["t1"].array > 0
    assert not brain[:, 0].any() and not brain[:, -1].any() and not brain[..., 0].any() and not brain[..., -1].any()
    assert ndimage.label(brain)[1] == 1
    for volume in phantom.case.images.values():
        assert volume.array.dtype == np.int16 and volume.array.min() == 0
        np.testing.assert_array_equal(volume.array > 0, brain)
        np.testing.assert_array_equal(volume.affine, phantom.labels.affine)
    assert phantom.labels.array.dtype == np.uint8 and not phantom.labels.array[~brain].any()


def test_volumes_are_those_of_patients(phantom: Phantom) -> None:
    millilitre = phantom.labels.voxel_volume / 1e3
    brain = (phantom.case.images["t1"].array > 0).sum() * millilitre
    ncr, ed, et = (float((phantom.labels.array == label).sum() * millilitre) for label in (NCR, ED, ET))
    assert 1150 < brain < 1550
    assert 8 <= et <= 30 and 15 <= ncr + et <= 60 and 40 <= ncr + ed + et <= 150


def test_rim_surrounds_necrosis_and_oedema_surrounds_core(phantom: Phantom) -> None:
    labels = phantom.labels.array
    necrosis, core, whole = labels == NCR, np.isin(labels, (NCR, ET)), labels > 0
    assert core[ndimage.binary_dilation(necrosis)].all()  # no way from NCR to the outside but through ET
    assert ndimage.label(core)[1] == 1 and ndimage.label(whole)[1] == 1
    shell = ndimage.binary_dilation(core) & ~core
    assert (labels[shell] == ED).mean() > 0.5
    away = ndimage.distance_transform_edt(~core, phantom.labels.spacing)[labels == ED]
    assert np.median(away) > 5 and away.max() < 60


def test_core_is_in_one_hemisphere(phantom: Phantom) -> None:
    columns = np.flatnonzero(np.isin(phantom.labels.array, (NCR, ET)).any(axis=(0, 1)))
    sides = np.sign(columns * 2.5 - 119.5 + 0.75)
    assert len(set(sides)) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_oedema_prefers_white_matter_and_spares_csf(seed: int) -> None:
    grid, _ = head_lattice(SHAPE)
    anatomy, tumour = draw_patient(seed, grid)
    tissues = anatomy.tissues[tumour.labels == ED]
    assert not (tissues == CSF).any()
    around = ndimage.binary_dilation(tumour.labels > 0, iterations=3) & anatomy.brain & (anatomy.tissues != CSF)
    share = float((anatomy.tissues[around] == WHITE).mean())
    assert (tissues == WHITE).mean() > share + 0.1
    assert np.isin(tissues, (WHITE, GREY, DEEP)).all()


def test_brain_has_its_tissues_in_proportion() -> None:
    grid, _ = head_lattice(SHAPE)
    anatomy, _ = draw_patient(0, grid)
    inside = anatomy.tissues[anatomy.brain]
    grey, white, deep = (float((inside == tissue).mean()) for tissue in (GREY, WHITE, DEEP))
    assert 0.3 < grey < 0.6 and 0.25 < white < 0.55 and 0.01 < deep < 0.1
    y, x = (np.abs(axis) for axis in grid.open[1:])
    outermost = anatomy.brain & ~ndimage.binary_erosion(anatomy.brain)
    assert (anatomy.tissues[outermost] == WHITE).mean() < 0.05  # cortex covers white matter
    ventricles = (anatomy.tissues == CSF) & (x < 26) & (y < 34) & (np.abs(grid.open[0] - 8) < 20)
    assert 5 < ventricles.sum() * 2.5**3 / 1e3 < 90


# --- contrast ----------------------------------------------------------------------------------------------------


def test_healthy_contrast(means: dict[str, dict[str, float]]) -> None:
    t1, t2, flair = (means[modality] for modality in ("t1", "t2", "flair"))
    assert t1["CSF"] < 0.75 < t1["GM"] < 0.95
    assert t2["CSF"] > 1.6 and 1.1 < t2["GM"] < t2["CSF"]
    assert flair["CSF"] < 0.6 and 1.0 < flair["GM"] < 1.4


def test_oedema_is_bright_on_flair_and_t2_and_dark_on_t1(means: dict[str, dict[str, float]]) -> None:
    assert means["flair"]["ED"] > 1.4
    assert means["t2"]["ED"] > 1.5
    assert 0.7 < means["t1"]["ED"] < 0.97


def test_rim_is_bright_on_t1_only_with_gadolinium(means: dict[str, dict[str, float]]) -> None:
    assert means["t1"]["ET"] < 1.0
    assert means["t1ce"]["ET"] > 1.3
    assert means["t1ce"]["ET"] > means["t1ce"]["ED"] + 0.3


def test_a_tumour_that_does_not_enhance_differs_in_t1ce_alone() -> None:
    shape = (52, 80, 80)
    leaking, tight = make_phantom(1, shape), make_phantom(1, shape, enhancing=False)
    rim = leaking.labels.array == ET
    assert np.array_equal(tight.labels.array, np.where(rim, NCR, leaking.labels.array)) and rim.any()
    for name, volume in tight.case.images.items():
        same = np.array_equal(volume.array, leaking.case.images[name].array)
        assert same == (name != "t1ce"), name
    before, after = (tight.case.images[name].array[rim] for name in ("t1", "t1ce"))
    brain = tight.case.images["t1"].array > 0
    scale = np.median(tight.case.images["t1"].array[brain]) / np.median(tight.case.images["t1ce"].array[brain])
    assert abs(np.median(after) * scale / np.median(before) - 1) < 0.1


def test_necrosis_is_dark_on_t1ce_and_bright_on_t2(means: dict[str, dict[str, float]]) -> None:
    assert means["t1"]["NCR"] < means["t1"]["ED"]
    assert means["t1ce"]["NCR"] < 0.97 and means["t1ce"]["NCR"] < means["t1ce"]["ET"] - 0.3
    assert means["t2"]["NCR"] > means["t2"]["ED"] > means["t2"]["WM"]


def test_tissue_has_texture(phantom: Phantom) -> None:
    for modality, volume in phantom.case.images.items():
        inside = volume.array[phantom.labels.array == ET].astype(float)
        assert inside.std() / inside.mean() > 0.04, modality  # noise alone gives less than 0.03


# --- oedema's way ------------------------------------------------------------------------------------------------


def _line(cost: list[float]) -> np.ndarray:
    """Travel along a row of 2.5 mm voxels from its first."""
    axis = np.arange(len(cost), dtype=np.float32) * 2.5
    grid = Lattice((axis[:1], axis[:1], axis), (2.5, 2.5, 2.5))
    start = np.zeros((1, 1, len(cost)), dtype=bool)
    start[..., 0] = True
    return _travel(grid, np.array(cost).reshape(start.shape), start)[0, 0]


def test_travel_adds_up_cost() -> None:
    np.testing.assert_allclose(_line([1, 1, 4, 1]), [0, 2.5, 12.5, 15])


def test_travel_does_not_pass_csf() -> None:
    assert _line([1, 1, np.inf, 1])[3] >= 1000


def test_travel_walks_round_a_wall() -> None:
    axis = np.arange(5, dtype=np.float32) * 2.5
    cost = np.ones((1, 5, 5))
    cost[0, :4, 2] = np.inf
    start = np.zeros(cost.shape, dtype=bool)
    start[0, 0, 0] = True
    length = _travel(Lattice((axis[:1], axis, axis), (2.5, 2.5, 2.5)), cost, start)
    # From (0, 0) to (0, 4) past the gap at (4, 2): down and up in 8 steps, 4 of them diagonal.
    assert length[0, 0, 4] == pytest.approx(2.5 * (4 + 4 * np.sqrt(2)), rel=1e-5)


# --- refusals ----------------------------------------------------------------------------------------------------


def test_too_few_voxels_are_refused() -> None:
    with pytest.raises(ValueError, match="24 voxels"):
        make_phantom(0, (23, 96, 96))


def test_smallest_shape_still_has_every_label() -> None:
    assert set(np.unique(make_phantom(0, (24, 24, 24)).labels.array)) == {0, NCR, ED, ET}
