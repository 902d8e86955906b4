"""Draws docs/images/validation-case.png: ``python docs/tools/draw_validation_case.py CASE_FOLDER [MODEL]``."""

from __future__ import annotations

import sys
from pathlib import Path

from BrainTumorSegLib import segment
from BrainTumorSegLib.io.case_folder import read_case
from BrainTumorSegLib.report import write_montage


def main(folder: Path, model: str = "brats-segresnet") -> None:
    """Segment a case and draw it."""
    case = read_case(folder)
    write_montage(case, segment(case, model), Path(__file__).resolve().parents[1] / "images" / "validation-case.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
