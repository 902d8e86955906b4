"""Licences of weights that may not be used for everything: shown before their first use, remembered as accepted."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from ..domain.errors import RequestError
from ..domain.json_values import read_json
from ..io.staging import atomic
from ..io.user_folder import user_folder
from .description import Description

FREE_LICENCE = "Apache-2.0"


def pending_licence(description: Description) -> str:
    """The licence that has yet to be accepted; empty where the weights are free or the user has accepted before."""
    licence = description.weights_licence
    if licence in ("", FREE_LICENCE) or _accepted().get(_key(description)) == licence:
        return ""
    return licence


def accept_licence(description: Description) -> None:
    """Remember that the user accepts; where that cannot be written, the next use asks again."""
    with suppress(OSError, RequestError), atomic(_file()) as part:
        part.write_text(json.dumps(_accepted() | {_key(description): description.weights_licence}), "utf-8")


def _file() -> Path:
    return user_folder() / "accepted-licences.json"


def _key(description: Description) -> str:
    return f"{description.id} {description.version}"


def _accepted() -> dict[str, str]:
    """Model and version → licence; a file that cannot be read has accepted nothing."""
    try:
        known = read_json(_file())
    except (OSError, ValueError, RequestError):
        return {}
    return known if isinstance(known, dict) else {}
