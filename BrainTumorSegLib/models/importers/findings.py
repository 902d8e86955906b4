"""What a file, folder or archive turns out to be before it is taken over, and what has to be said of it first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ...domain.errors import RequestError
from ...domain.modalities import TITLES
from ..description import Description
from . import importer_of
from .foreign_files import as_given, errors_as_given
from .wishes import Inquiry, Question, Wishes

# Of this program itself.
CHECKPOINT = "BrainTumorSeg"


@dataclass(frozen=True)
class Findings:
    """What was found; what is not known is empty, 0 or among the questions.

    Attributes:
        kind: the program that made it.
        bytes: of its weights.
        id: what the model will be called.
        title: what its files call it.
        dimensions: 2 or 3.
        networks: how many networks it averages.
        modalities: the sequences that it takes.
        outputs: regions that it gives, and labels of its own.
        licence: of the weights, as stated.
        data_licence: of the data that they were trained on.
        replaces: whether it takes the place of a model of the user's.
        questions: what has to be said, or may be.
    """

    kind: str
    bytes: int = 0
    id: str = ""
    title: str = ""
    dimensions: int = 0
    networks: int = 1
    modalities: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    licence: str = ""
    data_licence: str = ""
    replaces: bool = False
    questions: tuple[Question, ...] = ()

    @property
    def open(self) -> tuple[Question, ...]:
        """What has to be answered."""
        return tuple(question for question in self.questions if question.is_open)

    def text(self) -> str:
        """All of it, in lines, with the options that say what is missing."""
        lines = [f"{self.kind}: {self.title or 'several models'}"]
        if self.title:
            lines += [f"It has {self.dimensions} dimensions and {self.networks} network(s), {self.bytes / 1e6:.1f} MB."]
            lines += [f"Takes {', '.join(TITLES[name] for name in self.modalities) or 'sequences that are not named'}."]
            lines += [f"Gives {', '.join(self.outputs) or 'labels that are not named'}."]
            lines += [f"Licence of the weights: {self.licence or 'not stated'}."]
            lines += [f"It will be called {self.id}{', in place of your model of that id' if self.replaces else ''}."]
        lines += [f"{question.text} {question.remedy}" for question in self.open]
        return "\n".join(lines)


def examine(path: Path, folder: Path, wishes: Wishes) -> tuple[Findings, Description | None]:
    """What a model of another program is; and its description, where nothing decides on it any more.

    Args:
        path: file, folder or archive that an importer knows.
        folder: an empty one, for what an archive holds.
        wishes: what is said of it already.

    Raises:
        CheckpointError: it cannot be taken over, or no importer knows it.
        RequestError: what was said of it does not fit it.
    """
    path, importer = importer_of(path)
    assert importer is not None
    inquiry = Inquiry.of(wishes)
    try:
        with errors_as_given(path, folder):
            examined = importer.examine(path, folder, inquiry)
    except RequestError:
        if not any(question.decides and question.is_open for question in inquiry.asked):
            raise
        return Findings(importer.KIND, questions=_as_given(inquiry, path, folder)), None
    d = examined.description
    found = findings_of(d, importer.KIND, sum(file.stat().st_size for file in examined.weights))
    asked = {question.option: question for question in inquiry.asked}
    return replace(
        found,
        networks=len(examined.weights),
        # Of what is not known yet, stand-ins are in the description.
        modalities=() if asked["channels"].is_open else d.modalities,
        outputs=() if asked["labels"].is_open else found.outputs,
        questions=(*_as_given(inquiry, path, folder), *_optional(d, wishes)),
    ), d


def _as_given(inquiry: Inquiry, path: Path, folder: Path) -> tuple[Question, ...]:
    """What is asked, without the folder that an archive was unpacked to."""
    return tuple(replace(question, text=as_given(question.text, path, folder)) for question in inquiry.asked)


def findings_of(d: Description, kind: str, size: int) -> Findings:
    """Those of a model that is described, without questions."""
    return Findings(
        kind,
        size,
        d.id,
        d.title,
        d.dimensions,
        max(len(d.members), 1),
        d.modalities,
        (*d.regions, *(region.name for region in d.own)),
        d.weights_licence,
        d.data_licence,
    )


def _optional(d: Description, wishes: Wishes) -> tuple[Question, ...]:
    """What may be said of any model."""
    return (
        Question("brain", choices=("extracted", "head"), known=(d.preprocessing.brain,)),
        Question("id", known=(d.id,), needed=True),
        Question("licence", "" if d.weights_licence else "Its files do not state one.", known=(d.weights_licence,)),
        Question("source", known=(wishes.source,)),
    )
