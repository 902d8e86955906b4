"""The ``braintumorseg`` command."""

from __future__ import annotations

import argparse
import errno
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from . import __version__
from .commands import demo, evaluate, models, preprocess, segment
from .commands.console import Console, watched
from .commands.streams import prepare_streams
from .domain.errors import BrainTumorSegError, CancelledError, ExecutionError, RequestError, ShortageError
from .domain.progress import Progress

_COMMANDS = {
    "segment": (segment, "segment one patient"),
    "preprocess": (preprocess, "register and skull-strip one patient's raw scans"),
    "evaluate": (evaluate, "compare segmentations with references"),
    "models": (models, "list, describe, add, remove and verify models"),
    "demo": (demo, "segment a synthetic patient, offline"),
}


class _Parser(argparse.ArgumentParser):
    """Errors in one line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{message[:1].upper()}{message[1:]}.", f"See {self.prog} --help.")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = _Parser(prog="braintumorseg", description="Brain tumour segmentation. For research, not for clinical use.")
    p.add_argument("--version", action="version", version=f"braintumorseg {__version__}")
    commands = p.add_subparsers(dest="command", required=True, metavar=" | ".join(_COMMANDS))
    for name, (module, about) in _COMMANDS.items():
        command = commands.add_parser(name, help=about, description=about)
        module.add_arguments(command)
        command.add_argument("--progress", choices=("auto", "json", "none"), default="auto")
        command.add_argument("--cancel-file", type=Path, metavar="FILE", help="the run ends when this file appears")
        command.add_argument("--debug", action="store_true", help="show where an error came from")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0 done, 1 failed while running, 2 wrong request, 130 cancelled."""
    prepare_streams()
    try:
        arguments = parser().parse_args(argv)
    except RequestError as error:
        Console(_style(sys.argv[1:] if argv is None else argv)).error(error)
        return error.exit_code
    module, _ = _COMMANDS[arguments.command]
    console = Console(arguments.progress)
    progress = Progress(console.progress)
    try:
        with watched(progress, arguments.cancel_file):
            return module.run(arguments, console, progress)
    except Exception as error:
        failure = _explain(error)
        if arguments.debug:
            traceback.print_exc()
    except KeyboardInterrupt:
        failure = CancelledError("Cancelled.")
    finally:
        console.close()
    console.error(failure)
    return failure.exit_code


def _style(argv: Sequence[str]) -> str:
    """How to speak with who gave arguments that cannot be parsed."""
    words = " ".join(argv).replace("=", " ")
    return "json" if "--progress json" in words else "auto"


def _explain(error: Exception) -> BrainTumorSegError:
    """Any failure as one that a user can act on."""
    if isinstance(error, BrainTumorSegError):
        return error
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = "Make room on the disk, or write elsewhere." if full else "Check the disk and the permissions."
        return ExecutionError(f"{error.strerror or error}{where}.", remedy)
    if isinstance(error, MemoryError):
        return ShortageError("Memory ran out.", "Close other programs and try again.")
    return ExecutionError(f"Unexpected {type(error).__name__}: {error}.", "Add --debug to see where; please report it.")


if __name__ == "__main__":
    sys.exit(main())
