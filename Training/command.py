"""How the commands of this folder end."""

from __future__ import annotations

import sys
from collections.abc import Callable

from BrainTumorSegLib.domain.errors import BrainTumorSegError, CancelledError


def exit_code(command: Callable[[], int], after_interrupt: str = "") -> int:
    """Run a command; what it raises becomes one sentence on stderr and its exit code.

    ``after_interrupt``: what is said of Ctrl-C beyond that it was pressed.
    """
    try:
        return command()
    except BrainTumorSegError as error:
        print(f"error: {error.sentence()}", file=sys.stderr, flush=True)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"error: Interrupted. {after_interrupt}".strip(), file=sys.stderr, flush=True)
        return CancelledError.exit_code
