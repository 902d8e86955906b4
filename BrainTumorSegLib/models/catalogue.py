"""The models that are installed: those that are included, and the user's own."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..domain.errors import CheckpointError, RequestError
from ..domain.options import DEFAULT_MODEL
from ..domain.progress import Progress
from ..io.run_folder import run_folder
from ..io.staging import atomic
from ..io.user_folder import user_folder
from .checkpoint_file import Checkpoint, load_checkpoint, read_description
from .description import TUMOUR, Description
from .importers import checkpoint_of, importer_of
from .importers.findings import CHECKPOINT, Findings, examine, findings_of
from .importers.wishes import Wishes

SUFFIX = ".safetensors"
EMBEDDED = Path(__file__).parent / "checkpoints"


@dataclass(frozen=True)
class InstalledModel:
    """A checkpoint in one of the two folders, or a member of one that is an ensemble: it can be run by itself, too.

    Attributes:
        path: the file.
        description: of the checkpoint, or of the member.
        embedded: whether it is included in the program.
        part_of: id of the ensemble whose member it is.
    """

    path: Path
    description: Description
    embedded: bool
    part_of: str = ""

    def load(self) -> Checkpoint:
        """Read and verify the file.

        Raises:
            CheckpointError: damaged, foreign, or too new.
        """
        checkpoint = load_checkpoint(self.path)
        if not self.part_of:
            return checkpoint
        return next(member for member in checkpoint.members if member.description.id == self.description.id)


def models_folder() -> Path:
    """The user's own checkpoints."""
    return user_folder() / "models"


def installed() -> tuple[dict[str, InstalledModel], list[CheckpointError]]:
    """Id → model, and an error for each file that is no checkpoint.

    A user's model hides an embedded one, and any model a member of an ensemble.
    """
    models: dict[str, InstalledModel] = {}
    errors: list[CheckpointError] = []
    files = [(path, True) for path in _files(EMBEDDED)]
    try:
        files += [(path, False) for path in _files(models_folder())]
    except OSError as error:
        errors.append(
            CheckpointError(f"{models_folder()} cannot be read ({error.strerror}).", "Check its permissions.")
        )
    except RequestError as error:
        errors.append(CheckpointError(f"Your own models are not known. {error}", error.remedy))
    for path, embedded in files:
        try:
            description = _for_tumours(read_description(path))
        except CheckpointError as error:
            errors.append(error)
        else:
            models[description.id] = InstalledModel(path, description, embedded)
    for whole in tuple(models.values()):
        for member in whole.description.members:
            models.setdefault(member.id, InstalledModel(whole.path, member, whole.embedded, whole.description.id))
    return models, errors


def _files(folder: Path) -> list[Path]:
    """What is named as a checkpoint in a folder; nothing where there is none."""
    with suppress(FileNotFoundError, NotADirectoryError):
        return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX and not path.name.startswith("."))
    return []


def find(model: str | Path) -> InstalledModel:
    """A model given by id or path.

    Raises:
        CheckpointError: neither a checkpoint nor an installed id.
    """
    models, _ = installed()
    if str(model) in models:
        return models[str(model)]
    path = Path(model)
    with suppress(OSError):  # a name that is too long, or in a folder that may not be looked into
        if path.is_file():
            return InstalledModel(path, read_description(path), False)
    if file := _own_file(str(model)):
        found = _for_tumours(read_description(file))  # says what is wrong with it
        raise CheckpointError(f"{file} holds the model {found.id}.", f"Choose {found.id}.")
    raise CheckpointError(
        f"There is no model {str(model)[:200]!r}.",
        f"Installed are {', '.join(models) or 'none'}; or give a {SUFFIX} file.",
    )


def _own_file(model: str) -> Path | None:
    """The user's file that is named after an id, whatever it is; None where there is none."""
    if Path(model).name != model:
        return None
    with suppress(OSError, ValueError, RequestError):
        file = models_folder() / f"{model}{SUFFIX}"
        return file if os.path.lexists(file) else None
    return None


def load_model(model: str | Path = DEFAULT_MODEL) -> Checkpoint:
    """Load and verify a model by id or path.

    Raises:
        CheckpointError: unknown, damaged, foreign, too new, or not for tumours.
    """
    checkpoint = find(model).load()
    _for_tumours(checkpoint.description)
    return checkpoint


def _for_tumours(d: Description) -> Description:
    """The description, if it is of a model that finds tumours."""
    if d.task != TUMOUR:
        raise CheckpointError(f"{d.id} finds the {d.task}, not tumours.", "Choose a model of braintumorseg models.")
    return d


