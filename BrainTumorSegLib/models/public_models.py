"""Models that others publish: a list with addresses (``public_models.json``), and their way to the user's own models.

Nothing is downloaded unless somebody asks for it. A file whose SHA-256 nobody states is pinned to what came first, with
the user's consent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..domain.errors import CheckpointError, ExecutionError, RequestError
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
        known = self.sha256 or pinned().get(self.id) or "not stated; that of the first download is kept"
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

    def wishes(self) -> Wishes:
        """What its importer needs to know."""
        return Wishes(id=self.id, channels=self.channels, labels=self.labels, licence=self.licence, source=self.url)


def available() -> dict[str, PublicModel]:
    """Id → model that can be downloaded."""
    values = read_json(LIST)
    if values.get("schema") != SCHEMA:
        raise RequestError(f"{LIST} is of another version.", "Update BrainTumorSeg.")
    models = [from_json(PublicModel, entry) for entry in values["models"]]
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


def download_model(model: PublicModel, progress: Progress, consent: Callable[[str], bool]) -> InstalledModel:
    """Download a model, check it, take it over and add it to the user's models.

    Args:
        model: see :func:`find_public`.
        progress: hears of the download; ends it when cancelled. What has come by then is gone on with the next time.
        consent: is shown a question about a file whose digest nobody states, and answers it.

    Raises:
        ExecutionError: it cannot be downloaded, or is not the file that was stated or pinned.
        RequestError: the user does not consent, or the model cannot be taken over.
        CancelledError: cancelled through ``progress``.
    """
    place = user_folder() / "cache" / "downloads"
    place.mkdir(parents=True, exist_ok=True)
    suffix = Path(model.url).suffix or ".zip"
    part = fetch_resumed(model.url, place / f"{model.id}{suffix}", progress, largest=LARGEST)
    progress.report("check", 1.0, f"Checking {model.id}")
    try:
        _check(model, part, consent)
        return catalogue.add(part, model.wishes())
    finally:
        part.unlink(missing_ok=True)


def _check(model: PublicModel, file: Path, consent: Callable[[str], bool]) -> None:
    sha256, sha1 = digests(file)
    size = file.stat().st_size
    known = model.sha256 or pinned().get(model.id, "")
    if (known and sha256 != known) or (model.sha1 and sha1 != model.sha1) or (model.bytes and size != model.bytes):
        pin = "" if model.sha256 or not known else f", or remove its line from {_pins()} if its publisher changed it"
        raise ExecutionError(
            f"{model.url} is not the file that was {'stated' if model.sha256 or not known else 'there before'} (SHA-256"
            f" {sha256}, {size} bytes).",
            f"Try again later{pin}.",
        )
    if known:
        return
    stated = "its publisher states the SHA-1, which is right" if model.sha1 else "nobody states its digest"
    if not consent(f"{model.id} has the SHA-256 {sha256}; {stated}. Keep it and take the model over?"):
        raise RequestError(f"{model.id} was not taken over.", "Agree to its digest, or choose another model.")
    with atomic(_pins()) as part:
        part.write_text(json.dumps({**pinned(), model.id: sha256}, indent=1), "utf-8")


def pinned() -> Mapping[str, str]:
    """Id → SHA-256 that the user consented to."""
    with suppress(OSError, ValueError, RequestError):
        known = read_json(_pins())
        if isinstance(known, dict) and all(isinstance(value, str) for value in known.values()):
            return known
    return {}


def _pins() -> Path:
    return user_folder() / "pinned-models.json"
