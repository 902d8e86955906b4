"""``python -m Training.measure MODEL --data DIR -o FILE``: measure a model's file anew, and write that into it.

For what changes a model without training it: another way to store its weights, an ensemble of several.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.domain.labels import CONVENTIONS
from BrainTumorSegLib.io.staging import atomic
from BrainTumorSegLib.models.catalogue import find, load_model
from BrainTumorSegLib.models.description import Description
from BrainTumorSegLib.models.quantisation import STORAGES

from .command import exit_code
from .datasets.brats import find_brats
from .datasets.case import DataSet
from .datasets.data_module import recorded_split
from .datasets.split import read_split
from .export import measure_accuracy, save_sound
from .recipe import recorded

if TYPE_CHECKING:
    import torch


LABELS_HELP = "label convention of the patients (default: that which the model learnt from)"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m Training.measure", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("model", help="id or file of a model that was trained here")
    p.add_argument("--data", type=Path, required=True, help="folder of patients, with a split.json")
    p.add_argument("-o", "--output", type=Path, required=True, help="the checkpoint that is written")
    p.add_argument("--name", default="", help="what the patients are, for the card (default: as the card has it)")
    p.add_argument("--labels", choices=("auto", *CONVENTIONS), default="", help=LABELS_HELP)
    p.add_argument("--storage", choices=STORAGES, help="how the weights are stored (default: as they are)")
    p.add_argument("--id", help="of the new file (default: the model's)")
    p.add_argument("--version", help="of the new file (default: the model's)")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    return p


def convention_of(description: Description) -> str:
    """The label convention that a model, or the members of an ensemble, learnt from; ``auto`` where none is recorded.

    Raises:
        RequestError: the members have different ones.
    """
    recipes = [member.training.recipe for member in description.members or (description,)]
    said = sorted({str(recipe.get("data", {}).get("labels", "auto")) for recipe in recipes} - {"auto"})
    if len(said) > 1:
        raise RequestError(
            f"The members of {description.id} learnt from labels of different conventions ({', '.join(said)}).",
            "Name that of the patients by --labels.",
        )
    return said[0] if said else "auto"


def write_measured(
    description: Description,
    weights: Mapping[str, torch.Tensor],
    data: Path,
    output: Path,
    *,
    name: str = "",
    labels: str = "",
    device: str = "auto",
    sources: Sequence[Path] = (),
) -> None:
    """Write a model's file, measure it on the validation patients of a folder, and write that into it.

    Args:
        data: folder of patients with a ``split.json``.
        name: what the patients are, by default what the description says of its data.
        labels: label convention of the patients, by default the one that the model learnt from.
        sources: files that must not be overwritten.

    Raises:
        RequestError: there are no validation patients, the model has seen one, or its members learnt from labels of
            different conventions and none is named.
        BrainTumorSegError: a patient cannot be read, or the file not be written.
    """
    found, validation = _validation(description, data, labels)
    seen = sorted(set(validation) & set(description.training.training_cases))
    if not validation or seen:
        what = f"{description.id} was trained on {seen[0]}" if seen else f"{data} has no validation patients"
        raise RequestError(f"{what}, so nothing can be measured.", "Name others in split.json.")
    description = dataclasses.replace(description, accuracy=())
    with atomic(output, sources) as part:
        written = save_sound(description, weights, part)
        cases = [found.cases[case] for case in validation]
        who = f"{name or description.training.data}, validation patients"
        records = measure_accuracy(written, who, cases, device)
        save_sound(dataclasses.replace(description, accuracy=tuple(records)), weights, part)
    print(f"Wrote {output}", flush=True)


def _validation(description: Description, data: Path, labels: str) -> tuple[DataSet, tuple[str, ...]]:
    """The patients of a folder of the kind that a model learnt from, and who validates by its recipe.

    A model that holds no recipe, or one that cannot be read, is measured on BraTS.

    Raises:
        RequestError: the folder is of another kind, its split wrong, or ``labels`` named for data that have none.
    """
    first = (description.members or (description,))[0]
    if first.training.recipe.get("data", {}).get("kind", "brats") != "brats":
        found, split = recorded_split(description, data, labels)
        return found, split.validation
    found = find_brats(data, labels or convention_of(description), "--labels")
    try:
        count = recorded(first.training).data.validation_patients
    except RequestError:
        count = 0
    # Whether the run held a fold out or left patients out does not change who validates.
    split = read_split(data, list(found.cases), folds=2, fold=-1, given=found.split, validation_patients=count)
    return found, split.validation


def run(arguments: argparse.Namespace) -> int:
    """Write, measure, write again.

    Raises:
        BrainTumorSegError: the request is wrong, or a patient cannot be read.
    """
    checkpoint = load_model(arguments.model)
    d = checkpoint.description
    changed = dataclasses.replace(
        d, storage=arguments.storage or d.storage, version=arguments.version or d.version, id=arguments.id or d.id
    )
    write_measured(
        changed,
        checkpoint.weights,
        arguments.data,
        arguments.output,
        name=arguments.name,
        labels=arguments.labels,
        device=arguments.device,
        sources=[find(arguments.model).path],
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return exit_code(lambda: run(parser().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
