"""The models that are installed: those that are included, and the user's own."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..domain.errors import CheckpointError
from ..domain.options import DEFAULT_MODEL
from ..io.staging import atomic
from ..io.user_folder import user_folder
from .checkpoint_file import Checkpoint, load_checkpoint, read_description
from .description import TUMOUR, Description
from .importers import checkpoint_of

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
    models, errors = {}, []
    for folder, embedded in ((EMBEDDED, True), (models_folder(), False)):
        for path in sorted(folder.glob(f"[!.]*{SUFFIX}")):
            try:
                description = read_description(path)
            except CheckpointError as error:
                errors.append(error)
            else:
                models[description.id] = InstalledModel(path, description, embedded)
    for whole in tuple(models.values()):
        for member in whole.description.members:
            models.setdefault(member.id, InstalledModel(whole.path, member, whole.embedded, whole.description.id))
    return models, errors


def find(model: str | Path) -> InstalledModel:
    """A model given by id or path.

    Raises:
        CheckpointError: neither a checkpoint nor an installed id.
    """
    models, _ = installed()
    if str(model) in models:
        return models[str(model)]
    path = Path(model)
    if path.is_file():
        return InstalledModel(path, read_description(path), False)
    raise CheckpointError(
        f"There is no model {str(model)!r}.", f"Installed are {', '.join(models) or 'none'}; or give a {SUFFIX} file."
    )


def load_model(model: str | Path = DEFAULT_MODEL) -> Checkpoint:
    """Load and verify a model by id or path.

    Raises:
        CheckpointError: unknown, damaged, foreign, too new, or not for tumours.
    """
    return _for_tumours(find(model).load())


def _for_tumours(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint, if it is one that finds tumours."""
    d = checkpoint.description
    if d.task != TUMOUR:
        raise CheckpointError(f"{d.id} finds the {d.task}, not tumours.", "Choose a model of braintumorseg models.")
    return checkpoint


def add(path: Path | str) -> InstalledModel:
    """Copy a checkpoint, or a model that an importer knows, into the user's folder, verified first.

    Raises:
        CheckpointError: damaged, not to be imported, or its id is taken by a model that is included.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = checkpoint_of(Path(path), Path(folder))
        checkpoint = _for_tumours(load_checkpoint(file))
        checkpoint.check()  # unknown networks and weights that do not fit are refused here
        description = checkpoint.description
        models, _ = installed()
        if description.id in models and models[description.id].embedded:
            raise CheckpointError(
                f"A model with the id {description.id} is included.", "Export yours under another id."
            )
        destination = models_folder() / f"{description.id}{SUFFIX}"
        with atomic(destination) as part:
            shutil.copyfile(file, part)
    return InstalledModel(destination, description, False)


def remove(model: str) -> Path:
    """Delete one of the user's own models.

    Raises:
        CheckpointError: unknown, or it is included in the program.
    """
    models, _ = installed()
    if model not in models:
        raise CheckpointError(f"There is no model {model!r}.", f"Installed are {', '.join(models) or 'none'}.")
    found = models[model]
    if found.embedded:
        raise CheckpointError(f"Model {model} is included and stays.", "Only models that were added can be removed.")
    if found.part_of:
        raise CheckpointError(f"Model {model} is a member of {found.part_of}.", f"Remove {found.part_of} as a whole.")
    found.path.unlink()
    return found.path
