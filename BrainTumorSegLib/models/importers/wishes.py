"""What the files of other programs leave open: which channel is which sequence, which label is which tissue."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from ...domain.errors import CheckpointError, ModalityError, RequestError
from ...domain.labels import OWN_FIRST, REGIONS
from ...domain.modalities import MODALITIES, TITLES, from_name
from ..description import ID_RULE, OutputSpec, is_id, is_orientation

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
class Question:
    """What has to be said of a model of another program, or may be: whoever takes it over is asked so.

    Attributes:
        option: of ``models add`` that says it.
        text: what is not known, as a sentence; empty where an answer is at hand.
        remedy: how the command line says it.
        names: what each is asked of, channels or labels; of none, it is asked once.
        keys: what stands for the names in the option; where there are none, their order does.
        choices: the answers to choose from; of none, any text.
        known: what the files, or the wishes, say: one for each name, or one, or of several all.
        needed: whether the model cannot be taken over without an answer.
        several: whether any number of the choices can be taken.
        decides: whether nothing else of the model is known before it is answered.
    """

    option: str
    text: str = ""
    remedy: str = ""
    names: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    known: tuple[str, ...] = ("",)
    needed: bool = False
    several: bool = False
    decides: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it has to be answered."""
        return self.needed and (bool(self.text) or not all(self.known))

    def error(self) -> RequestError:
        """The refusal of a model of which it is not answered."""
        kind = ModalityError if self.option == "channels" else CheckpointError
        return kind(self.text, self.remedy, option=self.option)

    def answer(self, values: Sequence[str]) -> str:
        """What the option says for these answers, which are in the order of ``known``."""
        if self.keys:
            return ",".join(f"{key}={value}" for key, value in zip(self.keys, values, strict=True))
        return ",".join(values)


