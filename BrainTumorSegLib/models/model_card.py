"""The model card: Markdown made from a checkpoint's own description (Mitchell 2019, Model Cards)."""

from __future__ import annotations

from collections.abc import Iterator

from ..domain.labels import REGIONS
from ..domain.modalities import TITLES, taken
from .description import AccuracyRecord, Description, PostprocessingSpec


def model_card(d: Description) -> str:
    """All that a user should know of a model before relying on it."""
    parts = [
        f"# {d.id}\n\n{d.title}. Version {d.version}.\n\n**{d.intended_use}**",
        f"## What it takes and gives\n\n{_interface(d)}",
        f"## How accurate it is\n\n{_accuracy(d.accuracy)}",
        f"## How it was made\n\n{_training(d)}",
        f"## Licences\n\n- Weights: {d.weights_licence or 'not stated'}\n- Data: {d.data_licence or 'not stated'}",
    ]
    return "\n\n".join(parts) + "\n"


def _interface(d: Description) -> str:
    p = d.preprocessing
    spacing = " × ".join(f"{mm:g}" if mm else "own" for mm in reversed(p.spacing))
    stripped = "be skull-stripped and " if p.brain == "extracted" else ""
    lines = [
        f"Sequences: {taken(d.modalities, d.optional_modalities)}",
        f"Images must {stripped}lie over each other; other grids are resampled",
        f"Regions: {', '.join(f'{name} ({REGIONS[name].title.lower()})' for name in d.regions)}",
        f"Outputs: {', '.join(output.name for output in d.outputs)}, each a sigmoid",
        f"Runs {'slice-wise' if d.dimensions == 2 else 'volumetrically'} at {spacing} mm, orientation {p.orientation}, "
        f"normalisation {p.normalisation}" + (", bias field corrected by N4" if p.bias_correction == "n4" else ""),
        f"Post-processing: {'; '.join(_postprocessing(d.postprocessing))}",
    ]
    return "\n".join(f"- {line}." for line in lines)


def _postprocessing(q: PostprocessingSpec) -> Iterator[str]:
    for name in q.filled:
        yield f"holes of {REGIONS[name].title.lower()} are filled"
    yield f"pieces below {q.minimum_component_mm3:g} mm³ are removed"
    if q.minimum_core_mm3:
        yield f"pieces with tumour core below {q.minimum_core_mm3:g} mm³ are removed where another has more"
    yield f"enhancing tumour below {q.minimum_et_mm3:g} mm³ in all becomes necrotic core"


def _accuracy(records: tuple[AccuracyRecord, ...]) -> str:
    if not records:
        return "Not measured."
    regions = [region for region in REGIONS if any(region in record.values for record in records)]
    rows = [["Measure", *regions, "Cases", "Data", "Empty masks"], ["---"] * (len(regions) + 4)]
    for record in (record for record in records if not record.modalities):
        figures = [f"{record.values[region]:.3f}" if region in record.values else "" for region in regions]
        rows.append([record.measure, *figures, str(record.cases), record.data, record.convention])
    return f"{_rows(rows)}\n\nFigures are means over the cases.{_subsets(records)}"


def _subsets(records: tuple[AccuracyRecord, ...]) -> str:
    """What is left of the accuracy where sequences are missing."""
    subsets = [record for record in records if record.modalities]
    if not subsets:
        return ""
    regions = list(subsets[0].values)
    rows = [["Given", *regions], ["---"] * (len(regions) + 1)]
    rows += [
        [", ".join(TITLES[name] for name in r.modalities), *(f"{r.values[region]:.3f}" for region in regions)]
        for r in subsets
    ]
    return f"\n\n{subsets[0].measure} on the same cases where only these sequences are given:\n\n{_rows(rows)}"


def _rows(rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _training(d: Description) -> str:
    t = d.training
    before = t.recipe.get("notes", {}).get("before", "")  # a run that went on from other weights
    versions = ", ".join(f"{name} {version}" for name, version in t.versions.items())
    lines = [
        f"Network: {d.network.family} {d.network.arguments or ''}".rstrip(),
        f"Data: {t.data or 'not stated'}",
        f"Training cases ({len(t.training_cases)}): {', '.join(t.training_cases) or 'not stated'}",
        f"Validation cases ({len(t.validation_cases)}): {', '.join(t.validation_cases) or 'none'}",
        f"Optimiser steps: {t.steps}" + (f", after {before}" if before else ""),
        f"Made with: {versions or 'not stated'}" + (f", commit {t.commit[:12]}" if t.commit else ""),
    ]
    return "\n".join(f"- {line}" for line in lines)
