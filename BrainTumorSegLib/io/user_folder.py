"""The user's own folder: models, samples, caches and what was accepted."""

from __future__ import annotations

import os
from pathlib import Path

from ..domain.errors import RequestError


def user_folder() -> Path:
    """Where the user's own models and caches lie: ``~/.braintumorseg``, or ``$BRAINTUMORSEG_HOME``.

    Raises:
        RequestError: the user has no home folder, as in some containers.
    """
    try:
        return Path(os.environ.get("BRAINTUMORSEG_HOME") or Path.home() / ".braintumorseg")
    except RuntimeError as error:
        raise RequestError("There is no home folder.", "Set BRAINTUMORSEG_HOME to a folder of yours.") from error
