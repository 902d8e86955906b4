from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.errors import CancelledError, CheckpointError, DeviceError, ExecutionError, ModalityError
from BrainTumorSegLib.domain.grid import Grid, reorient
from BrainTumorSegLib.domain.labels import from_regions, to_regions
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.domain.progress import Progress
from BrainTumorSegLib.domain.segmentation import Segmentation
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.evaluation.metrics import dice
from BrainTumorSegLib.inference.backends import BACKENDS, torch_backend
from BrainTumorSegLib.inference.backends.torch_backend import TorchBackend
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.models.checkpoint_file import Checkpoint
from BrainTumorSegLib.models.description import (
    AccuracyRecord,
    NetworkSpec,
    PostprocessingSpec,
    PreprocessingSpec,
    TilingSpec,
)
from BrainTumorSegLib.preprocessing.normalisation import normalise
from Testing.samples import AFFINE, OUTPUTS, Patient, make_oracle, make_patient
from Testing.unit.domain.test_grid import OBLIQUE, ORIENTATIONS, affine_of


def run(case: Case, checkpoint: Checkpoint, **options: object) -> Segmentation:
    more = {name: options.pop(name) for name in ("keep_probabilities", "progress") if name in options}
    chosen = RunOptions(device="cpu", precision="fp32", **options)  # type: ignore[arg-type]
    return segment_case(case, checkpoint, chosen, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("outputs", ["regions", "classes"])
def test_the_tumour_is_found_voxel_for_voxel(patient: Patient, dimensions: int, outputs: str) -> None:
    result = run(patient.case(), make_oracle(dimensions, outputs=outputs))
    np.testing.assert_array_equal(result.labels.array, patient.labels.array)
    np.testing.assert_allclose(result.labels.affine, AFFINE, atol=1e-4)
    assert result.labels.array.dtype == np.uint8
    assert result.regions == ("ET", "TC", "WT") and result.warnings == () and result.case_id == "patient"
    assert {1, 2, 3} <= set(np.unique(patient.labels.array).tolist())


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_model_of_the_whole_tumour_writes_label_2_and_says_so(patient: Patient, dimensions: int) -> None:
    result = run(patient.case(), make_oracle(dimensions, outputs="whole"))
    np.testing.assert_array_equal(result.labels.array, np.where(patient.labels.array > 0, 2, 0))
    assert result.regions == ("WT",) and list(result.measurements) == ["WT"]
    assert any("ET and TC" in warning and "label 2" in warning for warning in result.warnings)


def test_a_model_without_core_says_which_region_is_not_known(patient: Patient) -> None:
    et, _, wt = OUTPUTS["regions"]
    result = run(patient.case(), make_oracle(outputs=(et, wt)))
    np.testing.assert_array_equal(result.labels.array, np.choose(patient.labels.array, [0, 2, 2, 3]))
    assert any("TC" in warning and "label 2" not in warning for warning in result.warnings)


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_every_orientation_comes_back_voxel_for_voxel(patient: Patient, codes: str) -> None:
    affine = Grid.of(patient.labels).oriented(codes).affine
    images = {name: Volume(reorient(v.array, v.affine, codes), affine) for name, v in patient.images.items()}
    result = run(Case("a", images), make_oracle(2 if codes[0] in "LR" else 3))
    np.testing.assert_array_equal(result.labels.array, reorient(patient.labels.array, AFFINE, codes))
    np.testing.assert_allclose(result.labels.affine, affine, atol=1e-4)


@pytest.mark.parametrize(
    "affine",
    [OBLIQUE, affine_of((0.5, 0.5, 3.0), (30, -40, 12)), np.diag([-1.0, -1, 1, 1]) @ affine_of((1.4, 1.4, 1.4))],
    ids=["oblique", "anisotropic", "coarse"],
)
@pytest.mark.parametrize("dimensions", [2, 3])
def test_other_grids_keep_shape_affine_and_tumour(affine: np.ndarray, dimensions: int) -> None:
    patient = make_patient((16, 44, 40), affine, radii=(4, 6, 9))
    result = run(patient.case(), make_oracle(dimensions))
    assert result.labels.shape == (16, 44, 40)
    np.testing.assert_allclose(result.labels.affine, affine, atol=1e-4)
    found, truth = to_regions(result.labels.array), to_regions(patient.labels.array)
    for region in ("ET", "TC", "WT"):
        assert dice(found[region], truth[region]) > 0.8, region
    assert dice(found["WT"], truth["WT"]) > 0.93


def test_sequences_on_different_grids(patient: Patient) -> None:
    """FLAIR in another orientation and cut, T2 at another spacing: the result lies on T1ce all the same."""
    large = make_patient((30, 40, 36), radii=(4, 7, 10))
    flair, t2 = large.images["flair"], large.images["t2"]
    turned = Volume(reorient(flair.array, flair.affine, "PIR"), Grid.of(flair).oriented("PIR").affine)
    coarse_grid = Grid.of(t2).with_spacing((2.0, 1.0, 1.0))
    coarse = Volume(t2.array.reshape(15, 2, 40, 36).mean(axis=1), coarse_grid.affine)
    result = run(Case("a", {**large.images, "flair": turned, "t2": coarse}), make_oracle())
    assert result.labels.shape == (30, 40, 36)
    np.testing.assert_allclose(result.labels.affine, AFFINE, atol=1e-4)
    np.testing.assert_array_equal(result.labels.array > 0, large.labels.array > 0)
    assert dice(result.mask("TC"), large.labels.array % 2 > 0) > 0.9
    assert "resampled onto the grid of t1ce: t2, flair" in result.provenance["preprocessing"]


def test_the_result_lies_on_the_chosen_reference() -> None:
    patient = make_patient((30, 40, 36), radii=(4, 7, 10))
    t1 = patient.images["t1"]
    affine = AFFINE.copy()
    affine[:3, 3] += affine[:3, :3] @ [3, 4, 5]
    small = Volume(np.ascontiguousarray(t1.array[5:, 4:, 3:]), affine, "small")
    result = run(Case("a", {**patient.images, "t1": small}, reference="t1"), make_oracle())
    np.testing.assert_allclose(result.labels.affine, affine, atol=1e-4)
    np.testing.assert_array_equal(result.labels.array, patient.labels.array[5:, 4:, 3:])


@pytest.mark.parametrize("spacing", [(2.0, 2.0, 2.0), (0.7, 1.0, 0.7)])
def test_models_of_another_spacing(spacing: tuple[float, float, float]) -> None:
    patient = make_patient((30, 40, 36), radii=(4, 7, 10))
    result = run(patient.case(), make_oracle(preprocessing=PreprocessingSpec("RAS", spacing)))
    found, truth = to_regions(result.labels.array), to_regions(patient.labels.array)
    assert dice(found["WT"], truth["WT"]) > 0.93 and dice(found["ET"], truth["ET"]) > 0.75
    centre, expected = (np.argwhere(masks["WT"]).mean(axis=0) for masks in (found, truth))
    np.testing.assert_allclose(centre, expected, atol=0.25)  # half a coarse voxel off would be 0.5


def test_probabilities_are_kept_where_asked_for(patient: Patient) -> None:
    assert run(patient.case(), make_oracle()).probabilities == {}
    result = run(patient.case(), make_oracle(), keep_probabilities=True)
    assert list(result.probabilities) == ["ET", "TC", "WT"]
    for region, probability in result.probabilities.items():
        assert probability.shape == patient.labels.shape and probability.dtype == np.float32
        assert probability.min() >= 0 and probability.max() <= 1
        np.testing.assert_array_equal(probability >= 0.5, result.mask(region))
    assert (result.probabilities["ET"] <= result.probabilities["TC"]).all()
    assert (result.probabilities["TC"] <= result.probabilities["WT"]).all()


def test_tissue_classes_add_up_to_regions(patient: Patient) -> None:
    """The oracle's outputs by hand: sigmoids of 8·(FLAIR - T2 - 1) and so on of the z-scored images."""
    z = {name: normalise(volume.array) for name, volume in patient.images.items()}
    ncr, ed, et = (
        1 / (1 + np.exp(-8 * (logit - 1))) for logit in (z["t2"] - z["t1ce"], z["flair"] - z["t2"], z["t1ce"])
    )
    result = run(patient.case(), make_oracle(outputs="classes"), keep_probabilities=True)
    inside = patient.images["t1"].array != 0
    for region, outputs in (("ET", [et]), ("TC", [et, ncr]), ("WT", [et, ncr, ed])):
        expected = np.minimum(np.sum(outputs, axis=0), 1)
        np.testing.assert_allclose(result.probabilities[region][inside], expected[inside], atol=2e-3)
    regions = {name: probability >= 0.5 for name, probability in result.probabilities.items()}
    np.testing.assert_array_equal(result.labels.array, from_regions(regions))


def test_windows_leave_no_seam(patient: Patient) -> None:
    tiled = make_oracle(tiling=TilingSpec((8, 12, 16), 0.25))
    result = run(patient.case(), tiled, keep_probabilities=True)
    np.testing.assert_array_equal(result.labels.array, patient.labels.array)
    whole = run(patient.case(), make_oracle(), keep_probabilities=True)
    np.testing.assert_allclose(result.probabilities["WT"], whole.probabilities["WT"], atol=1e-5)


def test_mirroring_changes_nothing_for_a_network_that_sees_one_voxel(patient: Patient) -> None:
    plain = run(patient.case(), make_oracle(), keep_probabilities=True)
    mirrored = run(patient.case(), make_oracle(), keep_probabilities=True, tta=True)
    np.testing.assert_allclose(mirrored.probabilities["WT"], plain.probabilities["WT"], atol=1e-5)
    assert mirrored.provenance["tta"] is True and plain.provenance["tta"] is False


def test_what_the_checkpoint_declares_is_applied(patient: Patient) -> None:
    small = np.count_nonzero(patient.labels.array == 3)
    spec = PostprocessingSpec(minimum_et_mm3=small + 1.0)
    result = run(patient.case(), make_oracle(postprocessing=spec))
    assert not result.mask("ET").any()
    np.testing.assert_array_equal(result.mask("TC"), np.isin(patient.labels.array, (1, 3)))
    everything = PostprocessingSpec(minimum_component_mm3=1e6)
    result = run(patient.case(), make_oracle(postprocessing=everything))
    assert not result.labels.array.any() and "No tumour was found." in result.warnings


def test_a_missing_sequence_is_named_with_what_the_model_accepts(patient: Patient) -> None:
    oracle = make_oracle(optional_modalities=("t1",))
    with pytest.raises(ModalityError) as caught:
        run(patient.case(("t1", "t1ce", "t2")), oracle)
    text = caught.value.sentence()
    assert "FLAIR missing" in text and "tiny-3d" in text and "T1, T1ce, T2, FLAIR; T1 may be missing." in text
    assert "(--flair FILE)" in text and "braintumorseg models" in text
    with pytest.raises(ModalityError) as caught:  # what may be missing is not asked for
        run(patient.case(("t1ce", "t2")), oracle)
    assert "(--flair FILE)" in caught.value.sentence()
    with pytest.raises(ModalityError, match="T1ce and T2 missing"):
        run(patient.case(("t1", "flair")), oracle)


def test_an_optional_sequence_may_be_missing_and_the_result_says_so(patient: Patient) -> None:
    result = run(patient.case(("t1ce", "t2", "flair")), make_oracle(optional_modalities=("t1",)))
    np.testing.assert_array_equal(result.labels.array, patient.labels.array)
    assert any("T1 was not given" in warning for warning in result.warnings)
    assert "not given: t1" in result.provenance["preprocessing"]


def test_what_to_expect_of_the_sequences_given_is_said_by_hand(patient: Patient) -> None:
    def record(values: dict[str, float], *given: str) -> AccuracyRecord:
        return AccuracyRecord("made", 6, "Dice", "brats2021", values, given)

    oracle = make_oracle(
        optional_modalities=("t1", "t1ce"),
        accuracy=(
            record({"ET": 0.8, "TC": 0.85, "WT": 0.9}),
            record({"ET": 0.79, "TC": 0.84, "WT": 0.9}, "t1ce", "t2", "flair"),
            record({"ET": 0.31, "TC": 0.62, "WT": 0.885}, "t1", "t2", "flair"),
        ),
    )
    assert run(patient.case(), oracle).warnings == ()
    assert run(patient.case(("t1ce", "t2", "flair")), oracle).warnings == (
        "T1 was not given; with what was given, Dice was ET 0.79, TC 0.84, WT 0.90 on 6 validation patients.",
    )
    without_contrast = run(patient.case(("t1", "t2", "flair")), oracle).warnings
    assert without_contrast[0].startswith("T1ce was not given; with what was given, Dice was ET 0.31")
    assert without_contrast[1].startswith("Do not rely on ET:")
    neither = run(patient.case(("t2", "flair")), oracle).warnings
    assert neither == ("T1 and T1ce were not given; expect a less accurate result.",)


def test_three_missing_sequences_are_reported_in_one_breath(patient: Patient) -> None:
    warnings = run(patient.case(("flair",)), make_oracle(optional_modalities=("t1", "t1ce", "t2"))).warnings
    assert "T1, T1ce and T2 were not given; expect a less accurate result." in warnings
    with pytest.raises(ModalityError, match="T1, T1ce and FLAIR missing"):
        run(patient.case(("t2",)), make_oracle())


def test_at_least_one_sequence_of_the_model_must_be_there(patient: Patient) -> None:
    oracle = make_oracle(outputs="whole", modalities=("t2", "flair"), optional_modalities=("t2", "flair"))
    with pytest.raises(ModalityError, match="T2 or FLAIR missing"):
        run(patient.case(("t1",)), oracle)
    assert run(patient.case(("flair",)), oracle).labels.array.any()


def test_sequences_the_model_does_not_use_do_not_matter(patient: Patient) -> None:
    oracle = make_oracle(outputs="whole", modalities=("flair",))
    result = run(patient.case(), oracle)
    np.testing.assert_array_equal(result.labels.array > 0, patient.labels.array > 0)


@pytest.mark.parametrize("background", [-1, 100])
def test_another_background_than_zero_changes_nothing_but_is_warned_of(patient: Patient, background: int) -> None:
    brain = patient.images["t1"].array != 0
    images = {n: v.with_array(np.where(brain, v.array, background)) for n, v in patient.images.items()}
    result = run(Case("a", images), make_oracle())
    np.testing.assert_array_equal(result.labels.array, run(patient.case(), make_oracle()).labels.array)
    assert sum(f"is not 0 ({background})" in warning for warning in result.warnings) == 4
    assert f"background ({background}) set to 0: t1, t1ce, t2, flair" in result.provenance["preprocessing"]


def test_a_result_that_cannot_be_true_is_warned_of_first_and_promises_nothing(patient: Patient) -> None:
    """A network that takes everything for tumour."""
    spec = PostprocessingSpec(thresholds={"ET": 1e-9, "TC": 1e-9, "WT": 1e-9}, temperatures={"WT": 1.0})
    result = run(patient.case(), make_oracle(postprocessing=spec))
    assert "not plausible" in result.warnings[0] and "100%" in result.warnings[0]
    assert result.confidence == {}
    sound = PostprocessingSpec(temperatures={"WT": 1.0})
    assert run(patient.case(), make_oracle(postprocessing=sound)).confidence["WT"] > 0.9


def test_what_can_be_refused_is_refused_before_the_images_are_prepared(patient: Patient) -> None:
    stages: list[str] = []
    progress = Progress(lambda stage, *_: stages.append(stage))
    wrong = make_oracle(tiling=TilingSpec((15, 15, 15)))
    with pytest.raises(DeviceError):
        segment_case(patient.case(), make_oracle(), RunOptions(device="cuda:9"), progress=progress)
    with pytest.raises(CheckpointError, match="patch"):
        run(patient.case(), wrong, progress=progress)
    assert stages == []


def test_images_are_taken_as_they_are_where_asked_for(patient: Patient) -> None:
    oracle = make_oracle(preprocessing=PreprocessingSpec(bias_correction="n4"))
    corrected, plain = run(patient.case(), oracle), run(patient.case(), oracle, preprocess="none")
    assert any(line.startswith("bias field corrected by N4") for line in corrected.provenance["preprocessing"])
    assert not any("N4" in line for line in plain.provenance["preprocessing"])
    assert any("bias field was not corrected" in warning for warning in plain.warnings)


def test_progress_rises_and_names_the_stages(patient: Patient) -> None:
    reported: list[tuple[str, float, str]] = []
    tiled = make_oracle(tiling=TilingSpec((16, 16, 16)))
    run(patient.case(), tiled, progress=Progress(lambda *report: reported.append(report)))
    fractions = [fraction for _, fraction, _ in reported]
    assert fractions == sorted(fractions) and fractions[0] >= 0 and fractions[-1] <= 1
    assert list(dict.fromkeys(stage for stage, _, _ in reported)) == ["prepare", "load", "predict", "finish"]
    windows = [message for stage, _, message in reported if stage == "predict"]
    assert windows[0].endswith(f"window 1 of {len(windows)}") and windows[-1].endswith(
        f"{len(windows)} of {len(windows)}"
    )


@pytest.mark.parametrize("stage", ["prepare", "load", "predict"])
def test_a_run_is_cancelled_at_the_report_after(patient: Patient, stage: str) -> None:
    reported: list[str] = []

    def listen(name: str, fraction: float, message: str) -> None:
        reported.append(name)
        if name == stage:
            progress.cancelled.set()

    progress = Progress(listen)
    with pytest.raises(CancelledError):
        run(patient.case(), make_oracle(tiling=TilingSpec((16, 16, 16))), progress=progress)
    assert reported[-1] == stage and reported.count(stage) == 1


def test_the_result_says_how_it_came_about(patient: Patient) -> None:
    provenance = run(patient.case(), make_oracle()).provenance
    assert provenance["model"]["id"] == "tiny-3d" and provenance["precision"] == "fp32"
    assert provenance["device"].startswith("cpu") and provenance["reference"] == "t1ce"
    assert provenance["inputs"] == {"t1": "t1", "t1ce": "t1ce", "t2": "t2", "flair": "flair"}
    assert provenance["seconds"] > 0 and provenance["versions"]["torch"] == torch.__version__


def test_memory_that_runs_out_is_an_error_of_its_own(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real exhaustion would take this machine with it, so the network raises what torch raises."""
    for error in (torch.OutOfMemoryError("CUDA out of memory."), MemoryError()):

        def fail(*_: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr("BrainTumorSegLib.inference.backends.torch_backend.TorchBackend.probabilities", fail)
        with pytest.raises(ExecutionError, match="Memory ran out on cpu") as caught:
            run(patient.case(), make_oracle())
        assert caught.value.remedy


@pytest.mark.parametrize("dimensions", [2, 3])
def test_where_memory_runs_short_parts_get_smaller_and_the_result_says_so(
    patient: Patient, monkeypatch: pytest.MonkeyPatch, dimensions: int
) -> None:
    """Memory suffices only for small parts; the oracle sees single voxels, so its result stays the same."""
    most = 50**3 if dimensions == 3 else 3 * 28 * 24
    sizes: list[int] = []
    unlimited = TorchBackend.probabilities

    def limited(self: TorchBackend, images: np.ndarray) -> np.ndarray:
        sizes.append(images[:, 0].size)
        if sizes[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return unlimited(self, images)

    monkeypatch.setattr(TorchBackend, "probabilities", limited)
    large = make_patient((20, 120, 100)) if dimensions == 3 else patient
    tiling = TilingSpec((96, 96, 96), 0.25) if dimensions == 3 else TilingSpec((0, 0), 0.0)
    result = run(large.case(), make_oracle(dimensions, tiling=tiling))
    np.testing.assert_array_equal(result.labels.array, large.labels.array)
    assert max(sizes) > most >= sizes[-1]
    said = [warning for warning in result.warnings if warning.startswith("Memory ran short")]
    assert said == (
        ["Memory ran short, so the network ran in windows of 48 × 48 × 48 voxels; expect a less accurate result."]
        if dimensions == 3
        else []
    )


def test_unknown_devices_and_networks_are_refused(patient: Patient) -> None:
    with pytest.raises(DeviceError):
        segment_case(patient.case(), make_oracle(), RunOptions(device="toaster"))
    oracle = make_oracle()
    wrong = dataclasses.replace(oracle.description, network=NetworkSpec("skynet"))
    with pytest.raises(CheckpointError, match="skynet"):
        run(patient.case(), Checkpoint(wrong, oracle.weights))


def test_the_named_backend_runs_the_network(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend is a class in the folder and a line in the table; a run finds it by its name."""

    class Half(TorchBackend):
        def probabilities(self, batch: np.ndarray) -> np.ndarray:
            return np.full((len(batch), 3, *batch.shape[2:]), 0.25, np.float32)

    monkeypatch.setattr(torch_backend, "Half", Half, raising=False)
    monkeypatch.setitem(BACKENDS, "half", ("torch_backend", "Half"))
    result = segment_case(patient.case(), make_oracle(), RunOptions(backend="half"))
    assert not result.labels.array.any()
    assert segment_case(patient.case(), make_oracle(), RunOptions(backend="torch")).labels.array.any()
    with pytest.raises(DeviceError, match="abacus") as refused:
        segment_case(patient.case(), make_oracle(), RunOptions(backend="abacus"))
    assert "half" in refused.value.remedy


def test_two_runs_are_equal(patient: Patient) -> None:
    first, second = (run(patient.case(), make_oracle(), keep_probabilities=True) for _ in range(2))
    np.testing.assert_array_equal(first.labels.array, second.labels.array)
    np.testing.assert_array_equal(first.probabilities["WT"], second.probabilities["WT"])
