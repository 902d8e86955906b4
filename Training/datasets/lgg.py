"""The LGG set kaggle_3m (Buda 2019, doi 10.1016/j.compbiomed.2019.05.002).

``<patient>/<patient>_<slice>.tif`` with the channels pre-contrast T1, FLAIR and post-contrast T1, and
``<patient>/<patient>_<slice>_mask.tif``, the abnormality on FLAIR. Where a patient lacks one of the T1, its channel
repeats FLAIR and is taken for missing, so a recipe names both as ``optional_modalities``.
"""

from __future__ import annotations

from pathlib import Path

from BrainTumorSegLib.io.images2d import COLOUR_CHANNELS

from .case import DataSet
from .images import find_images


def find_lgg(folder: Path) -> DataSet:
    """The patients of the set; nothing is read.

    Raises:
        RequestError: the folder holds no image.
    """
    return find_images(folder, COLOUR_CHANNELS)
