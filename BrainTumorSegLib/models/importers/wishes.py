"""What the files of other programs leave open: which channel is which sequence, which label is which tissue."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...domain.errors import CheckpointError, ModalityError, RequestError
from ...domain.labels import OWN_FIRST, REGIONS
from ...domain.modalities import MODALITIES, TITLES, from_name
from ..description import OutputSpec

# Stands for a label that is none of BraTS's and keeps its own name.
OWN = "own"
# Meaning -> voxel labels of BraTS 2023 that it is made of.
MEANINGS: dict[str, tuple[int, ...]] = {"NCR": (1,), "ED": (2,), "ET": (3,), "TC": (1, 3), "WT": (1, 2, 3)}
# What data sets call them, in small letters without anything but letters.
_NAMES: dict[str, str] = {
    **dict.fromkeys(("wholetumor", "wholetumour", "wt", "completetumor", "tumor", "tumour", "wholelesion"), "WT"),
    **dict.fromkeys(("tumorcore", "tumourcore", "tc", "core"), "TC"),
    **dict.fromkeys(("enhancingtumor", "enhancingtumour", "et", "enhancing", "enhancement", "gdenhancingtumor"), "ET"),
    **dict.fromkeys(("enhancingtumorcore", "enhancingtissue", "activetumor", "gdenhancingtumour"), "ET"),
    **dict.fromkeys(("ncr", "net", "netc", "ncrnet", "necrosis", "necrotic", "necroticcore", "nonenhancing"), "NCR"),
    **dict.fromkeys(("nonenhancingtumor", "nonenhancingtumour", "nonenhancingtumorcore", "ncrnetc"), "NCR"),
    **dict.fromkeys(("necrotictumorcore", "necroticnonenhancing", "necroticandnonenhancing"), "NCR"),
    **dict.fromkeys(("necroticandnonenhancingtumor", "necroticandnonenhancingtumorcore"), "NCR"),
    **dict.fromkeys(("ed", "edema", "oedema", "snfh", "peritumoraledema", "peritumouraloedema"), "ED"),
    **dict.fromkeys(("peritumoraledematous", "invadedtissue", "surroundingnonenhancingflairhyperintensity"), "ED"),
}


@dataclass(frozen=True)
class Wishes:
    """What whoever adds a model says of it; empty where its files decide.

    Attributes:
        id: of the new model.
        channels: sequences in the order of the network's channels.
        labels: name or number of a label in the file → one of :data:`MEANINGS`, or ``own``.
        orientation: of the images that it was trained on.
        brain: ``extracted`` or ``head``.
        configuration: part of the name of the folder to take, where there are several.
        folds: those to take, by default all.
        licence: of the weights.
        source: where they come from.
    """

    id: str = ""
    channels: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    orientation: str = ""
    brain: str = ""
    configuration: str = ""
    folds: tuple[str, ...] = ()
    licence: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        wrong = [name for name in self.channels if name not in MODALITIES]
        if wrong or len(set(self.channels)) != len(self.channels):
            raise RequestError(
                f"{', '.join(self.channels)} are no channels.", f"Name each once, of {', '.join(MODALITIES)}."
            )
        unknown = [meaning for meaning in self.labels.values() if meaning not in (*MEANINGS, OWN)]
        if unknown:
            raise RequestError(f"{unknown[0]!r} is no label.", f"Choose of {', '.join(MEANINGS)} or {OWN}.")

    def modalities(self, names: Sequence[str], source: str) -> tuple[str, ...]:
        """The sequences of a network's channels, by their names in its files or as they were said.

        Raises:
            ModalityError: a name says none, or two say the same.
            RequestError: there are more or fewer than were said.
        """
        if self.channels:
            if len(self.channels) != len(names):
                raise RequestError(
                    f"{source} has {len(names)} channels ({', '.join(names)[:200]}).", "Name as many with --channels."
                )
            return self.channels
        found = [from_name(name) for name in names]
        if None in found or len(set(found)) != len(found):
            raise ModalityError(
                f"{source} does not say which sequences its channels are ({', '.join(names)[:200]}).",
                f"Say it in their order: --channels {','.join(list(MODALITIES)[: len(names)])}.",
            )
        return tuple(name for name in found if name)

    def meaning(self, name: str, number: str, source: str) -> str:
        """One of :data:`MEANINGS` for a label of a file, or ``own``.

        Raises:
            CheckpointError: nothing says what it stands for.
        """
        said = self.labels.get(name) or self.labels.get(number)
        if said:
            return said
        found = _NAMES.get(re.sub(r"[^a-z]", "", name.lower()))
        if not found:
            raise CheckpointError(
                f"{source} has a label {name[:80]!r} ({number[:20]}), of which it is not known what it is.",
                f"Say it: --labels '{name[:80]}=WT' ({', '.join(MEANINGS)}, or {OWN}: it keeps its name).",
            )
        return found


def outputs_for(names: Sequence[str], numbers: Sequence[Sequence[int]], meanings: Sequence[str]) -> list[OutputSpec]:
    """Output channels of labels or regions.

    Args:
        names: of the labels in the file.
        numbers: of the voxel labels there that each stands for.
        meanings: what each is, see :meth:`Wishes.meaning`. Of a label of BraTS that makes up no region with the others
            nothing could be said but its own name.
    """
    known = [set(MEANINGS[meaning]) for meaning in meanings if meaning != OWN]
    regions = [set(region.labels) for region in REGIONS.values()]
    whole = [region for region in regions if set().union(*(labels for labels in known if labels <= region)) == region]
    found = []
    for name, those, meaning in zip(names, numbers, meanings, strict=True):
        own = meaning == OWN or not any(set(MEANINGS[meaning]) <= region for region in whole)
        labels = tuple(OWN_FIRST - 1 + number for number in those) if own else MEANINGS[meaning]
        found.append(OutputSpec(name[: 64 if own else 200], labels))
    return found


def titles(modalities: Sequence[str]) -> str:
    """Sequences in words."""
    return ", ".join(TITLES[name] for name in modalities)
