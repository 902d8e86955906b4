"""The included network: small, of any sequence, at 2 mm."""

from __future__ import annotations

import numpy as np

from ...domain.progress import Progress
from ...domain.volume import Volume


class Included:
    """See :class:`.Method`."""

    title = "the included network"
    remedy = ""

    def is_installed(self) -> bool:
        """Always."""
        return True

    def find(self, volume: Volume, progress: Progress) -> np.ndarray:
        """Mask of the largest connected component, its holes filled."""
        raise NotImplementedError
