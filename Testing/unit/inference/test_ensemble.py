"""Several networks in one checkpoint: their mean, who takes part, what they share."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.errors import ModalityError, ShortageError
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.domain.progress import Progress
from BrainTumorSegLib.domain.result_record import ResultRecord
from BrainTumorSegLib.domain.segmentation import Segmentation
from BrainTumorSegLib.inference import pipeline
from BrainTumorSegLib.inference.backends.torch_backend import TorchBackend
from BrainTumorSegLib.inference.ensemble import about_resting
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.models.checkpoint_file import Checkpoint
from BrainTumorSegLib.models.description import PreprocessingSpec
from BrainTumorSegLib.models.ensemble import average_of
from BrainTumorSegLib.preprocessing import Prepared, prepare
from BrainTumorSegLib.report.records import stated
from Testing.samples import Patient, make_oracle


def changed(checkpoint: Checkpoint, **changes: Any) -> Checkpoint:
    return dataclasses.replace(checkpoint, description=dataclasses.replace(checkpoint.description, **changes))


def together(*models: Checkpoint) -> Checkpoint:
    return Checkpoint(*average_of(models, "both"))


def run(case: Case, checkpoint: Checkpoint, **more: Any) -> Segmentation:
    return segment_case(case, checkpoint, RunOptions(device="cpu", precision="fp32"), keep_probabilities=True, **more)


def shy(checkpoint: Checkpoint) -> Checkpoint:
    """The same network with other doubts: its logits halved."""
    weights = {n: t * 0.5 if n.startswith("head.") else t for n, t in checkpoint.weights.items()}
    return dataclasses.replace(checkpoint, weights=weights)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (3.0, 1.0)])
def test_the_result_is_the_weighted_mean_of_probabilities(patient: Patient, weights: tuple[float, float]) -> None:
    flat, deep = make_oracle(2, outputs="classes"), shy(make_oracle(3))
    models = [changed(flat, id="flat", weight=weights[0]), changed(deep, id="deep", weight=weights[1])]
    alone = [run(patient.case(), model).probabilities for model in models]
    result = run(patient.case(), together(*models))
    for region in ("ET", "TC", "WT"):
        mean = np.average([p[region] for p in alone], axis=0, weights=weights)
        assert np.abs(alone[0][region] - alone[1][region]).max() > 0.01
        np.testing.assert_allclose(result.probabilities[region], mean, atol=1e-6)
    np.testing.assert_array_equal(result.labels.array, patient.labels.array)
    assert result.provenance["model"]["members"] == ["flat", "deep"]
    record = ResultRecord.of_json(json.loads(json.dumps(ResultRecord.of(result, "brats2021").as_json())))
    assert record.provenance.model.members == ("flat", "deep")
    assert stated(record.provenance)["model"]["members"] == "flat, deep"


def test_a_region_is_the_mean_of_those_that_know_it(patient: Patient) -> None:
    whole = changed(shy(make_oracle(3, outputs="whole")), id="whole")
    result = run(patient.case(), together(changed(make_oracle(2), id="flat"), whole))
    alone = run(patient.case(), make_oracle(2)).probabilities
    np.testing.assert_array_equal(result.probabilities["ET"], alone["ET"])
    assert np.abs(result.probabilities["WT"] - alone["WT"]).max() > 0.001
    assert result.regions == ("ET", "TC", "WT")


def test_who_lacks_a_sequence_sits_out_and_that_is_said(patient: Patient) -> None:
    whole = changed(make_oracle(3, outputs="whole", modalities=("flair",)), id="whole")
    model = together(changed(make_oracle(2), id="flat"), whole)
    flair = Case("a", {"flair": patient.images["flair"]})
    result = run(flair, model)
    assert result.regions == ("WT",) and result.provenance["model"]["members"] == ["whole"]
    assert any("flat needs T1, T1ce and T2 and sat out" in warning for warning in result.warnings)
    assert any("does not know ET and TC" in warning for warning in result.warnings)
    np.testing.assert_array_equal(result.labels.array > 0, patient.labels.array > 0)
    with pytest.raises(ModalityError, match="FLAIR missing"):
        run(Case("a", {"t1": patient.images["t1"]}), model)


def test_who_takes_any_of_some_sequences_sits_out_where_none_is_given(patient: Patient) -> None:
    either = {"modalities": ("t2", "flair"), "optional_modalities": ("t2", "flair")}
    whole = changed(make_oracle(3, outputs="whole", modalities=either["modalities"]), id="whole", **either)
    early = changed(make_oracle(3, outputs="whole", modalities=("t1",)), id="early")
    (warning,) = about_resting([early], [whole], ("t1",))
    assert warning == "whole needs T2 or FLAIR and sat out; the result is that of early."


def test_what_members_take_alike_is_prepared_once(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(*given: Any) -> Prepared:
        calls.append(given)
        return prepare(*given)

    monkeypatch.setattr(pipeline, "prepare", counted)
    run(patient.case(), together(make_oracle(2), make_oracle(3)))
    assert len(calls) == 2  # slices keep their distance, volumes do not
    calls.clear()
    same = changed(make_oracle(2), preprocessing=make_oracle(3).description.preprocessing)
    run(patient.case(), together(same, make_oracle(3)))
    assert len(calls) == 1
    calls.clear()
    n4 = changed(make_oracle(3), preprocessing=PreprocessingSpec(bias_correction="n4"))
    run(patient.case(), together(same, n4))
    assert len(calls) == 2


def test_for_want_of_memory_the_last_member_goes_and_that_is_said(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = TorchBackend.probabilities

    def short_of_memory(self: TorchBackend, batch: np.ndarray) -> np.ndarray:
        if batch.ndim == 5:
            raise MemoryError
        return original(self, batch)

    monkeypatch.setattr(TorchBackend, "probabilities", short_of_memory)
    flat, deep = changed(make_oracle(2), id="flat"), changed(make_oracle(3), id="deep")
    result = run(patient.case(), together(flat, deep))
    assert result.provenance["model"]["members"] == ["flat"]
    assert any("Memory ran out for deep" in warning for warning in result.warnings)
    np.testing.assert_array_equal(result.labels.array, patient.labels.array)
    with pytest.raises(ShortageError):
        run(patient.case(), together(deep, flat))


@pytest.mark.parametrize("step", ["load", "prepare"])
def test_memory_that_runs_out_before_a_later_network_runs_costs_that_one_alone(
    step: str, patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = TorchBackend.load

    def short_of_memory(self: TorchBackend, checkpoint: Checkpoint) -> None:
        if checkpoint.description.id == "deep":
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        load(self, checkpoint)

    def no_room(case: Case, modalities: Any, spec: PreprocessingSpec, *more: Any) -> Prepared:
        if spec.spacing[0]:  # volumes, that is
            raise MemoryError
        return prepare(case, modalities, spec, *more)

    if step == "load":
        monkeypatch.setattr(TorchBackend, "load", short_of_memory)
    else:
        monkeypatch.setattr(pipeline, "prepare", no_room)
    result = run(patient.case(), together(changed(make_oracle(2), id="flat"), changed(make_oracle(3), id="deep")))
    assert result.provenance["model"]["members"] == ["flat"]
    assert any("Memory ran out for deep" in warning for warning in result.warnings)


def test_progress_never_falls(patient: Patient) -> None:
    seen: list[float] = []
    run(patient.case(), together(make_oracle(2), make_oracle(3)), progress=Progress(lambda _, f, __: seen.append(f)))
    assert seen == sorted(seen) and seen[-1] == 1 and len(set(seen)) > 6
