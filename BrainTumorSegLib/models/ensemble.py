"""Several models as one: what an ensemble of them says of itself, and which of its members a case allows."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..domain.errors import CheckpointError
from ..domain.labels import REGIONS
from ..domain.modalities import MODALITIES, listed
from .checkpoint_file import Checkpoint
from .description import ENSEMBLE, Description, NetworkSpec, OutputSpec, TrainingRecord

if TYPE_CHECKING:
    import torch


def average_of(models: Sequence[Checkpoint], name: str) -> tuple[Description, dict[str, torch.Tensor]]:
    """Description and weights of the model that averages the region probabilities of others.

    It is post-processed as its leading member, the first of the most dimensions, is. What was measured of the members
    holds for each of them, not for their average: that has neither accuracy nor temperatures, nor what rests on these.

    Args:
        models: at least two, each of its weight; an ensemble among them brings in its members, which share its weight.
            Of those that are averaged by logits elsewhere, as folds of nnU-Net, probabilities count here, too: the
            label maps differ by few voxels, and a description need not say which members belong together.
        name: id of the new model.

    Raises:
        CheckpointError: they do not go together.
    """
    members = [member for model in models for member in _members(model)]
    descriptions = tuple(member.description for member in members)
    if len(members) < 2:
        raise CheckpointError("An average needs two models.", "Name another one.")
    if len({d.id for d in descriptions} | {name}) <= len(members):
        raise CheckpointError(
            f"{listed([d.id for d in descriptions])} and their average {name} need ids of their own.", "Rename one."
        )
    if own := [d.id for d in descriptions if d.own or d.activation == "softmax"]:
        raise CheckpointError(
            f"{listed(own)} cannot be averaged: it has labels of its own, or a softmax.", "Choose models of regions."
        )
    brains = {d.preprocessing.brain for d in descriptions}
    if len(brains) > 1:
        raise CheckpointError(
            f"{listed([d.id for d in descriptions])} do not go together: some want extracted brains, some whole heads.",
            "Choose models that take the same images.",
        )
    lead = max(descriptions, key=lambda d: d.dimensions)
    known = [region for region in REGIONS if any(region in d.regions for d in descriptions)]
    taken = tuple(m for m in MODALITIES if any(m in d.modalities for d in descriptions))
    description = Description(
        id=name,
        title=f"Average of {listed([d.id for d in descriptions])}",
        version="1.0",
        dimensions=lead.dimensions,
        network=NetworkSpec(ENSEMBLE),
        modalities=taken,
        optional_modalities=_optional(taken, descriptions),
        outputs=tuple(OutputSpec(region, tuple(sorted(REGIONS[region].labels))) for region in known),
        preprocessing=lead.preprocessing,
        tiling=lead.tiling,
        postprocessing=replace(lead.postprocessing, temperatures={}, minimum_et_dice=0.0),
        training=_training(descriptions),
        data_licence=_each(d.data_licence for d in descriptions),
        weights_licence=_each(d.weights_licence for d in descriptions),
        intended_use=_each(d.intended_use for d in descriptions),
        members=descriptions,
    )
    weights = {f"{n}.{key}": tensor for n, member in enumerate(members) for key, tensor in member.weights.items()}
    return description, weights


def able(checkpoint: Checkpoint, given: Collection[str]) -> tuple[tuple[Checkpoint, ...], tuple[Checkpoint, ...]]:
    """The members that run on these sequences, and those that sit out."""
    members = checkpoint.members
    running = tuple(member for member in members if member.description.runs_on(given))
    return running, tuple(member for member in members if member not in running)


def _members(model: Checkpoint) -> list[Checkpoint]:
    """The networks of a model, of one that is an ensemble each with its share of the whole's weight."""
    d = model.description
    whole = sum(member.weight for member in d.members)
    shares = [d.weight * member.weight / whole for member in d.members] or [d.weight]
    return [
        replace(member, description=replace(member.description, weight=share))
        for member, share in zip(model.members, shares, strict=True)
    ]


def _optional(modalities: Sequence[str], members: Sequence[Description]) -> tuple[str, ...]:
    """Sequences without which some member still runs on the others."""
    return tuple(m for m in modalities if any(d.runs_on(set(modalities) - {m}) for d in members))


def _training(members: Sequence[Description]) -> TrainingRecord:
    """The patients of all members; their own records say the rest."""
    seen = {case for d in members for case in d.training.training_cases}
    held_out = [set(d.training.validation_cases) for d in members]
    unseen = set.intersection(*held_out) - seen
    return TrainingRecord(_each(d.training.data for d in members), tuple(sorted(seen)), tuple(sorted(unseen)))


def _each(texts: Iterable[str]) -> str:
    """Texts that differ, once each."""
    return "; ".join(dict.fromkeys(text for text in texts if text))
