"""The way from raw scans as the user chooses it: what is done to the images before the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from BrainTumorSegLib.domain.modalities import assign, is_segmentation, stem
from BrainTumorSegLib.domain.volume import Volume
from BrainTumorSegLib.io import mrml
from BrainTumorSegLib.preprocessing.appearance import STRIPPED, appearance
from BrainTumorSegLib.quality.swapped_sequences import swapped


class Preprocessing(Enum):
    """Co-registration and brain extraction; the values are those of the command line's ``--preprocess``."""

    AUTOMATIC = "auto"
    NONE = "none"
    ALWAYS = "register"

    def label(self) -> str:
        """For the list in the panel."""
        return {
            Preprocessing.AUTOMATIC: _("Automatic: what the images need"),
            Preprocessing.NONE: _("None: they are aligned and skull-stripped"),
            Preprocessing.ALWAYS: _("Always register and extract the brain"),
        }[self]


class BrainExtraction(Enum):
    """What extracts the brain; the values are those of ``--brain-extraction``."""

    AUTOMATIC = "auto"
    INCLUDED = "included"
    HD_BET = "hd-bet"
    SYNTHSTRIP = "synthstrip"

    def label(self) -> str:
        """For the list in the panel."""
        return {
            BrainExtraction.AUTOMATIC: _("Automatic: HD-BET where installed"),
            BrainExtraction.INCLUDED: _("Included network"),
            BrainExtraction.HD_BET: "HD-BET",
            BrainExtraction.SYNTHSTRIP: "SynthStrip",
        }[self]


@dataclass(frozen=True)
class Preprocessed:
    """What ``--preprocessed`` wrote: modality → registered, skull-stripped image; and the brain, where extracted."""

    images: Mapping[str, Volume] = field(default_factory=dict)
    brain: Volume | None = None


def read_preprocessed(folder: Path) -> Preprocessed:
    """Read what a run wrote there, known by its names; nothing where it was not asked to write."""
    from BrainTumorSegLib.io.registry import read_volume

    files = [file for file in sorted(folder.glob("*.nii*")) if file.is_file()]
    masks = [file for file in files if is_segmentation(stem(file))]
    images = {modality: read_volume(file) for modality, file in assign(set(files) - set(masks)).items()}
    return Preprocessed(images, read_volume(masks[0]) if masks else None)


class Looks:
    """What volumes show, a head or a brain; each is looked at once, and again when it has changed."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], str] = {}
        self._judged: tuple[Any, dict[str, str]] = ((), {})

    def of(self, node: Any) -> str:
        """As :func:`appearance` says it.

        Raises:
            InputError, GeometryError: the volume cannot be used.
        """
        key = (node.GetID(), node.GetImageData().GetMTime())
        if key not in self._known:
            self._known[key] = appearance(mrml.volume_of(node))
        return self._known[key]

    def swapped(self, nodes: Mapping[str, Any], looks: Mapping[str, str]) -> dict[str, str]:
        """Sequence that an image was chosen as → the one it looks like, where they differ.

        Known before a run only of extracted brains on one grid; every second voxel is enough to tell.
        """
        volumes = list(nodes.values())
        if len(volumes) < 2 or any(looks.get(modality) != STRIPPED for modality in nodes):
            return {}
        if any(mrml.alignment(node, volumes[0]) is not mrml.Alignment.SAME for node in volumes[1:]):
            return {}
        key = tuple((modality, node.GetID(), node.GetImageData().GetMTime()) for modality, node in nodes.items())
        if key != self._judged[0]:
            steps = (slice(None, None, 2),) * 3
            images = np.stack([mrml.volume_of(node).array[steps] for node in volumes])
            voxel = 8 * float(np.prod(volumes[0].GetSpacing()))
            self._judged = (key, swapped(images, list(nodes), voxel))
        return self._judged[1]
