"""The model card, made from a checkpoint's own description (Mitchell 2019, Model Cards)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..domain.labels import REGIONS
from ..domain.modalities import TITLES, listed, taken
from ..domain.text_table import markdown_text
from .description import BRAIN, AccuracyRecord, Description, PostprocessingSpec


@dataclass(frozen=True)
class CardTable:
    """A table of a card, every row as long as the head."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


# A paragraph, the items of a list, or a table.
CardBlock = str | tuple[str, ...] | CardTable


@dataclass(frozen=True)
class CardSection:
    """A section of a card, its blocks in order."""

    title: str
    blocks: tuple[CardBlock, ...]


@dataclass(frozen=True)
class ModelCard:
    """All that a user should know of a model before relying on it, as plain text.

    Attributes:
        id: the model's.
        summary: what it is, with its version.
        intended_use: what it is for and what not.
        sections: the rest, in order.
    """

    id: str
    summary: str
    intended_use: str
    sections: tuple[CardSection, ...]


def card_of(d: Description) -> ModelCard:
    """The card of a model."""
    licences = (f"Weights: {d.weights_licence or 'not stated'}", f"Data: {d.data_licence or 'not stated'}")
    return ModelCard(
        d.id,
        f"{d.title}. Version {d.version}.",
        d.intended_use,
        (
            CardSection("What it takes and gives", (_interface(d),)),
            CardSection("How accurate it is", _accuracy(d.accuracy)),
            *(CardSection(f"How member {m.id} was made", (_training(m),)) for m in d.members),
            *(() if d.members else (CardSection("How it was made", (_training(d),)),)),
            CardSection("Licences", (licences,)),
        ),
    )


def model_card(d: Description) -> str:
    """The card of a model as Markdown, in which the model's own texts are texts, whatever they hold."""
    card = card_of(d)
    parts = [f"# {markdown_text(card.id)}", markdown_text(card.summary), f"**{markdown_text(card.intended_use)}**"]
    for section in card.sections:
        parts += [f"## {markdown_text(section.title)}", *map(_markdown, section.blocks)]
    return "\n\n".join(parts) + "\n"


def _markdown(block: CardBlock) -> str:
    if isinstance(block, str):
        return markdown_text(block)
    if isinstance(block, CardTable):
        head, *rows = [[markdown_text(cell) for cell in row] for row in (block.head, *block.rows)]
        return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))
    return "\n".join(f"- {markdown_text(item)}" for item in block)


def _interface(d: Description) -> tuple[str, ...]:
    stripped = "skull-stripped and " if d.preprocessing.brain == "extracted" else ""
    lines = [
        f"Sequences: {_takes(d)}",
        f"The network sees images that are {stripped}registered; scans that are not are made so first",
        f"Regions: {', '.join(_region_names(d))}",
        *_networks(d),
    ]
    steps = "; ".join(_postprocessing(d.postprocessing))
    if steps:
        lines.append(f"Post-processing: {steps}")
    return tuple(f"{line}." for line in lines)


def _region_names(d: Description) -> list[str]:
    own = [f"{region.name} (its own)" for region in d.own]
    return [*(f"{name} ({REGIONS[name].title.lower()})" for name in d.regions), *own]


def _takes(d: Description) -> str:
    return "one of any kind" if d.task == BRAIN else taken(d.modalities, d.optional_modalities)


def _networks(d: Description) -> Iterator[str]:
    """What a network gives and how it runs; of an ensemble, of each member."""
    if d.members:
        weights = {member.weight for member in d.members}
        shares = "" if len(weights) == 1 else f", weighted {' to '.join(f'{m.weight:g}' for m in d.members)}"
        what = "logits" if d.pooling == "geometric" else "probabilities"
        yield f"The {what} of {len(d.members)} members are averaged{shares}"
    for member in d.members:
        yield f"Member {member.id} takes {_takes(member)}. {'. '.join(_networks(member))}"
    if not d.members:
        p = d.preprocessing
        spacing = " × ".join(f"{mm:g}" if mm else "own" for mm in reversed(p.spacing))
        kind = "a softmax over them" if d.activation == "softmax" else "each a sigmoid"
        yield f"Outputs: {', '.join(output.name for output in d.outputs)}, {kind}"
        yield (
            f"Runs {'slice-wise' if d.dimensions == 2 else 'volumetrically'} at {spacing} mm, "
            f"orientation {p.orientation}, normalisation {p.normalisation}"
            + (", bias field corrected by N4" if p.bias_correction == "n4" else "")
        )
        if d.network.eight_bit:
            yield f"{len(d.network.eight_bit)} convolutions compute in 8 bits where OpenVINO runs them"
        if d.tiling.slice_distance:
            near = f", and all beside one that shows {listed(d.tiling.every_slice)}" if d.tiling.every_slice else ""
            yield f"Slices {d.tiling.slice_distance:g} mm apart are run{near}; those between are interpolated"


