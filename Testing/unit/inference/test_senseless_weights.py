"""Weights that are finite and whole, and say nothing of the images: what comes of them never passes for a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from BrainTumorSegLib.domain.errors import ExecutionError
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.domain.segmentation import Segmentation
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.models.checkpoint_file import Checkpoint, load_checkpoint
from BrainTumorSegLib.models.description import OutputSpec, PostprocessingSpec
from BrainTumorSegLib.models.ensemble import average_of
from BrainTumorSegLib.quality import unlearnt
from Testing.forging import forge
from Testing.samples import Patient, make_oracle, with_field

Weights = Mapping[str, torch.Tensor]


def forged(path: Path, change: Callable[[Weights], Weights], dimensions: int = 3, **fields: object) -> Checkpoint:
    """The oracle with other weights, under the digest that belongs to them, as it is read from a file."""
    oracle = make_oracle(dimensions, postprocessing=PostprocessingSpec(temperatures={"WT": 1.0}), **fields)
    return load_checkpoint(forge(path, with_field(oracle.description, "version", "2"), change(oracle.weights)))


def run(patient: Patient, checkpoint: Checkpoint) -> Segmentation:
    return segment_case(patient.case(), checkpoint, RunOptions(device="cpu", precision="fp32"))


def everywhere(value: float, where: str = "") -> Callable[[Weights], Weights]:
    """All floating-point weights whose name ends so become a value."""
    return lambda weights: {
        name: torch.full_like(t, value) if t.is_floating_point() and name.endswith(where) else t
        for name, t in weights.items()
    }


def head(bias: float) -> Callable[[Weights], Weights]:
    """A network that sees nothing: its last layer adds a number to none."""
    return lambda weights: {
        **weights,
        "head.weight": torch.zeros_like(weights["head.weight"]),
        "head.bias": torch.full_like(weights["head.bias"], bias),
    }


def times(factor: float) -> Callable[[Weights], Weights]:
    return lambda weights: {name: t * factor if name.startswith("head.") else t for name, t in weights.items()}


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize(
    "change",
    [
        everywhere(60_000.0),
        everywhere(-60_000.0),
        head(60_000.0),
        head(0.0),
        head(-60_000.0),
        head(-2.0),
        times(60_000),
    ],
    ids=["60,000", "-60,000", "all tumour", "one half", "no tumour", "constant", "no doubt"],
)
def test_a_result_that_is_none_is_said(
    patient: Patient, tmp_path: Path, dimensions: int, change: Callable[[Weights], Weights]
) -> None:
    try:
        result = run(patient, forged(tmp_path / "m.safetensors", change, dimensions))
    except ExecutionError as error:
        assert "NaN" in str(error) and error.exit_code == 1
        return
    assert "not plausible" in result.warnings[0] and result.confidence == {}


@pytest.mark.parametrize("dimensions", [2, 3])
def test_what_is_no_number_is_no_brain_without_a_tumour(patient: Patient, tmp_path: Path, dimensions: int) -> None:
    """Variances below 0 are finite; their roots are not, and NaN is below every threshold."""
    checkpoint = forged(tmp_path / "m.safetensors", everywhere(-1.0, "running_var"), dimensions)
    with pytest.raises(ExecutionError, match=r"tiny.*NaN") as caught:
        run(patient, checkpoint)
    assert "verify" in caught.value.remedy


def test_one_member_of_an_average_is_enough(patient: Patient, tmp_path: Path) -> None:
    sound = make_oracle(id="sound")
    blind = forged(tmp_path / "m.safetensors", head(-2.0), id="blind")
    assert run(patient, Checkpoint(*average_of([sound, sound_twin()], "both"))).warnings == ()
    result = run(patient, Checkpoint(*average_of([sound, blind], "both")))
    assert "not plausible" in result.warnings[0]


def sound_twin() -> Checkpoint:
    return make_oracle(2, id="twin")


def test_a_network_of_one_region_and_a_head_without_a_tumour_are_sound(patient: Patient) -> None:
    assert "not plausible" not in " ".join(run(patient, make_oracle(outputs="whole")).warnings)
    never = make_oracle(outputs=(OutputSpec("WT", (1, 2, 3)), OutputSpec("ET", (3,))))
    weights = {**never.weights, "head.bias": never.weights["head.bias"] - 60}
    result = run(patient, Checkpoint(never.description, weights))
    assert not result.labels.array.any() and "not plausible" not in " ".join(result.warnings)


def test_only_what_the_images_show_counts() -> None:
    filled = np.zeros((4, 5, 6), bool)
    filled[1:3] = True
    outputs = np.zeros((2, 4, 5, 6), np.float32)
    outputs[:, filled] = np.linspace(0.01, 0.9, 60)
    assert unlearnt(outputs, filled) == ""
    outputs[:, filled] = 0.3
    assert "same probability" in unlearnt(outputs, filled)
    outputs[0, 1] = 1.0
    outputs[0, 2] = outputs[1] = 0.0
    assert "0 and 1 alone" in unlearnt(outputs, filled)
