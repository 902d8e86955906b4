"""Options that every command has, and what those that read label maps refuse alike."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from ..domain.errors import InputError


def add_common(p: argparse.ArgumentParser, *, inner: bool = False) -> None:
    """Progress, cancel and debugging.

    Args:
        p: of a command, or of one of its actions.
        inner: it is an action's: what was said before the action holds where nothing is said behind it.
    """
    progress, cancel, debug = (argparse.SUPPRESS,) * 3 if inner else ("auto", None, False)
    p.add_argument("--progress", choices=("auto", "json", "none"), default=progress)
    p.add_argument(
        "--cancel-file", type=Path, metavar="FILE", default=cancel, help="the run ends when this file appears"
    )
    p.add_argument("--debug", action="store_true", default=debug, help="show where an error came from")


def check_label_maps(files: Iterable[Path]) -> None:
    """Refuse DICOM files where label maps are read, but for segmentations.

    Raises:
        InputError: one of the files is DICOM, whatever its name, and no segmentation.
        RequestError: one is DICOM, and pydicom is not installed.
    """
    from ..io.dicom import is_dicom_file, is_seg  # not before signals are heard: this module comes first

    for file in files:
        if is_dicom_file(file) and not is_seg(file):
            remedy = "Give label maps or DICOM segmentations; braintumorseg segment writes both."
            raise InputError(f"{file} is a DICOM file, but no segmentation.", remedy)
