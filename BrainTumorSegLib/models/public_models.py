"""Models that others publish: a list with addresses (``public_models.json``), and their way to the user's own models.

Nothing is downloaded unless somebody asks for it. A file whose SHA-256 nobody states is pinned to what came first, with
the user's consent.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..domain.errors import BrainTumorSegError, CancelledError, CheckpointError, ExecutionError, RequestError
from ..domain.json_values import read_json
from ..domain.progress import Progress
from ..domain.structure import from_json
from ..io.resumable import digests, fetch_resumed
from ..io.staging import atomic
from ..io.user_folder import user_folder
from . import catalogue
from .catalogue import InstalledModel
from .importers.wishes import Wishes, titles

LIST = Path(__file__).with_name("public_models.json")
# Names another list, such as a hospital's own.
VARIABLE = "BRAINTUMORSEG_PUBLIC_MODELS"
LARGEST = 4 << 30
SCHEMA = 1


@dataclass(frozen=True)
class PublicModel:
    """An entry of the list; the schema beside it says what each field is."""

    id: str
    title: str
    purpose: str
    importer: str
    url: str
    bytes: int
    sha256: str
    sha1: str
    channels: tuple[str, ...]
    labels: dict[str, str]
    licence: str
    accuracy: str
    accuracy_source: str
    source: str

    def card(self) -> str:
        """What somebody should know before the download, in lines."""
        size = f"{self.bytes / 1e6:.0f} MB" if self.bytes else "size not stated"
        known = self.known_sha256 or "not stated; that of the first download is kept"
        return "\n".join(
            (
                f"{self.id}: {self.title}",
                f"For: {self.purpose}",
                f"Takes {titles(self.channels)}; gives {', '.join(dict.fromkeys(self.labels.values()))}.",
                f"Published accuracy: {self.accuracy} ({self.accuracy_source}).",
                f"Licence: {self.licence}",
                f"From {self.url} ({size}), as stated by {self.source}.",
                f"SHA-256: {known}",
            )
        )

    @property
    def known_sha256(self) -> str:
        """The digest that is stated, or that the user has consented to; empty where there is none."""
        return self.sha256 or pinned().get(self.id, "")

    @property
    def file(self) -> Path:
        """Where it lies between its download and its taking over."""
        return user_folder() / "cache" / "downloads" / f"{self.id}{Path(self.url).suffix or '.zip'}"

    def wishes(self, said: Wishes | None = None) -> Wishes:
        """What its importer needs to know: what the user says, then what the list does."""
        listed = Wishes(id=self.id, channels=self.channels, labels=self.labels, licence=self.licence, source=self.url)
        changes = {name: value for name, value in vars(said or Wishes()).items() if value}
        return replace(listed, **changes)

    def forget(self) -> None:
        """Remove what was downloaded and not taken over."""
        for file in (self.file, *self.file.parent.glob(f"{self.file.name}.part*")):
            file.unlink(missing_ok=True)


def available() -> dict[str, PublicModel]:
    """Id → model that can be downloaded; of the list that ``BRAINTUMORSEG_PUBLIC_MODELS`` names, where it does.

    Raises:
        RequestError: that file is no such list.
    """
    file = Path(os.environ.get(VARIABLE) or LIST)
    try:
        values = read_json(file)
        if not isinstance(values, dict) or values.get("schema") != SCHEMA:
            raise RequestError(f"{file} is a list of another version.", "Update BrainTumorSeg.")
        models: list[PublicModel] = [from_json(PublicModel, entry) for entry in values["models"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RequestError(
            f"{file} is no list of models ({str(error)[:200]}).", f"Mend it, or unset {VARIABLE}."
        ) from error
    return {model.id: model for model in models}


def find_public(model: str) -> PublicModel:
    """The entry of that id.

    Raises:
        CheckpointError: there is none.
    """
    known = available()
    if model not in known:
        raise CheckpointError(
            f"There is no public model {model[:200]!r}.", f"There are {', '.join(known)}; or add a file of yours."
        )
    return known[model]


@dataclass(frozen=True)
class Fetched:
    """A model that was downloaded and not yet taken over.

    Attributes:
        file: where it lies; it stays there until it is taken over.
        sha256: its digest.
        doubt: why the user has to consent to it, a sentence; empty where the digest was stated or consented to.
    """

    file: Path
    sha256: str
    doubt: str = ""


def fetch_model(model: PublicModel, progress: Progress) -> Fetched:
    """Download a model, unless it is there, and compare it with what is known of it.

    Args:
        model: see :func:`find_public`.
        progress: hears of the download; ends it when cancelled. What has come by then is gone on with the next time.

    Raises:
        ExecutionError: it cannot be downloaded, or is not the file that was stated or pinned.
        CancelledError: cancelled through ``progress``.
    """
    file = model.file
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = fetch_resumed(model.url, file.with_name(f"{file.name}.part"), progress, largest=LARGEST)
        part.replace(file)
    progress.report("check", 1.0, f"Checking {model.id}")
    sha256, sha1 = digests(file)
    known, size = model.known_sha256, file.stat().st_size
    if (known and sha256 != known) or (model.sha1 and sha1 != model.sha1) or (model.bytes and size != model.bytes):
        model.forget()
        pin = "" if model.sha256 or not known else f", or remove its line from {_pins()} if its publisher changed it"
        raise ExecutionError(
            f"{model.url} is not the file that was {'stated' if model.sha256 or not known else 'there before'} (SHA-256"
            f" {sha256}, {size} bytes).",
            f"Try again later{pin}.",
        )
    stated = "its publisher states the SHA-1, which is right" if model.sha1 else "nobody states its digest"
    return Fetched(file, sha256, "" if known else f"{model.id} has the SHA-256 {sha256}; {stated}.")


def download_model(
    model: PublicModel, progress: Progress, consent: Callable[[Fetched], bool], said: Wishes | None = None
) -> InstalledModel:
    """Download a model, check it, take it over and add it to the user's models.

    Args:
        model: see :func:`find_public`.
        progress: hears of the download; ends it when cancelled. What has come by then is gone on with the next time.
        consent: is shown a file whose digest nobody states, and says whether the user takes it.
        said: of the model, in place of what the list says. Where more has to be said, what was downloaded stays.

    Raises:
        ExecutionError: it cannot be downloaded, or is not the file that was stated or pinned.
        RequestError: the user does not consent, or the model cannot be taken over.
        CancelledError: cancelled through ``progress``.
    """
    fetched = fetch_model(model, progress.part(0.0, 0.8))
    try:
        if fetched.doubt and not consent(fetched):
            raise RequestError(f"{model.id} was not taken over.", "Agree to its digest, or choose another model.")
        if fetched.doubt:
            with atomic(_pins()) as part:
                part.write_text(json.dumps({**pinned(), model.id: fetched.sha256}, indent=1), "utf-8")
        added = catalogue.add(fetched.file, model.wishes(said), progress.part(0.8, 1.0))
    except BrainTumorSegError as error:
        if not error.option and not isinstance(error, CancelledError):
            model.forget()
        raise
    model.forget()
    return added


def pinned() -> Mapping[str, str]:
    """Id → SHA-256 that the user consented to."""
    with suppress(OSError, ValueError, RequestError):
        known = read_json(_pins())
        if isinstance(known, dict) and all(isinstance(value, str) for value in known.values()):
            return known
    return {}


def _pins() -> Path:
    return user_folder() / "pinned-models.json"
