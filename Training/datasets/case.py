"""What every data set yields: cases with labels, whatever files they are read from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from BrainTumorSegLib.domain.case import Case
from BrainTumorSegLib.domain.errors import RequestError
from BrainTumorSegLib.domain.volume import Volume

# Voxels of which nobody has said what they are; others carry the labels of BraTS 2023.
UNKNOWN_LABEL = 255

# The label of a tumour that is told apart no further: only WT can be learnt from it.
WHOLE_TUMOUR = 2


class LabelledCase(Protocol):
    """A patient with expert labels. Nothing is read before :meth:`load`."""

    @property
    def id(self) -> str:
        """Name of the patient."""

    @property
    def reading(self) -> str:
        """How the files are understood, in a text: another text is another reading of the same files."""

    def files(self) -> list[Path]:
        """Every file that the case is read from and that is there."""

    def load(self, modalities: tuple[str, ...] = ()) -> tuple[Case, Volume]:
        """Images, and labels ``(Z, Y, X)`` uint8 on the reference's grid.

        Args:
            modalities: those that must be there.

        Raises:
            InputError: names all that is wrong with the case.
        """


@dataclass(frozen=True)
class DataSet:
    """A folder as found.

    Attributes:
        cases: by id.
        problems: what is wrong with the folder as a whole, in words; what is wrong with a patient its case tells.
        notes: what a user of the data should know, for the log and the card.
        labels: the label convention of all of them, where there are several that it could be.
        split: ``train``, ``validation`` and perhaps ``test`` ids where the folder itself is so divided.
    """

    cases: Mapping[str, LabelledCase]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    split: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    labels: str = ""


@contextmanager
def noting(problems: list[str]) -> Iterator[None]:
    """Go on after something unusable, and remember it."""
    try:
        yield
    except RequestError as error:
        problems.append(str(error).rstrip("."))
