"""Export: accuracy is measured through the engine, the averaged weights are taken, no path of this machine is in it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.errors import CheckpointError, GeometryError, InputError
from BrainTumorSegLib.domain.segmentation import Segmentation
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.models.checkpoint_file import load_checkpoint
from BrainTumorSegLib.models.description import PostprocessingSpec
from Testing import samples
from Testing.training_data import make_patient, write_recipe
from Training.datasets.brats import find_cases
from Training.datasets.split import Split
from Training.export import (
    defined,
    export,
    format_tables,
    means,
    measure_accuracy,
    measure_dice,
    network_weights,
    save_sound,
)
from Training.module import SegmentationModule
from Training.recipe import load_recipe


def test_means_and_table() -> None:
    tables = {
        "Dice": {"P1": {"ET": 0.5, "WT": 1.0}, "Patient2": {"ET": 0.25, "WT": 0.8}},
        "bare": {"P1": {"ET": 0.4, "WT": 1.0}, "Patient2": {"ET": 0.0, "WT": 0.8}},
    }
    assert means(tables["Dice"]) == {"ET": 0.375, "WT": 0.9}
    lines = format_tables(tables).splitlines()
    assert [line.split() for line in lines] == [
        ["Dice", "bare"],
        ["patient", "ET", "WT", "ET", "WT"],
        ["P1", "0.5000", "1.0000", "0.4000", "1.0000"],
        ["Patient2", "0.2500", "0.8000", "0.0000", "0.8000"],
        ["mean", "0.3750", "0.9000", "0.2000", "0.9000"],
    ]
    assert len({len(line) for line in lines}) == 1  # the columns stand below each other


def test_measured_dice_is_that_of_the_users_result(tmp_path: Path) -> None:
    """A checkpoint that finds the tumour exactly, on a segmentation of which a part was taken away."""
    patient = make_patient(2)
    truth = patient.labels.array.copy()
    half = np.argwhere(truth == 3)[::2]
    truth[tuple(half.T)] = 1  # half of ET is called NCR: TC and WT stay
    changed = dataclasses.replace(patient, labels=patient.labels.with_array(truth))
    samples.write_patient(tmp_path, changed, case_id="P1")
    table = measure_dice(samples.make_oracle(), list(find_cases(tmp_path).values()), device="cpu")
    found, left = int((patient.labels.array == 3).sum()), int((truth == 3).sum())
    assert table == {"P1": {"ET": pytest.approx(2 * left / (found + left)), "TC": 1.0, "WT": 1.0}}


def test_only_the_sequences_asked_for_are_given(tmp_path: Path) -> None:
    """Without FLAIR the oracle cannot see oedema, so what it finds of WT is the core."""
    patient = make_patient(2)
    samples.write_patient(tmp_path, patient, case_id="P1")
    oracle = samples.make_oracle(optional_modalities=("t1", "flair"))
    table = measure_dice(oracle, list(find_cases(tmp_path).values()), modalities=("t1ce", "t2"), device="cpu")
    core, whole = int(np.isin(patient.labels.array, (1, 3)).sum()), int((patient.labels.array > 0).sum())
    assert table == {"P1": {"ET": 1.0, "TC": 1.0, "WT": pytest.approx(2 * core / (core + whole))}}


def test_slices_without_a_place_stay_a_stack_when_sequences_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else they would be registered to each other, as scans are."""
    samples.write_patient(tmp_path, make_patient(2), case_id="P1")
    (found,) = find_cases(tmp_path).values()
    case, labels = found.load()
    monkeypatch.setattr(type(found), "load", lambda _: (dataclasses.replace(case, stacked=True), labels))
    seen, plain = [], segment_case

    def looked_at(case: Case, *others: Any, **options: Any) -> Segmentation:
        seen.append(case)
        return plain(case, *others, **options)

    monkeypatch.setattr("Training.export.segment_case", looked_at)
    oracle = samples.make_oracle(optional_modalities=("t1", "flair"))
    measure_dice(oracle, [found], modalities=("t1ce", "t2"), device="cpu")
    assert [(case.stacked, set(case.images), case.reference) for case in seen] == [(True, {"t1ce", "t2"}, "t1ce")]


