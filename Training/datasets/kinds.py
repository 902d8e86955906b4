"""The kinds of data that can be trained on.

To add one: a file here with a function that finds its cases, and a line in :data:`FINDERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from BrainTumorSegLib.domain.errors import InputError, RequestError

from .brats import find_brats
from .case import DataSet
from .coco import find_coco
from .images import find_images
from .lgg import find_lgg
from .lgg1p19q import find_lgg1p19q

if TYPE_CHECKING:
    from ..recipe import Recipe

# Name in recipes -> what finds the cases of a folder for a recipe; no image is read.
FINDERS: dict[str, Callable[[Path, Recipe], DataSet]] = {
    "brats": lambda folder, recipe: find_brats(folder, recipe.data.labels),
    "lgg": lambda folder, recipe: find_lgg(folder),
    "images": lambda folder, recipe: find_images(folder, recipe.modalities),
    "coco": lambda folder, recipe: find_coco(folder, recipe.modalities),
    "lgg1p19q": lambda folder, recipe: find_lgg1p19q(folder),
}


def find_data(recipe: Recipe, folder: Path) -> DataSet:
    """What lies in a folder of the recipe's kind of data; no image is read.

    Raises:
        RequestError: there is nothing of that kind, or nothing that can be used.
    """
    if recipe.data.labels != "auto" and recipe.data.kind != "brats":
        raise RequestError(f"data.labels is for BraTS, not for {recipe.data.kind} data.", "Leave it out.")
    found = FINDERS[recipe.data.kind](folder, recipe)
    if not found.cases:
        raise InputError(f"{folder} holds no usable patient: {'; '.join(found.problems)}.", "Mend the files.")
    return found
