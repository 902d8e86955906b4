"""What a run begins from: the weights of an earlier one, who trained them, and whether that is the run asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from BrainTumorSegLib.domain.errors import CheckpointError, RequestError

if TYPE_CHECKING:
    import torch

    from BrainTumorSegLib.models.description import TrainingRecord

    from .datasets.data_module import PatchData
    from .datasets.split import Split
    from .module import SegmentationModule
    from .recipe import Recipe

_OTHER_PLACE = "Restore the recipe and the data, or choose another -o."


def check_resumable(folder: Path, last: Path, *, resume: bool) -> None:
    """Whether a run's folder has its last state if and only if the run is resumed.

    Raises:
        RequestError: there is nothing to resume, or a run that would be overwritten.
    """
    there = last.is_file()
    if resume and not there:
        raise RequestError(f"There is nothing to resume in {folder}.", "Leave --resume out to begin.")
    if not resume and there:
        raise RequestError(f"{folder} holds a run already.", "Add --resume to go on, or choose another -o folder.")


def check_same_run(
    recipe: Recipe, then: Mapping[str, Any], split: Split | None = None, record: TrainingRecord | None = None
) -> None:
    """Whether a run that is there is the one that the recipe asks for, whole: budget and first weights, too.

    Args:
        then: its recipe as a dict.
        split, record: the patients now, and what its checkpoint says of those it was made with.

    Raises:
        RequestError: it is of another recipe, other patients, another budget, or began from other weights.
    """
    changed = recipe.changed_since(then)
    steps_then, steps = then["optimisation"]["steps"], recipe.optimisation.steps
    if steps_then != steps:  # the schedule follows them, so going on would not be the same training
        changed.append(f"optimisation.steps ({steps_then}, now {steps})")
    for name in ("init", "encoder_weights"):  # the folder is nobody's business, the file's name is
        file_then, file = (Path(value).name for value in (then.get(name, ""), getattr(recipe, name)))
        if file_then != file:
            changed.append(f"{name} ({file_then or 'none'}, now {file or 'none'})")
    if changed:
        raise RequestError(f"The run began with another {', '.join(changed)}.", _OTHER_PLACE)
    if split and record:
        more = set(record.training_cases) - set(split.training)  # of the weights that it began from
        trained = set(split.training) <= set(record.training_cases) and (not more or bool(recipe.init))
        if not trained or split.validation != record.validation_cases:
            raise RequestError("The run was of other patients.", _OTHER_PLACE)


def trained_before(split: Split, before: Iterable[str]) -> list[str]:
    """Of the patients that a run holds out, those that trained the weights that it begins from."""
    return sorted({*split.monitoring, *split.validation, *split.test} & {*before})


def initialise(module: SegmentationModule, source: str, data: PatchData) -> None:
    """Start from the weights of a checkpoint, given by id or file; ``data`` is told who trained them.

    Raises:
        CheckpointError: there is none, or it is of another network.
    """
    from BrainTumorSegLib.models.catalogue import load_model

    checkpoint = load_model(source)
    fresh = module.network.state_dict()
    weights = {name: _widened(t.float(), fresh.get(name)) for name, t in checkpoint.weights.items()}
    try:
        module.network.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"The weights of {source} do not fit the recipe's network.", "Mend init or network."
        ) from error
    data.before = checkpoint.description.training.training_cases
    if seen := trained_before(data.split, data.before):
        print(f"warning: {source} was trained on {', '.join(seen)}, so their accuracy will be too high.", flush=True)


def _widened(weight: torch.Tensor, wanted: torch.Tensor | None) -> torch.Tensor:
    """A convolution's weight with zeros for input channels that the checkpoint's network did not have."""
    import torch

    if wanted is None or wanted.ndim < 4 or wanted.shape[1] <= weight.shape[1]:
        return weight
    added = wanted.shape[1] - weight.shape[1]
    return torch.cat([weight, weight.new_zeros(weight.shape[0], added, *weight.shape[2:])], dim=1)
