"""Models as other programs keep them, made into checkpoint files; ``models add`` asks here first.

To add one: a file with the two functions of :class:`Importer`, and its name in :data:`IMPORTERS`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from ...domain.errors import CheckpointError
from ...domain.progress import Progress
from ..description import Description
from .foreign_files import errors_as_given
from .wishes import Wishes

IMPORTERS: tuple[str, ...] = ("nnunet", "monai_bundle", "auto3dseg")

# Where only files can be chosen, these stand for their folder, so many above.
_STANDS_FOR = {"plans.json": 0, "dataset.json": 0, "metadata.json": 1, "inference.json": 1}


@dataclass(frozen=True)
class Examined:
    """What a model of another program says of itself.

    Attributes:
        description: as its checkpoint will have it.
        weights: the files that hold its weights, one a network: folds are a network each.
    """

    description: Description
    weights: tuple[Path, ...]


class Importer(Protocol):
    """What a module of this folder offers."""

    # The program, for people.
    KIND: str

    @staticmethod
    def recognises(path: Path) -> bool:
        """Whether a file or folder is a model of this kind; a look at its names or first bytes, no more."""

    @staticmethod
    def examine(path: Path, folder: Path, wishes: Wishes) -> Examined:
        """What it says of itself; an archive is unpacked into the empty folder.

        Raises:
            CheckpointError: it cannot be taken over; says what of it is not known here.
            RequestError: what was said of it does not fit it, or more has to be said.
        """

    @staticmethod
    def convert(path: Path, folder: Path, wishes: Wishes, progress: Progress) -> Path:
        """Write the model as a checkpoint file (:func:`..checkpoint_file.save_checkpoint`) into an empty folder.

        Raises:
            CheckpointError: it cannot be taken over; says what of it is not known here.
            RequestError: what was said of it does not fit it, or more has to be said.
        """


def importer_of(path: Path) -> tuple[Path, Importer | None]:
    """What is to be taken over, and what knows how; none for a checkpoint of this program, or anything else.

    Raises:
        CheckpointError: it is a folder or an archive without a model that is known here.
    """
    if path.name in _STANDS_FOR and path.is_file():
        path = path.absolute().parents[_STANDS_FOR[path.name]]
    importers = [cast(Importer, importlib.import_module(f"{__name__}.{name}")) for name in IMPORTERS]
    for importer in importers:
        if importer.recognises(path):
            return path, importer
    if path.is_dir() or (path.suffix.lower() == ".zip" and path.is_file()):
        raise CheckpointError(
            f"{path} holds no model of {', '.join(importer.KIND for importer in importers)}.",
            "Give what holds plans.json with dataset.json, configs/metadata.json, or model.pt.",
        )
    return path, None


def checkpoint_of(path: Path, folder: Path, wishes: Wishes, progress: Progress) -> Path:
    """The checkpoint file of a model: converted into the folder, or the file itself where no importer knows it.

    Raises:
        CheckpointError: its importer cannot take it over.
        RequestError: what was said of it does not fit it, or more has to be said.
    """
    path, importer = importer_of(path)
    if importer is None:
        return path
    with errors_as_given(path, folder):
        return importer.convert(path, folder, wishes, progress)
