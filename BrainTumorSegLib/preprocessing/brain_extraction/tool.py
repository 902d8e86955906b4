"""Other people's programs: run beside this one, so that it can be cancelled and outlives their failures."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...domain.errors import BrainExtractionError
from ...domain.progress import Progress
from ...io import programs

USE_INCLUDED = "Mend its installation, or choose --brain-extraction included."

_POLL_SECONDS = 0.1


def run_tool(
    command: Sequence[str], title: str, folder: Path, progress: Progress, environment: Mapping[str, str] | None = None
) -> None:
    """Run a program to its end.

    Args:
        command: the program and its arguments.
        title: its name in messages.
        folder: for its output; exists.
        progress: asked again and again whether the run was cancelled.
        environment: of the program; this process's without it.

    Raises:
        BrainExtractionError: it cannot be started, or fails.
        CancelledError: the run was cancelled; the program is ended, with all that it started.
    """
    log = folder / "log.txt"
    with log.open("wb") as output:
        try:
            process = programs.start(command, output, environment)
        except OSError as error:
            raise BrainExtractionError(f"{title} cannot be started ({error.strerror}).", USE_INCLUDED) from error
        with process:
            try:
                while process.poll() is None:
                    progress.report("brain extraction", 0.0, f"brain extraction by {title}")
                    time.sleep(_POLL_SECONDS)
            finally:
                programs.end(process)
    if process.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        reason = next((line.strip() for line in reversed(lines) if line.strip()), f"exit {process.returncode}")
        raise BrainExtractionError(f"{title} is installed but does not work ({reason}).", USE_INCLUDED)
