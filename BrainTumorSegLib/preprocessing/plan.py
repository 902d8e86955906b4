"""What is done to the images of a session before the network, known before it is done: from grids and appearance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..domain.grid import Grid, same_grid
from .appearance import HEAD


@dataclass(frozen=True)
class Plan:
    """What will be done.

    Attributes:
        registered: sequences that are registered to the reference.
        stripped: sequences of whole heads whose skull is taken away.
        unfit: sequences of whole heads that stay so, although the network wants to see the brain alone.
    """

    registered: frozenset[str] = frozenset()
    stripped: frozenset[str] = frozenset()
    unfit: frozenset[str] = frozenset()


def plan_of(
    grids: Mapping[str, Grid],
    appearances: Mapping[str, str],
    reference: str,
    preprocess: str = "auto",
    *,
    masked: bool = False,
    brain: str = "extracted",
) -> Plan:
    """Decide what the images of a session need.

    Args:
        grids: modality → where its voxels lie.
        appearances: modality → what :func:`.appearance` says of it.
        reference: the modality that the others are registered to.
        preprocess: ``auto``, ``none`` or ``register``.
        masked: a mask of the brain is given.
        brain: what the network wants to see: the ``extracted`` brain, or the whole ``head``.
    """
    heads = frozenset(name for name, what in appearances.items() if what == HEAD and brain == "extracted")
    if preprocess == "none":
        return Plan(unfit=heads)
    together = all(same_grid(grid, grids[reference]) for grid in grids.values())
    if preprocess == "auto" and together and not heads and not masked:
        return Plan()
    return Plan(frozenset(grids) - {reference}, frozenset(grids) if masked else heads)
