"""The ``braintumorseg`` command."""

from __future__ import annotations

import argparse
import errno
import importlib
import sys
import textwrap
import threading
from collections.abc import Sequence
from typing import Any, NoReturn

from . import __version__
from .commands.common import add_common
from .commands.signals import heard, leave
from .domain.errors import BrainTumorSegError, CancelledError, ExecutionError, RequestError, ShortageError
from .domain.interruption import uninterrupted
from .domain.shortage import LEAST_FOR_IMAGES, check_addresses, is_shortage

# Modules of the folder commands: they are imported when signals are heard already, since that takes a while.
_COMMANDS = {
    "segment": "segment one patient",
    "batch": "segment many patients, on one machine or a cluster",
    "preprocess": "register and skull-strip one patient's raw scans",
    "compare": "say how a tumour changed between two examinations",
    "course": "say how a tumour changed over several examinations",
    "evaluate": "compare segmentations with references",
    "models": "list, describe, add, remove and verify models",
    "demo": "segment a synthetic patient, offline",
}


class _Parser(argparse.ArgumentParser):
    """Errors in one line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        raise RequestError(f"{message[:1].upper()}{message[1:]}.", f"See {self.prog} --help.")


def parser(only: str | None = None) -> argparse.ArgumentParser:
    """The command line; with the arguments of ``only`` one command, whose modules alone are imported then."""
    p = _Parser(prog="braintumorseg", description="Brain tumour segmentation. For research, not for clinical use.")
    p.add_argument("--version", action="version", version=f"braintumorseg {__version__}")
    commands = p.add_subparsers(dest="command", required=True, metavar=" | ".join(_COMMANDS))
    for name, about in _COMMANDS.items():
        command = commands.add_parser(name, help=about, description=about)
        if only in (None, name):
            _module(name).add_arguments(command)
        add_common(command)
    return p


def _module(name: str) -> Any:
    return importlib.import_module(f".commands.{name}", __package__ or "BrainTumorSegLib")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code: 0 done, 1 failed while running, 2 wrong request, 130 cancelled.

    Args:
        argv: the arguments; those of the process without them, which then ends here, too.
    """
    with heard() as ending:
        code = carry_out(sys.argv[1:] if argv is None else argv, ending, alone=argv is None)
        if argv is None:
            leave(code, ending)
    return code


def carry_out(argv: Sequence[str], ending: threading.Event, *, alone: bool) -> int:
    """As :func:`main`, for who hears signals already.

    Args:
        argv: the arguments.
        ending: ends the run when it is set.
        alone: whether this process is there for runs alone, and may be ended where nothing else ends one.
    """
    try:
        return _run(argv, ending, alone=alone)
    except KeyboardInterrupt:  # a second one, in the last words
        return CancelledError.exit_code


def _run(argv: Sequence[str], ending: threading.Event, *, alone: bool) -> int:
    """Carry out the command that the arguments ask for; what goes wrong is said in one sentence."""
    from .commands.console import Console, watched
    from .commands.streams import prepare_streams
    from .domain.progress import Progress
    from .io.run_folder import sweep

    prepare_streams()
    console = Console(_style(argv))
    debug, failure = False, None
    try:
        check_addresses(LEAST_FOR_IMAGES)
        arguments = parser(next((word for word in argv if not word.startswith("-")), "")).parse_args(argv)
        console, debug = Console(arguments.progress), arguments.debug
        with watched(ending, arguments.cancel_file, alone=alone):
            sweep()
            _module(arguments.command).run(arguments, console, Progress(console.progress, ending))
    except Exception as error:
        failure = _explain(error)
        if debug:
            import traceback

            console.note(traceback.format_exc().rstrip())
    except KeyboardInterrupt:
        ending.set()
    with uninterrupted():
        if failure:
            from .io.staging import discard_left

            discard_left()
        return console.end(CancelledError("Cancelled.") if ending.is_set() else failure)


def _style(argv: Sequence[str]) -> str:
    """How to speak with who gave arguments that cannot be parsed."""
    words = " ".join(argv).replace("=", " ")
    return "json" if "--progress json" in words else "auto"


def _explain(error: Exception) -> BrainTumorSegError:
    """Any failure as one that a user can act on."""
    if is_shortage(error) and not isinstance(error, ShortageError):  # no file is called damaged for it
        source = getattr(error, "filename", None)
        return ShortageError(
            f"Memory ran out{f' over {source}' if source else ''}.", "Close other programs and try again."
        )
    if isinstance(error, BrainTumorSegError):
        return error
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = "Make room on the disk, or write elsewhere." if full else "Check the disk and the permissions."
        return ExecutionError(f"{error.strerror or _short(error)}{where}.", remedy)
    return ExecutionError(
        f"Unexpected {type(error).__name__}: {_short(error)}.", "Add --debug to see where; please report it."
    )


def _short(error: Exception) -> str:
    """What a library says, on one line that can be read."""
    return textwrap.shorten(str(error), 500, placeholder=" …").rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
