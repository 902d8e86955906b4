"""Records as facts: what and value, for a table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..domain.modalities import TITLES
from ..domain.result_record import Provenance
from .words import NOTHING, number, spoken

_PROVENANCE_TITLES = {
    "model": "Model",
    "inputs": "Images",
    "reference": "Grid of the result",
    "preprocessing": "Preprocessing",
    "device": "Device",
    "backend": "Backend",
    "precision": "Precision",
    "tta": "Test-time augmentation",
    # The table of a cohort has those of the whole run, which are more.
    "seconds": "Seconds without reading and writing",
    "seconds a case": "Seconds a case, without reading and writing",
    "versions": "Versions",
}
_FIELD_TITLES = {"id": "Name", "sha256": "SHA-256", "braintumorseg": "BrainTumorSeg", "torch": "PyTorch", **TITLES}


@dataclass(frozen=True)
class Fact:
    """What and value: one of text, items and pairs (key, value)."""

    title: str
    text: str = ""
    items: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()


def plain(value: Any) -> str:
    """A plain value as text."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value, 3)
    return str(value)


def facts(entries: Mapping[str, Any]) -> tuple[Fact, ...]:
    """What the engine wrote down about a run, and the like; mappings and sequences become lists."""
    return tuple(_fact(key, value) for key, value in entries.items())


def stated(provenance: Provenance) -> dict[str, Any]:
    """Field → plain value of what is recorded, for people: the alignment's figures are in the words of preprocessing.

    Without a model nothing is recorded.
    """
    if provenance == Provenance():
        return {}
    found = dataclasses.asdict(provenance)
    model = found["model"] | {"members": ", ".join(found["model"]["members"])}
    found["model"] = {key: value for key, value in model.items() if value}
    del found["alignment"]
    return {key: value for key, value in found.items() if value not in ("", (), {})}


def _fact(key: str, value: Any) -> Fact:
    title = _PROVENANCE_TITLES.get(key, spoken(key))
    if isinstance(value, Mapping):
        return Fact(title, pairs=tuple((_FIELD_TITLES.get(k, spoken(k)), plain(v)) for k, v in value.items()))
    if isinstance(value, list | tuple):
        return Fact(title, "" if value else "none", tuple(plain(item) for item in value))
    if key == "reference" and value in TITLES:
        return Fact(title, f"that of {TITLES[value]}")
    return Fact(title, number(value) if key == "seconds" and isinstance(value, float) else plain(value))
