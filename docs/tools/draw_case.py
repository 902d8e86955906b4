"""Draws a case and its segmentation: ``python docs/tools/draw_case.py CASE_FOLDER docs/images/NAME.png [MODEL]``."""

from __future__ import annotations

import sys
from pathlib import Path

from BrainTumorSegLib.domain.options import DEFAULT_MODEL
from BrainTumorSegLib.inference.pipeline import segment_case
from BrainTumorSegLib.io.case_folder import read_case
from BrainTumorSegLib.models.catalogue import load_model
from BrainTumorSegLib.preprocessing import AlignedCase
from BrainTumorSegLib.report import write_montage


def main(folder: Path, picture: Path, model: str = DEFAULT_MODEL) -> None:
    """Segment a case and draw its images as the network saw them: registered, without skull and face."""
    seen: list[AlignedCase] = []
    result = segment_case(read_case(folder), load_model(model), aligned_to=seen.append)
    write_montage(seen[0].case, result, picture)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