def test_a_set_of_sequences_that_a_patient_is_refused_with_has_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two sequences alone may look like those of two people; after hours of training that must not cost the rest."""
    samples.write_patient(tmp_path, make_patient(2), case_id="P1")
    oracle = samples.make_oracle(optional_modalities=("t1", "flair"))
    plain = segment_case

    def refusing(case: Case, *others: Any, **options: Any) -> Segmentation:
        if set(case.images) == {"t1ce", "t2"}:
            raise GeometryError("T1ce cannot be registered to T2.", "Leave one out.")
        return plain(case, *others, **options)

    monkeypatch.setattr("Training.export.segment_case", refusing)
    records = measure_accuracy(oracle, "made", list(find_cases(tmp_path).values()), "cpu")
    measured = {record.modalities for record in records}
    assert ("t1", "t1ce", "t2") in measured and ("t1ce", "t2") not in measured
    assert "t1ce t2: not measured" in capsys.readouterr().out


def test_sets_of_sequences_are_measured_on_the_patients_that_have_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """FLAIR alone is no figure of T1 with FLAIR, and a patient without T1 must not cost the whole export."""
    for number, name in enumerate(("P1", "P2", "P3")):
        samples.write_patient(tmp_path, make_patient(number), case_id=name)
    for missing in ("P1/P1_t1.nii.gz", "P2/P2_t1.nii.gz", "P1/P1_t2.nii.gz", "P2/P2_t2.nii.gz", "P3/P3_t2.nii.gz"):
        (tmp_path / missing).unlink()
    oracle = samples.make_oracle(optional_modalities=("t1", "t2", "flair"))
    records = measure_accuracy(oracle, "made", list(find_cases(tmp_path).values()), "cpu")
    assert {r.modalities: r.cases for r in records if r.measure == "Dice"} == {
        (): 3, ("t1", "t1ce", "flair"): 1, ("t1", "t1ce"): 1, ("t1ce", "flair"): 3, ("t1ce",): 3,
    }  # fmt: skip
    said = {line.split(":")[0].split("  ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "P3" in said["t1 t1ce flair"] and "P1" not in said["t1 t1ce flair"]
    assert "not measured" in said["t1ce t2"] and "P3" not in said["t1ce flair"]


def test_averaged_weights_are_taken_from_the_state(tmp_path: Path) -> None:
    """Lightning puts the average where the weights usually are, and the raw ones beside."""
    file = tmp_path / "last.ckpt"
    state = {
        "state_dict": {"network.a": torch.ones(1), "loss.b": torch.ones(1)},
        "current_model_state": {"network.a": torch.zeros(1)},
        "global_step": 7,
    }
    torch.save(state, file)
    weights, step = network_weights(file)
    assert weights == {"a": torch.ones(1)}
    assert step == 7


@pytest.fixture
def state(tmp_path: Path) -> tuple[SegmentationModule, Path]:
    changes = {"fold = 0": 'folder = "/home/somebody/secret"', "# top": 'init = "/home/secret/first.safetensors"'}
    recipe = load_recipe(write_recipe(tmp_path / "r.toml", changes))
    module = SegmentationModule(recipe)
    torch.save({"state_dict": module.state_dict(), "global_step": 12}, tmp_path / "last.ckpt")
    return module, tmp_path / "last.ckpt"


@pytest.mark.parametrize("validation", [(), ("c",)])
def test_without_measuring(
    tmp_path: Path,
    state: tuple[SegmentationModule, Path],
    validation: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    module, file = state
    split = Split(("a", "b"), (), validation)
    destination = tmp_path / "out.safetensors"
    export(file, module.recipe, split, [], destination)
    description = load_checkpoint(destination).description
    assert description.accuracy == ()
    assert description.training.steps == 12
    assert description.training.training_cases == ("a", "b")
    assert description.training.validation_cases == validation
    assert description.training.recipe["init"] == "first.safetensors"
    assert description.training.recipe["optimisation"]["learning_rate"] == 5e-3
    assert set(description.training.versions) == {"torch", "monai", "lightning", "numpy"}
    assert b"secret" not in destination.read_bytes()
    assert ("not measured" if validation else "no validation patients") in capsys.readouterr().out
    stored = load_checkpoint(destination).weights
    for name, tensor in module.network.state_dict().items():
        assert torch.equal(stored[name].float(), tensor if "running" in name else tensor.half().float())


def test_figures_that_are_undefined_are_left_out() -> None:
    assert defined({"ET": float("nan"), "WT": 0.01}) == {"WT": 0.01}


def test_a_network_that_predicts_nothing_ends_in_a_file_that_loads(tmp_path: Path) -> None:
    """Its probabilities promise nothing, so neither calibration nor the error of the expected Dice is defined."""
    samples.write_patient(tmp_path / "data", make_patient(2), case_id="P1")
    recipe = load_recipe(write_recipe(tmp_path / "r.toml"))
    spec = PostprocessingSpec(temperatures=dict.fromkeys(("ET", "TC", "WT"), 1.5))
    recipe = dataclasses.replace(recipe, postprocessing=spec)
    module = SegmentationModule(recipe)
    with torch.no_grad():
        for parameter in module.network.parameters():
            parameter.zero_()
        *_, bias = (p for name, p in module.network.named_parameters() if name.endswith("bias"))
        bias.fill_(-30)
    state = {"state_dict": module.state_dict(), "global_step": 1}
    torch.save(state, tmp_path / "last.ckpt")
    cases = find_cases(tmp_path / "data")
    file = tmp_path / "out.safetensors"
    checkpoint = export(tmp_path / "last.ckpt", recipe, Split((), (), ("P1",)), list(cases.values()), file, "cpu")
    assert load_checkpoint(file).description == checkpoint.description
    figures = [value for record in checkpoint.description.accuracy for value in record.values.values()]
    assert figures and all(np.isfinite(figures))


def test_a_file_that_does_not_load_replaces_none(tmp_path: Path) -> None:
    file = samples.write_oracle(tmp_path / "good.safetensors")
    before = file.read_bytes()
    oracle = samples.make_oracle()
    wrong = {name: tensor.reshape(-1)[:1] for name, tensor in oracle.weights.items()}
    with pytest.raises(CheckpointError):
        save_sound(oracle.description, wrong, file)
    assert file.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["good.safetensors"]


def test_a_measurement_that_fails_leaves_the_earlier_file(
    tmp_path: Path, state: tuple[SegmentationModule, Path]
) -> None:
    """A validation image may be unreadable after hours of training."""
    samples.write_patient(tmp_path / "data", make_patient(2), case_id="P1")
    (case,) = find_cases(tmp_path / "data").values()
    case.segmentation.write_bytes(b"")
    file = samples.write_oracle(tmp_path / "out.safetensors")
    before = file.read_bytes()
    module, training = state
    with pytest.raises(InputError):
        export(training, module.recipe, Split((), (), ("P1",)), [case], file, "cpu")
    assert file.read_bytes() == before
