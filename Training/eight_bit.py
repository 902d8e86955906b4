"""``python -m Training.eight_bit MODEL --data DIR -o FILE``: have a model's convolutions compute in 8 bits.

Its networks run on some of their training patients, and what each convolution takes there is written into the file
(NetworkSpec.eight_bit); the weights stay, and the accuracy goes until Training.measure writes it anew. The first and
the last convolution of a network are left as they are: they cost little, and image and result have no normalisation
beside them. So is what OpenVINO gets wrong: it adds a convolution in 8 bits to another one's result as if it had no
scale (2026.4).
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import nn

from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.domain.options import RunOptions
from BrainTumorSegLib.inference.backends.conversions import TOLERANCE_8_BIT, converted, distance, trial_tiles
from BrainTumorSegLib.inference.backends.torch_backend import TorchBackend
from BrainTumorSegLib.inference.predictors import predictor_of
from BrainTumorSegLib.io.staging import atomic
from BrainTumorSegLib.models.catalogue import find, load_model
from BrainTumorSegLib.models.checkpoint_file import Checkpoint
from BrainTumorSegLib.models.description import Description
from BrainTumorSegLib.networks.eight_bit import convolutions, in_eight_bits, watched
from BrainTumorSegLib.preprocessing import align_case, prepare

from .command import exit_code
from .datasets.case import LabelledCase
from .datasets.data_module import recorded_split
from .export import save_sound

Ranges = dict[str, tuple[float, float]]
PATIENTS = 4


def ranges_of(member: Checkpoint, cases: Sequence[LabelledCase]) -> Ranges:
    """What those convolutions take that may compute in 8 bits."""
    network = member.build()
    return right_in_openvino(network, member.description, ranges_on(network, member.description, cases))


def ranges_on(network: nn.Module, d: Description, cases: Sequence[LabelledCase]) -> Ranges:
    """What a network's convolutions take, the mean over some patients of the lowest and of the highest value."""
    backend = TorchBackend("cpu", "fp32")
    backend.take(network)
    predictor = predictor_of(d, d.network.divisor)
    found: list[Ranges] = []
    for labelled in cases:
        case, _ = labelled.load()
        aligned = align_case(case, RunOptions(), brain=d.preprocessing.brain)
        prepared = prepare(aligned.case, d.modalities, d.preprocessing, aligned.grid)
        with watched(network) as taken:
            predictor.at(prepared.grid.spacing)(backend, prepared.array, lambda done, total: None)
        found.append(taken)
        print(f"{d.id}: {labelled.id}", flush=True)
    mean = {name: np.mean([one[name] for one in found], axis=0) for name in found[0]}
    return {name: (float(low), float(high)) for name, (low, high) in mean.items() if high > 0}


def right_in_openvino(network: nn.Module, d: Description, ranges: Mapping[str, tuple[float, float]]) -> Ranges:
    """Those convolutions that give, each alone in 8 bits, what PyTorch gives; without the first and the last one."""
    between = list(convolutions(network))[1:-1]
    tile, _ = trial_tiles(d)
    kept: Ranges = {}
    for name in filter(ranges.get, between):
        changed = in_eight_bits(copy.deepcopy(network), {name: ranges[name]})
        apart = distance(changed, converted(changed, tile), tile.copy())
        if apart <= TOLERANCE_8_BIT / 10:
            kept[name] = ranges[name]
        else:
            print(f"{d.id}: {name} stays as it is (OpenVINO is off by {apart:.2g})", flush=True)
    return kept


def with_ranges(checkpoint: Checkpoint, found: Sequence[Ranges]) -> Description:
    """The description whose network, or whose members' networks, have these; what was measured before is left out."""
    said = [
        dataclasses.replace(
            m.description,
            network=dataclasses.replace(m.description.network, eight_bit=_rounded(ranges)),
            accuracy=(),
        )
        for m, ranges in zip(checkpoint.members, found, strict=True)
    ]
    if len(said) == 1:
        return said[0]
    return dataclasses.replace(checkpoint.description, members=tuple(said), accuracy=())


def _rounded(ranges: Ranges) -> Ranges:
    """To five digits, as many as there are for the eye."""
    return {name: (float(f"{low:.5g}"), float(f"{high:.5g}")) for name, (low, high) in ranges.items()}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m Training.eight_bit", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("model", help="id or file of a model that was trained here")
    p.add_argument("--data", type=Path, required=True, help="folder of its training patients")
    p.add_argument("-o", "--output", type=Path, required=True, help="the checkpoint that is written")
    p.add_argument("--patients", type=int, default=PATIENTS, help=f"how many are looked at (default: {PATIENTS})")
    return p


def run(arguments: argparse.Namespace) -> int:
    """Look, write.

    Raises:
        BrainTumorSegError: the request is wrong, or a patient cannot be read.
    """
    checkpoint = load_model(arguments.model)
    data, split = recorded_split(checkpoint.description, arguments.data)
    here = [name for name in split.training if name in data.cases]
    if arguments.patients < 1 or not here:
        raise RequestError("There are no training patients to look at.", "Give the folder that it was trained on.")
    apart = -(-len(here) // arguments.patients)
    cases = [data.cases[name] for name in here[::apart]]
    found = [ranges_of(member, cases) for member in checkpoint.members]
    with atomic(arguments.output, [find(arguments.model).path]) as part:
        save_sound(with_ranges(checkpoint, found), checkpoint.weights, part)
    print(f"Wrote {arguments.output}", flush=True)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return exit_code(lambda: run(parser().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
