"""What is done to the images of a session before the network, known before it is done: from grids and appearance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..domain.grid import Grid, same_grid
from .appearance import HEAD, PART


@dataclass(frozen=True)
class Plan:
    """What will be done.

    Attributes:
        registered: sequences that are registered to the reference.
        stripped: sequences of whole heads whose skull is taken away.
        unfit: sequences of whole heads that stay so, although the network wants to see the brain alone.
        parts: sequences that show a part of a head, too little to be registered by, and stay where their headers put
            them, beside others that are registered or stripped.
        why: why nothing is done; empty where something is.
    """

    registered: frozenset[str] = frozenset()
    stripped: frozenset[str] = frozenset()
    unfit: frozenset[str] = frozenset()
    parts: frozenset[str] = frozenset()
    why: str = ""


def plan_of(
    grids: Mapping[str, Grid],
    looks: Mapping[str, str],
    reference: str,
    preprocess: str = "auto",
    *,
    masked: bool = False,
    brain: str = "extracted",
) -> Plan:
    """Decide what the images of a session need.

    Args:
        grids: modality → where its voxels lie.
        looks: modality → what :func:`.appearance` says of it.
        reference: the modality that the others are registered to.
        preprocess: ``auto``, ``none`` or ``register``.
        masked: a mask of the brain is given.
        brain: what the network wants to see: the ``extracted`` brain, or the whole ``head``.
    """
    heads = frozenset(name for name, look in looks.items() if look == HEAD) if brain == "extracted" else frozenset()
    if preprocess == "none":
        return Plan(unfit=heads, why="as asked for")
    decided = preprocess == "auto" and not masked
    if decided and (why := _why_prepared(grids, looks, reference, brain)):
        return Plan(unfit=heads, why=why)
    parts = frozenset(name for name, look in looks.items() if look == PART)
    registered = frozenset(grids) - {reference} - (parts if decided else frozenset())
    if masked and brain == "extracted":
        return Plan(registered, frozenset(grids))
    if reference in parts:  # in which no brain is looked for
        return Plan(registered, unfit=heads)
    return Plan(registered, heads, parts=parts) if decided else Plan(registered, heads | parts if heads else heads)


def _why_prepared(grids: Mapping[str, Grid], looks: Mapping[str, str], reference: str, brain: str) -> str:
    """Why the images go on as they are; empty where something has to be done."""
    whole = {name: grid for name, grid in grids.items() if looks[name] != PART}
    small = "an image is too small for a head, or has no background"
    if reference not in whole:
        return small
    heads = HEAD in looks.values()
    if (heads and brain == "extracted") or not all(same_grid(grid, grids[reference]) for grid in whole.values()):
        return ""
    if heads:  # of a network of whole heads; one grid tells nothing of how the head was held
        return "" if len(whole) > 1 else "there is one image, and the model takes whole heads"
    return small if len(whole) < len(grids) else "the images are skull-stripped and on one grid"