@dataclass(frozen=True)
class Wishes:
    """What whoever adds a model says of it; empty where its files decide.

    Attributes:
        id: of the new model.
        channels: sequences in the order of the network's channels.
        labels: name or number of a label in the file → one of :data:`MEANINGS`, or ``own``.
        orientation: of the images that it was trained on.
        brain: ``extracted`` or ``head``.
        configuration: part of the path of the folder to take, where there are several.
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
                f"{', '.join(self.channels)} are no channels.",
                f"Name each once, of {', '.join(MODALITIES)}.",
                option="channels",
            )
        unknown = [meaning for meaning in self.labels.values() if meaning not in (*MEANINGS, OWN)]
        if unknown:
            raise RequestError(
                f"{unknown[0]!r} is no label.", f"Choose of {', '.join(MEANINGS)} or {OWN}.", option="labels"
            )
        if self.id and not is_id(self.id):
            raise RequestError(f"{self.id[:80]!r} is no id.", ID_RULE, option="id")
        if self.orientation and not is_orientation(self.orientation):
            raise RequestError(
                f"{self.orientation[:80]!r} are no axes.", "Say them as LPS or RAS.", option="orientation"
            )

    def options(self) -> dict[str, str]:
        """What of ``models add`` says the same, by option."""
        said = {each.name: getattr(self, each.name) for each in fields(Wishes)}
        said["labels"] = ",".join(f"{name}={meaning}" for name, meaning in self.labels.items())
        texts = {name: value if isinstance(value, str) else ",".join(value) for name, value in said.items()}
        return {name: text for name, text in texts.items() if text}

    def ask(self, question: Question) -> None:
        """What the files do not say has to be said.

        Raises:
            ModalityError, CheckpointError: it was not.
        """
        if question.is_open:
            raise question.error()

    def doubt(self, error: RequestError) -> None:
        """What was said, or taken from names, of one of the questions before cannot be.

        Raises:
            RequestError: the one that is given.
        """
        raise error

    def one_of(self, models: Mapping[str, Path], source: Path, example: str) -> Path:
        """The model to take, of all that a folder holds.

        Args:
            models: what each is called, and where it lies.
            source: the folder.
            example: of a part of a name.

        Raises:
            CheckpointError: it is not said which, or several or none are called so.
        """
        fitting = [name for name in models if self.configuration in name]
        known = self.configuration if self.configuration in models else fitting[0] if len(fitting) == 1 else ""
        if len(models) > 1 or not known:
            self.ask(
                Question(
                    "configuration",
                    "" if known else f"{source} holds {len(models)} models ({', '.join(models)[:400]}).",
                    f"Say which one by a part of its name: --configuration {example}.",
                    choices=tuple(models),
                    known=(known,),
                    needed=True,
                    decides=True,
                )
            )
        return models[known]

    def modalities(self, names: Sequence[str], source: str) -> tuple[str, ...]:
        """The sequences of a network's channels, by their names in its files or as they were said.

        Raises:
            ModalityError: a name says none, or two say the same.
            RequestError: there are more or fewer than were said.
        """
        listed = ", ".join(names)[:200]
        if len(names) > len(MODALITIES):
            raise CheckpointError(
                f"{source} has {len(names)} channels ({listed}).", f"Known are {', '.join(MODALITIES)}, each once."
            )
        if self.channels and len(self.channels) != len(names):
            raise RequestError(
                f"{source} has {len(names)} channels ({listed}).", "Name as many with --channels.", option="channels"
            )
        found = [from_name(name) or "" for name in names]
        known = self.channels or tuple(name if found.count(name) == 1 else "" for name in found)
        self.ask(
            Question(
                "channels",
                "" if all(known) else f"{source} does not say which sequences its channels are ({listed}).",
                f"Say it in their order: --channels {','.join(list(MODALITIES)[: len(names)])}.",
                names=tuple(names),
                choices=tuple(MODALITIES),
                known=known,
                needed=True,
            )
        )
        left = iter([name for name in MODALITIES if name not in known])
        return tuple(name or next(left) for name in known)

    def meanings(self, labels: Sequence[tuple[str, str]], source: str) -> list[str]:
        """One of :data:`MEANINGS` for each label of a file, or ``own``.

        Args:
            labels: their names, and the numbers that stand for them.
            source: of which they are.

        Raises:
            CheckpointError: nothing says what one stands for.
        """
        said = self._said(labels, source)
        known = [
            each or _NAMES.get(re.sub(r"[^a-z]", "", name.lower()), "")
            for each, (name, _) in zip(said, labels, strict=True)
        ]
        name, number = next((label for label, meaning in zip(labels, known, strict=True) if not meaning), ("", ""))
        self.ask(
            Question(
                "labels",
                ""
                if all(known)
                else f"{source} has a label {name[:80]!r} ({number[:20]}), of which it is not known what it is.",
                f"Say it: --labels '{name[:80]}=WT' ({', '.join(MEANINGS)}, or {OWN}: it keeps its name).",
                names=tuple(name for name, _ in labels),
                keys=tuple(number for _, number in labels),
                choices=(*MEANINGS, OWN),
                known=tuple(known),
                needed=True,
            )
        )
        return [meaning or OWN for meaning in known]

    def _said(self, labels: Sequence[tuple[str, str]], source: str) -> list[str]:
        """What was said of each label, by its name or number; empty where nothing was.

        Raises:
            RequestError: something was said of a label that is not there, and nothing of one that is.
        """
        wished = {name.casefold(): meaning for name, meaning in self.labels.items()}
        said = [wished.get(name.casefold()) or wished.get(number) or "" for name, number in labels]
        there = {text for name, number in labels for text in (name.casefold(), number)}
        strange = [name for name in self.labels if name.casefold() not in there]
        if strange and not all(said):
            listed = ", ".join(f"{name} ({number})" for name, number in labels)[:200]
            raise RequestError(
                f"{source} has no label {strange[0][:80]!r}.", f"Its labels are {listed}.", option="labels"
            )
        return said

    def axes(self) -> str:
        """Those of the images that it was trained on, where its files do not say it: BraTS's, if nobody does."""
        orientation = self.orientation or "LPS"
        self.ask(Question("orientation", known=(orientation,)))
        return orientation


@dataclass(frozen=True)
class Inquiry(Wishes):
    """Wishes that gather what is asked, in place of refusing what is not answered.

    Attributes:
        asked: the questions so far, those that are answered, too.
    """

    asked: list[Question] = field(default_factory=list)

    @classmethod
    def of(cls, wishes: Wishes) -> Inquiry:
        """One that says as much."""
        return cls(**{each.name: getattr(wishes, each.name) for each in fields(wishes)})

    def ask(self, question: Question) -> None:
        """Gather it.

        Raises:
            RequestError: it decides on all that follows, and is not answered.
        """
        self.asked.append(question)
        if question.decides and question.is_open:
            raise question.error()

    def doubt(self, error: RequestError) -> None:
        """Ask again, where it is not asked anyway."""
        self.asked[:] = [
            replace(q, text=str(error)) if q.option == error.option and not q.is_open else q for q in self.asked
        ]


def outputs_for(names: Sequence[str], numbers: Sequence[Sequence[int]], meanings: Sequence[str]) -> list[OutputSpec]:
    """Output channels of labels or regions.

    Args:
        names: of the labels in the file.
        numbers: of the voxel labels there that each stands for.
        meanings: what each is, see :meth:`Wishes.meanings`. Of a label of BraTS that makes up no region with the others
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