def _postprocessing(q: PostprocessingSpec) -> Iterator[str]:
    for name, value in q.thresholds.items():
        yield f"{REGIONS[name].title.lower()} is what has a probability of {value:g} or more"
    for name in q.filled:
        yield f"holes of {REGIONS[name].title.lower()} are filled"
    if q.minimum_component_mm3:
        yield f"pieces below {q.minimum_component_mm3:g} mm³ are removed"
    if q.minimum_core_mm3:
        yield f"pieces with tumour core below {q.minimum_core_mm3:g} mm³ are removed where another has more"
    for name, what in (("TC", "oedema"), ("ET", "necrotic core")):
        if q.minimum_pieces_mm3.get(name):
            yield f"pieces of {REGIONS[name].title.lower()} below {q.minimum_pieces_mm3[name]:g} mm³ become {what}"
    if q.minimum_et_mm3:
        yield f"enhancing tumour below {q.minimum_et_mm3:g} mm³ in all becomes necrotic core"
    if q.minimum_et_dice:
        so = "so does all of it" if q.minimum_et_mm3 else "all enhancing tumour becomes necrotic core"
        yield f"{so} where its expected Dice is below {q.minimum_et_dice:g}"


def _accuracy(records: tuple[AccuracyRecord, ...]) -> tuple[CardBlock, ...]:
    if not records:
        return ("Not measured.",)
    regions = [region for region in REGIONS if any(region in record.values for record in records)]
    rows = []
    for record in (record for record in records if not record.modalities):
        figures = [f"{record.values[region]:.3f}" if region in record.values else "" for region in regions]
        rows.append((record.measure, *figures, str(record.cases), record.data, record.convention))
    whole = CardTable(("Measure", *regions, "Cases", "Data", "Empty masks"), tuple(rows))
    return whole, "Figures are means over the cases.", *_subsets(records)


def _subsets(records: tuple[AccuracyRecord, ...]) -> Iterator[CardBlock]:
    """What is left of the accuracy where sequences are missing."""
    subsets = [record for record in records if record.modalities]
    if not subsets:
        return
    regions = [region for region in REGIONS if any(region in record.values for record in subsets)]
    unlike = len({record.cases for record in records}) > 1  # some cases lack a sequence
    whose = "the cases that have them," if unlike else "the same cases"
    yield f"{subsets[0].measure} on {whose} where only these sequences are given:"
    yield CardTable(
        ("Given", *regions, *(["Cases"] if unlike else [])),
        tuple(
            (
                ", ".join(TITLES[name] for name in r.modalities),
                *(f"{r.values[region]:.3f}" if region in r.values else "" for region in regions),
                *([str(r.cases)] if unlike else []),
            )
            for r in subsets
        ),
    )


def _training(d: Description) -> tuple[str, ...]:
    t = d.training
    notes = t.recipe.get("notes")
    known = notes if isinstance(notes, dict) else {}
    before, averaged = known.get("before", ""), known.get("averaged", "")  # a run that went on from other weights
    seen = known.get("seen", "")  # held out by such a run, and trained by those weights
    versions = ", ".join(f"{name} {version}" for name, version in t.versions.items())
    program, source = (t.recipe.get(name) for name in ("program", "source"))  # of models of other programs
    lines = [
        *([f"Taken over from {program}{f', {source}' if source else ''}"] if program else []),
        f"Network: {d.network.family} {d.network.arguments or ''}".rstrip(),
        f"Data: {t.data or 'not stated'}",
        f"Training cases ({len(t.training_cases)}): {', '.join(t.training_cases) or 'not stated'}",
        f"Validation cases ({len(t.validation_cases)}): {', '.join(t.validation_cases) or 'none'}",
        *([f"Warning: {seen}"] if seen else []),
        f"Optimiser steps: {t.steps or 'not stated'}"
        + (f", after {before}" if before else "")
        + (f"; {averaged}" if averaged else ""),
        f"Made with: {versions or 'not stated'}" + (f", commit {t.commit[:12]}" if t.commit else ""),
    ]
    return tuple(lines)
