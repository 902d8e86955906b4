"""What weights in fp16 and computing in half precision change of a model's Dice.

``python -m Testing.benchmarks.precision MODEL DATA_FOLDER [--state last.ckpt]`` segments the validation patients in
each precision of this processor (and on CUDA, where there is one) and prints mean Dice and the difference from fp32.
With the training state that the model was exported from, its weights before rounding to fp16 are compared, too.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import torch

from BrainTumorSegLib.inference.backends.torch_backend import resolve_device, resolve_precision
from BrainTumorSegLib.models.catalogue import load_model
from BrainTumorSegLib.models.checkpoint_file import Checkpoint
from Training.export import means, measure_dice, network_weights
from Training.studies.calibration import patients


def variants(checkpoint: Checkpoint, state: Path | None) -> Iterator[tuple[str, Checkpoint, str, str]]:
    """Name, weights, device, precision; the first is what the others are compared with."""
    yield "CPU fp32", checkpoint, "cpu", "fp32"
    if state:
        weights, _ = network_weights(state)
        yield "CPU fp32, weights not rounded", dataclasses.replace(checkpoint, weights=weights), "cpu", "fp32"
    half = resolve_precision(resolve_device("cpu"))
    if half != "fp32":
        yield f"CPU {half}", checkpoint, "cpu", half
    if torch.cuda.is_available():
        yield from ((f"CUDA {name}", checkpoint, "cuda", name) for name in ("fp32", "bf16"))


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
    for name, weights, device, precision in variants(checkpoint, arguments.state):
        found = means(measure_dice(weights, cases, device=device, precision=precision))
        first = first or found
        print(
            f"{name:32}" + "".join(f"  {r} {v:.4f} ({v - first[r]:+.4f})" for r, v in found.items()),
            flush=True,
        )


if __name__ == "__main__":
    main()
