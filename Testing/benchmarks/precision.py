"""What rounded weights, half precision and another backend change of a model's Dice.

``python -m Testing.benchmarks.precision MODEL DATA_FOLDER [--state last.ckpt]`` segments the validation patients in
each precision of this processor, by PyTorch and by OpenVINO where it is installed (and on CUDA, where there is one),
and prints mean Dice and the difference from PyTorch's in fp32. With the training state that the model was exported
from, its weights before rounding are compared, too.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import torch

from BrainTumorSegLib.inference.backends.torch_backend import resolve_device
from BrainTumorSegLib.models.catalogue import load_model
from BrainTumorSegLib.models.checkpoint_file import Checkpoint
from BrainTumorSegLib.networks.precision import resolve_precision
from Training.export import means, measure_dice, network_weights
from Training.studies.calibration import patients


def variants(checkpoint: Checkpoint, state: Path | None) -> Iterator[tuple[str, Checkpoint, dict[str, str]]]:
    """Name, weights, options; the first is what the others are compared with."""

    def row(backend: str, device: str, precision: str) -> tuple[str, Checkpoint, dict[str, str]]:
        options = {"backend": backend, "device": device, "precision": precision}
        return f"{backend} {device} {precision}", checkpoint, options

    yield row("torch", "cpu", "fp32")
    if state:
        weights, _ = network_weights(state)
        _, _, options = row("torch", "cpu", "fp32")
        yield "the same, weights not rounded", dataclasses.replace(checkpoint, weights=weights), options
    half = resolve_precision(resolve_device("cpu"))
    precisions = list(dict.fromkeys(["fp32", half]))
    yield from (row("torch", "cpu", precision) for precision in precisions[1:])
    if importlib.util.find_spec("openvino"):
        yield from (row("openvino", "cpu", precision) for precision in precisions)
        if all(member.description.network.eight_bit for member in checkpoint.members):
            yield row("openvino", "cpu", "int8")
    if torch.cuda.is_available():
        yield from (row("torch", "cuda", name) for name in ("fp32", "bf16"))


def main() -> None:
    """Measure and print."""
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("model")
    p.add_argument("data", type=Path)
    p.add_argument("--state", type=Path, help="last.ckpt of the run that the model was exported from")
    arguments = p.parse_args()
    checkpoint = load_model(arguments.model)
    cases = list(patients(checkpoint, arguments.data, "validation").values())
    first: dict[str, float] = {}
    for name, weights, options in variants(checkpoint, arguments.state):
        found = means(measure_dice(weights, cases, **options))
        first = first or found
        print(
            f"{name:32}" + "".join(f"  {r} {v:.4f} ({v - first[r]:+.4f})" for r, v in found.items()),
            flush=True,
        )


if __name__ == "__main__":
    main()
