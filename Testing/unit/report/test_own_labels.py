"""The picture of a result with labels of a model's own."""

from __future__ import annotations

import numpy as np

from BrainTumorSegLib.domain.labels import REGIONS, Region
from BrainTumorSegLib.report.figures.montage import WIDTH, render_montage

from .test_case import made, pixels

COLOUR = (90, 90, 200)


def test_names_of_a_models_own_stay_in_their_places() -> None:
    own = tuple(
        Region(name, name, frozenset({label}), COLOUR, REGIONS["WT"].code)
        for name, label in (("meningioma", 1), ("dural tail " * 5, 2), ("a vessel of no name", 3))
    )
    header = pixels(render_montage(*made(regions=(), own=own)))[:105]
    bars = np.flatnonzero((header[40] == COLOUR).all(axis=-1))
    starts = bars[np.diff(bars, prepend=-9) > 1]
    assert len(starts) == 3
    for start in (*starts, WIDTH):
        room = header[:, start - 8 : start]
        assert (room == header[0, 0]).all(), "nothing runs into the next one, nor out of the picture"
