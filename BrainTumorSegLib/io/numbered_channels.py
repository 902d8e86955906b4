"""Images that number their sequences, as nnU-Net has them: ``imagesTr/P1_0000.nii.gz``, named by ``dataset.json``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..domain.json_values import read_json
from ..domain.modalities import MODALITIES, from_name, stem
from .registry import is_image

NUMBERED = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


def numbered_cases(folder: Path) -> dict[str, dict[str, Path]]:
    """Case → modality → file; nothing where ``dataset.json`` beside the folder names no sequence.

    Channels that are none of the four sequences are passed over.
    """
    numbers = _modalities(folder.parent / "dataset.json")
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()) if numbers else ():
        name = NUMBERED.fullmatch(stem(path))
        if name and not path.name.startswith(".") and is_image(path) and int(name["channel"]) in numbers:
            found.setdefault(name["case"], {})[numbers[int(name["channel"])]] = path
    return {case: {m: files[m] for m in MODALITIES if m in files} for case, files in found.items()}


def _modalities(file: Path) -> dict[int, str]:
    """Number of a channel → modality, by ``channel_names`` (nnU-Net) or ``modality`` (its first version)."""
    try:
        values: Any = read_json(file)
    except (OSError, ValueError):
        return {}
    names = (values.get("channel_names") or values.get("modality")) if isinstance(values, Mapping) else None
    pairs = names.items() if isinstance(names, Mapping) else ()
    known = {str(number): from_name(str(name)) for number, name in pairs}
    return {int(number): name for number, name in known.items() if name and number.isdecimal()}
