"""The recipe of the included brain extraction: one TOML file that drives its training."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.domain.structure import from_json
from BrainTumorSegLib.models.description import NetworkSpec

from ..recipe import OptimisationRecipe, differing

RECIPE = Path(__file__).with_name("recipe.toml")

# What neither the states nor the samples of a run depend on; of the steps see BrainRecipe.changed_since.
_FREE = ("title", "version", "data", "licence", "storage", "optimisation.steps")


@dataclass(frozen=True)
class BrainRecipe:
    """All of a training run.

    Attributes:
        patch: voxels of 2 mm, ``(z, y, x)``.
        shares: source → share of the samples: ``lgg``, ``heads``, ``brats`` and ``none`` (no brain).
        wild: share of the samples with a contrast that no sequence has.
        lesions: share of the samples with bodies of any grey value in the brain.
        held_out_heads: people of ``heads`` who are monitored and do not train.
        never: people of ``heads`` who are left out of everything.
        data, licence: what it is trained on and under which terms, for the card.
        storage: how the checkpoint holds the weights.
        brats: how the names of the BraTS patients begin who train.
    """

    id: str
    title: str
    version: str
    seed: int
    network: NetworkSpec
    patch: tuple[int, int, int]
    shares: dict[str, float]
    wild: float
    lesions: float
    held_out_heads: tuple[str, ...]
    never: tuple[str, ...]
    brats: tuple[str, ...]
    data: str
    licence: str
    optimisation: OptimisationRecipe
    storage: str = "fp16"

    def changed_since(self, earlier: Mapping[str, Any]) -> list[str]:
        """Names of the entries that differ from an earlier recipe (as a dict) and must not within one run.

        The steps may grow.
        """
        changed = differing(earlier, dataclasses.asdict(self), _FREE)
        fewer = self.optimisation.steps < earlier["optimisation"]["steps"]
        return [*changed, "optimisation.steps"] if fewer else changed


def load_recipe(path: Path) -> BrainRecipe:
    """Read a recipe.

    Raises:
        RequestError: the file is missing, no TOML, or has unknown, missing or mistyped entries.
    """
    try:
        recipe: BrainRecipe = from_json(BrainRecipe, tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, TypeError, ValueError, RecursionError) as error:
        raise RequestError(f"Recipe {path} cannot be used ({error}).", f"Compare it with {RECIPE}.") from error
    return recipe
