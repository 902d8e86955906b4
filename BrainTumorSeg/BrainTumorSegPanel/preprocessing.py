"""The way from raw scans as the user chooses it: what is done to the images before the network."""

from __future__ import annotations

from enum import Enum

from slicer.i18n import tr as _


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
