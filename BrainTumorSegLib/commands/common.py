"""Options that every command has."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_common(p: argparse.ArgumentParser, *, inner: bool = False) -> None:
    """Progress, cancel and debugging.

    Args:
        p: of a command, or of one of its actions.
        inner: it is an action's: what was said before the action holds where nothing is said behind it.
    """
    progress, cancel, debug = (argparse.SUPPRESS,) * 3 if inner else ("auto", None, False)
    p.add_argument("--progress", choices=("auto", "json", "none"), default=progress)
    p.add_argument(
        "--cancel-file", type=Path, metavar="FILE", default=cancel, help="the run ends when this file appears"
    )
    p.add_argument("--debug", action="store_true", default=debug, help="show where an error came from")
