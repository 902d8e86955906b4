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
        why: why nothing is done; empty where something is.
    """

    registered: frozenset[str] = frozenset()
    stripped: frozenset[str] = frozenset()
    unfit: frozenset[str] = frozenset()
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
    heads = frozenset(name for name, look in looks.items() if look == HEAD)
    unwanted = heads if brain == "extracted" else frozenset()
    if preprocess == "none":
        return Plan(unfit=unwanted, why="as asked for")
    if preprocess == "auto" and not masked and not heads:
        if PART in looks.values():
            return Plan(why="the images show a part of a brain")
        if all(same_grid(grid, grids[reference]) for grid in grids.values()):
            return Plan(why="the images are skull-stripped and on one grid")
    return Plan(frozenset(grids) - {reference}, unwanted)