def inspect(path: Path | str, wishes: Wishes | None = None, progress: Progress | None = None) -> Findings:
    """What a file, folder or archive is, and what has to be said of it before :func:`add`; nothing is changed.

    Args:
        path: a file or folder.
        wishes: of a model of another program, what its files do not say.
        progress: hears what is looked at.

    Raises:
        CheckpointError: it is no model, damaged, or cannot be taken over.
        RequestError: what was said of it does not fit it.
        CancelledError: cancelled through ``progress``.
    """
    (progress or Progress()).report("inspect", 0.1, f"Looking at {Path(path).name}")
    given, importer = importer_of(Path(path))
    if importer is None:
        description = _for_tumours(read_description(given))
        found = findings_of(description, CHECKPOINT, given.stat().st_size)
        if is_included(description.id):
            raise _taken(description.id, is_own=True)
        return replace(found, replaces=description.id in installed()[0])
    with run_folder() as folder:
        found, description_ = examine(given, folder, wishes or Wishes())
    if description_ is None:
        return found
    if is_included(found.id):
        error = _taken(found.id)
        questions = (
            replace(q, text=str(error), remedy=error.remedy) if q.option == error.option else q for q in found.questions
        )
        return replace(found, questions=tuple(questions))
    return replace(found, replaces=found.id in installed()[0])


def add(path: Path | str, wishes: Wishes | None = None, progress: Progress | None = None) -> InstalledModel:
    """Copy a checkpoint, or a model that an importer knows, into the user's folder, verified first.

    Args:
        path: a file or folder.
        wishes: of a model of another program, what its files do not say.
        progress: hears of the steps, and ends it between them when cancelled.

    Raises:
        CheckpointError: damaged, not to be imported, or its id is taken by a model that is included.
        CancelledError: cancelled through ``progress``.
    """
    progress = progress or Progress()
    with run_folder() as folder:
        progress.report("import", 0.1, f"Reading {Path(path).name}")
        file = checkpoint_of(Path(path), folder, wishes or Wishes(), progress.part(0.1, 0.7))
        progress.report("import", 0.7, f"Checking {Path(path).name}")
        checkpoint = load_checkpoint(file)
        description = _for_tumours(checkpoint.description)
        checkpoint.check()  # weights that are not finite are refused here
        if is_included(description.id):
            raise _taken(description.id, is_own=file == Path(path))
        progress.report("import", 0.9, f"Adding {description.id}")
        destination = _place_of(description.id)
        with atomic(destination) as part:
            shutil.copyfile(file, part)
    return InstalledModel(destination, description, False)


def _place_of(model: str) -> Path:
    """Where a model is kept: in place of the user's own of that id, whatever its file is called.

    Raises:
        CheckpointError: it would take the place of a model of another id.
    """
    own = installed()[0].get(model)
    if own and not own.part_of:
        return own.path
    file = models_folder() / f"{model}{SUFFIX}"
    if any(each.path == file for each in installed()[0].values()):
        held = read_description(file).id
        raise CheckpointError(f"{file} holds the model {held}.", f"Rename that file to {held}{SUFFIX}.")
    return file


def is_included(model: str) -> bool:
    """Whether a model of this id, or a member of one, is part of the program: none of the user's takes its place."""
    models, _ = installed()
    return model in models and models[model].embedded


def _taken(model: str, is_own: bool = False) -> CheckpointError:
    """The refusal of an id; ``is_own`` where a file of this program has it."""
    remedy = "Export yours under another id." if is_own else "Name another with --id."
    return CheckpointError(f"A model with the id {model} is included.", remedy, option="" if is_own else "id")


def remove(model: str) -> Path:
    """Delete one of the user's own models, also one whose file is damaged.

    Raises:
        CheckpointError: unknown, or it is included in the program.
    """
    models, _ = installed()
    damaged = _own_file(model)
    if model not in models and damaged and not damaged.is_dir():
        damaged.unlink()
        return damaged
    if model not in models:
        raise CheckpointError(f"There is no model {model!r}.", f"Installed are {', '.join(models) or 'none'}.")
    found = models[model]
    if found.embedded:
        raise CheckpointError(f"Model {model} is included and stays.", "Only models that were added can be removed.")
    if found.part_of:
        raise CheckpointError(f"Model {model} is a member of {found.part_of}.", f"Remove {found.part_of} as a whole.")
    found.path.unlink()
    return found.path
