"""How the chosen images lie and what will be done to them, in words: of each image, and of all in one line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from slicer.i18n import tr as _

from BrainTumorSegLib.domain.modalities import MODALITIES, TITLES, listed, reference_of
from BrainTumorSegLib.io import mrml
from BrainTumorSegLib.preprocessing.appearance import STRIPPED
from BrainTumorSegLib.preprocessing.plan import Plan


@dataclass(frozen=True)
class Told:
    """What is said of the chosen images.

    Attributes:
        summary: one line of all; empty where nothing can be said.
        lines: modality → what is to be noticed of an image; only where there is something.
        details: modality → how it lies and what will be done to it, in full.
        problem: why they cannot be segmented; empty if they can.
    """

    summary: str = ""
    lines: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def tell(
    nodes: Mapping[str, Any],
    plan: Plan | None,
    looks: Mapping[str, str],
    faults: Mapping[str, str],
    unused: frozenset[str] = frozenset(),
    swapped: Mapping[str, str] | None = None,
) -> Told:
    """Say how images lie.

    Args:
        nodes: modality → volume node.
        plan: what a run would do; None where the reference cannot be used.
        looks: modality → head, brain or part of one.
        faults: modality → why an image cannot be used.
        unused: modalities that the model does not take.
        swapped: modality → the one that its image looks like, where they differ.
    """
    lines, details, problem = dict(faults), dict(faults), next(iter(faults.values()), "")
    if plan is None:
        return Told("", lines, details, problem)
    sound = {modality: node for modality, node in nodes.items() if modality not in faults}
    reference = reference_of(nodes)
    places = {modality: mrml.alignment(node, sound[reference]) for modality, node in sound.items()}
    for modality in sound:
        details[modality] = _in_full(modality, reference, places[modality], plan)
        noticed = _noticed(modality, reference, places[modality], plan, modality in unused)
        if alike := (swapped or {}).get(modality):
            text = _("It looks like {title}: check whether images were swapped.").format(title=TITLES[alike])
            noticed = " ".join(filter(None, (text, noticed)))
        if noticed:
            lines[modality] = noticed
        if places[modality] is mrml.Alignment.APART and modality not in plan.registered:
            problem = problem or _(
                "{title} and {reference} do not overlap in space; choose images of one session, or let them be "
                "registered (Preprocessing, under Advanced)."
            ).format(title=TITLES[modality], reference=TITLES[reference])
    return Told(_summary(reference, places, plan, looks), lines, details, problem)


def _summary(reference: str, places: Mapping[str, mrml.Alignment], plan: Plan, looks: Mapping[str, str]) -> str:
    """Where the images lie, what they show, and what will be done to them."""
    title = TITLES[reference]
    if len(places) == 1:
        place = _("The result lies on the grid of {reference}").format(reference=title)
    elif all(lies is mrml.Alignment.SAME for lies in places.values()):
        place = _("All on {reference}'s grid").format(reference=title)
    else:
        place = _("On several grids; the result lies on that of {reference}").format(reference=title)
    if not plan.stripped and all(looks.get(modality) == STRIPPED for modality in places):
        place += ", " + _("skull-stripped")
    resampled = {name for name, lies in places.items() if lies is mrml.Alignment.RESAMPLED} - plan.registered
    done = [
        what.format(names=_names(chosen, places), reference=title)
        for what, chosen in (
            (_("{names} will be registered to {reference}"), plan.registered),
            (_("{names} will be resampled"), resampled),
            (_("{names} will be skull-stripped"), plan.stripped),
        )
        if chosen
    ]
    return ". ".join([place, "; ".join(done)] if done else [place]) + "."


def _names(chosen: frozenset[str] | set[str], places: Mapping[str, Any]) -> str:
    if len(chosen) == len(places) > 1:
        return str(_("all"))
    return listed([TITLES[name] for name in MODALITIES if name in chosen])


def _noticed(modality: str, reference: str, lies: mrml.Alignment, plan: Plan, unused: bool) -> str:
    """What of an image is not as it mostly is."""
    found = []
    if unused:
        found.append(_("The model does not use it."))
    if lies is mrml.Alignment.APART:
        found.append(_("Far apart from {reference}.").format(reference=TITLES[reference]))
    if modality in plan.unfit:
        found.append(_("It shows a whole head, and will not be skull-stripped."))
    if modality in plan.parts:
        found.append(_("It shows a part of a head, and will not be registered."))
    return " ".join(found)


def _in_full(modality: str, reference: str, lies: mrml.Alignment, plan: Plan) -> str:
    """How an image lies on the reference, and what will be done to it."""
    done = [_("registered")] if modality in plan.registered else []
    if not done and lies is mrml.Alignment.RESAMPLED:
        done.append(_("resampled"))
    if modality in plan.stripped:
        done.append(_("skull-stripped"))
    if modality == reference:
        lines = [_("Reference: the result lies on its grid.")]
        lines += [_("It will be {done}.").format(done=listed(done))] if done else []
    else:
        place = {
            mrml.Alignment.SAME: _("Same grid as {reference}"),
            mrml.Alignment.RESAMPLED: _("Another grid than {reference}"),
            mrml.Alignment.APART: _("Far apart from {reference}"),
        }[lies].format(reference=TITLES[reference])
        lines = [_("{place}: will be {done}.").format(place=place, done=listed(done)) if done else f"{place}."]
    if modality in plan.unfit:
        lines.append(_("It shows a whole head, and will not be skull-stripped."))
    return " ".join(lines)
