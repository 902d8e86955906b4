"""``python -m Training.average BEFORE AFTER -o FILE``: a network halfway between two stages of its training.

A stage on patients of another kind forgets some of what the stages before knew. Halfway between the weights of both, a
network keeps much of either (Wortsman 2022, arXiv 2109.01903), as long as it did not learn new statistics of batch
normalisation (``hold_statistics``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from BrainTumorSegLib.domain.errors import CheckpointError, RequestError
from BrainTumorSegLib.io.staging import atomic
from BrainTumorSegLib.models.catalogue import find, load_model
from BrainTumorSegLib.models.checkpoint_file import Checkpoint

from .command import exit_code
from .export import save_sound


def average(before: Checkpoint, after: Checkpoint, share: float = 0.5) -> Checkpoint:
    """The network of ``after`` with ``share`` of its weights and the rest from ``before``, not measured yet.

    It has seen the training cases of both.

    Raises:
        RequestError: ``share`` is no share.
        CheckpointError: the networks differ, or what they take and give; or one is an ensemble.
    """
    if not 0 <= share <= 1:
        raise RequestError(f"The share is {share:g}, not between 0 and 1.", "Give another --share.")
    _check_alike(before, after)
    d = after.description
    weights = {
        name: (share * tensor.float() + (1 - share) * before.weights[name].float()).to(tensor.dtype)
        for name, tensor in after.weights.items()
    }
    notes = dict(d.training.recipe.get("notes", {}))
    notes["averaged"] = f"{share:g} of these weights, the rest of version {before.description.version}"
    seen = {*before.description.training.training_cases, *d.training.training_cases}
    training = replace(d.training, training_cases=tuple(sorted(seen)), recipe={**d.training.recipe, "notes": notes})
    # Bounds for 8 bits are of weights, not of a network; those of the average are found anew.
    return Checkpoint(
        replace(d, network=replace(d.network, eight_bit={}), training=training, accuracy=()),
        weights,
    )


def _check_alike(before: Checkpoint, after: Checkpoint) -> None:
    """Whether the weights of two models mean the same.

    Raises:
        CheckpointError: they do not, or one is an ensemble.
    """
    described = [one.description for one in (before, after)]
    for d in described:
        if d.members:
            raise CheckpointError(f"{d.id} is an ensemble.", "Average its members, one by one.")
    says = [
        {
            "network": replace(d.network, eight_bit={}),
            "dimensions": d.dimensions,
            "modalities": d.modalities,
            "outputs": d.outputs,
            "activation": d.activation,
            "shapes of the weights": {name: tensor.shape for name, tensor in one.weights.items()},
        }
        for d, one in zip(described, (before, after), strict=True)
    ]
    if differing := [name for name, said in says[0].items() if said != says[1][name]]:
        names = " and ".join(d.id for d in described)
        raise CheckpointError(f"{names} differ in {', '.join(differing)}.", "Give stages of one run.")


def run(arguments: argparse.Namespace) -> int:
    """Average and write.

    Raises:
        BrainTumorSegError: a model cannot be read, they do not go together, or the share is wrong.
    """
    result = average(load_model(arguments.before), load_model(arguments.after), arguments.share)
    with atomic(arguments.output, [find(arguments.before).path, find(arguments.after).path]) as part:
        save_sound(result.description, result.weights, part)
    print(f"Wrote {arguments.output}", flush=True)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m Training.average", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("before", help="id or file of the earlier stage")
    p.add_argument("after", help="id or file of the later one, whose description is kept")
    p.add_argument("-o", "--output", type=Path, required=True, help="the checkpoint that is written")
    p.add_argument("--share", type=float, default=0.5, help="of the later one's weights (default: 0.5)")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return exit_code(lambda: run(parser().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
