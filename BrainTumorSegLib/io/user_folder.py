"""The user's own folder: models, samples, caches and what was accepted."""

from __future__ import annotations

import os
from pathlib import Path


def user_folder() -> Path:
    """Where the user's own models and caches lie: ``~/.braintumorseg``, or ``$BRAINTUMORSEG_HOME``."""
    return Path(os.environ.get("BRAINTUMORSEG_HOME") or Path.home() / ".braintumorseg")
