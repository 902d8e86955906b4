"""Standard output and error that never fail a run: whatever the terminal can show, and whoever stops reading."""

from __future__ import annotations

import codecs
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TextIO

_HANDLER = "braintumorseg"
_PLAIN = str.maketrans(
    {"×": "x", "…": "...", "–": "-", "—": "-", "→": "->", "≤": "<=", "≥": ">=", "±": "+/-", "²": "2", "³": "3"}
    | {"“": '"', "”": '"', "‘": "'", "’": "'", "\u00a0": " ", "\u202f": " "}
)
# What commands a terminal, or turns the direction of writing, is shown as an escape: texts come from files, too.
_COMMANDING = {
    code: f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
    for code in (*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
    if chr(code) not in "\n\t"
}


def prepare_streams() -> None:
    """Let characters that the terminal does not have become plain ones, or escapes, instead of an error."""
    _fill_gaps()
    codecs.register_error(_HANDLER, _plainly)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # one that was replaced, as in a notebook, may lack it and takes any text
            reconfigure(errors=_HANDLER)


def _fill_gaps() -> None:
    """Open what was closed (``2>&-``): else the next file to be opened gets its number, and what libraries print."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


def harmless(text: str) -> str:
    """A text without characters that a terminal would obey."""
    return text.translate(_COMMANDING)


def write_line(text: str, stream: Literal["stdout", "stderr"]) -> OSError | None:
    """Print a line at once; what is given is why it was lost, unless nobody reads the stream any more."""
    with tolerant(stream) as lost:
        if target := getattr(sys, stream):  # None where it was closed from the start
            print(harmless(text), file=target, flush=True)
    return lost[0] if lost else None


@contextmanager
def tolerant(stream: Literal["stdout", "stderr"]) -> Iterator[list[OSError]]:
    """Go on without a stream that cannot be written to, for good: nobody reads it (``| head -1``), the disk is full.

    The list that is given gets the error, unless it is that nobody reads.
    """
    lost: list[OSError] = []
    try:
        yield lost
    except (OSError, ValueError) as error:  # the latter where it was closed in this process
        if isinstance(error, OSError) and error.errno not in (errno.EPIPE, errno.EINVAL, errno.EBADF):
            lost.append(error)
        _silence(getattr(sys, stream))


def _silence(stream: TextIO) -> None:
    """Point the stream's file to nowhere, for what is still in its buffer when the program ends, too."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    except (OSError, ValueError):  # it has no file
        pass
    finally:
        os.close(nowhere)
