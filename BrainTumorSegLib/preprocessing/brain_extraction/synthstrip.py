"""SynthStrip (Hoopes 2022, doi 10.1016/j.neuroimage.2022.119474), where its ``mri_synthstrip`` is on the path."""

from __future__ import annotations

import shutil

import numpy as np

from ...domain.errors import BrainExtractionError, BrainTumorSegError
from ...domain.grid import Grid
from ...domain.progress import Progress
from ...domain.volume import Volume
from ...io.run_folder import run_folder
from ..resampling import onto
from .tool import USE_INCLUDED, run_tool

PROGRAM = "mri_synthstrip"


class SynthStrip:
    """See :class:`.Method`. Image and mask go through NIfTI files."""

    title = "SynthStrip"
    remedy = "Put mri_synthstrip (of FreeSurfer, or its container's script) on the PATH."

    def is_installed(self) -> bool:
        """Whether the program is on the path."""
        return shutil.which(PROGRAM) is not None

    def find(self, volume: Volume, progress: Progress) -> np.ndarray:
        """The mask as the program gives it."""
        from ...io.registry import read_volume, write_volume

        program = shutil.which(PROGRAM) or PROGRAM
        with run_folder() as folder:
            image, result = folder / "image.nii.gz", folder / "mask.nii.gz"
            write_volume(Volume(np.asarray(volume.array, dtype=np.float32), volume.affine), image)
            run_tool([program, "-i", str(image), "-m", str(result)], self.title, folder, progress)
            try:
                mask = read_volume(result)
            except BrainTumorSegError as error:
                raise BrainExtractionError(f"{self.title} is installed but gives no mask.", USE_INCLUDED) from error
        return np.ascontiguousarray(onto(mask.array != 0, Grid.of(mask), Grid.of(volume), nearest=True))
