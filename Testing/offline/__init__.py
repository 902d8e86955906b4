"""No test reaches the internet: neither the test process nor a Python process that it starts.

``sitecustomize.py`` of this folder forbids it; Python imports that by itself where the folder is on ``PYTHONPATH``.
Ways to this machine itself stay open: pipes, Unix sockets, 127.0.0.1. What opens sockets past Python is not seen.
"""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).parent


def python_path(*folders: Path | str) -> str:
    """``PYTHONPATH`` of a process that a test starts: these folders, and the guard."""
    return os.pathsep.join(map(str, (*folders, FOLDER)))
