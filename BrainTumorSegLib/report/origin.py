"""Where predictions come from: what the files beside them say, and the card of the model that made them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..domain.errors import CheckpointError, InputError
from ..domain.modalities import listed
from ..domain.result_record import read_record, record_path
from ..models.catalogue import find, load_model
from ..models.model_card import ModelCard, card_of
from .records import plain, stated
from .words import number

# What `braintumorseg segment` writes down of each run and what is the same for a whole cohort, if all is well.
_SHARED = ("model", "device", "backend", "precision", "tta", "preprocessing", "versions")
# Scans as they come are each moved in their own way.
_DIFFERENT_SHOWN = 5


@dataclass(frozen=True)
class Origin:
    """How predictions were made, as far as it is known.

    Attributes:
        facts: what and value, for a table.
        card: the model's card, where the model is known.
        remarks: sentences that a reader must see, such as predictions of different models.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    card: ModelCard | None = None
    remarks: tuple[str, ...] = ()


def origin_of(predictions: Iterable[Path | None], model: str | Path | None = None) -> Origin:
    """Read the ``<case>.json`` files beside the predictions and the card of the model they name.

    Args:
        predictions: label maps; those without such a file are passed over.
        model: id or file of the model, where it is known otherwise.

    Raises:
        CheckpointError: ``model`` was given and cannot be read.
    """
    files = [path for path in predictions if path is not None]
    runs = [run for run in map(_provenance, files) if run]
    facts = shared_facts(runs)
    remarks = []
    if runs and len(runs) < len(files):
        remarks.append(f"Only {len(runs)} of {len(files)} predictions come with a record of how they were made.")
    if len(_distinct(run.get("model") for run in runs)) > 1:
        remarks.append("The predictions were made by different models.")
    if model is not None:
        description = find(model).description
        shown = f"{description.id} {description.version}"
        made = {f"{run['model'].get('id')} {run['model'].get('version', '')}".strip() for run in runs if "model" in run}
        if made - {shown}:
            remarks.append(
                f"The card is that of {shown}; by their records the predictions are of {listed(sorted(made))}."
            )
        return Origin(facts, card_of(description), tuple(remarks))
    return Origin(facts, _card_of(facts.get("model")), tuple(remarks))


def _provenance(prediction: Path) -> Mapping[str, Any]:
    """The record beside a prediction; empty where there is none or the file is something else's."""
    file = record_path(prediction)
    if not file.is_file():
        return {}
    try:
        return stated(read_record(file).provenance)
    except InputError:  # a JSON file of another program may lie there, damaged or not
        return {}


def shared_facts(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One entry a key: the value where all agree, else the different ones in a list, of many the first."""
    facts: dict[str, Any] = {}
    for key in _SHARED:
        values = _distinct(run[key] for run in runs if key in run)
        if len(values) == 1:
            facts[key] = values[0]
        elif values:
            rest = len(values) - _DIFFERENT_SHOWN
            more = [f"and {rest} others, in the records beside the results"] if rest > 0 else []
            facts[key] = [*map(_in_words, values[:_DIFFERENT_SHOWN]), *more]
    seconds = [run["seconds"] for run in runs if isinstance(run.get("seconds"), int | float)]
    if seconds:
        low, high = number(min(seconds)), number(max(seconds))
        facts["seconds a case"] = f"median {number(float(np.median(seconds)))} (from {low} to {high})"
    return facts


def _in_words(value: Any) -> str:
    """A value of several parts in one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {plain(part)}" for key, part in value.items())
    return "; ".join(map(plain, value)) if isinstance(value, list | tuple) else plain(value)


def _distinct(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _card_of(model: Any) -> ModelCard | None:
    """The card of an installed model that is the very one a record names."""
    if not isinstance(model, Mapping):
        return None
    try:
        checkpoint = load_model(str(model.get("id", "")))
    except CheckpointError:  # made by a model that is not installed here: its name and digest stand in the record
        return None
    return card_of(checkpoint.description) if checkpoint.digest == model.get("sha256") else None
